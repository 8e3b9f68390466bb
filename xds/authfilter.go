package xds

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	actionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/matcher/action/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"envoke/internal/faas"
)

const (
	// jwtFilter checks tokens. Its configuration comes apart from the listener, so that new
	// keys of an issuer drop no connection.
	jwtFilter = "envoke.jwt"
	// keyFilter has control check API keys and client certificates.
	keyFilter = "envoy.filters.http.ext_authz"
	// scopeFilter lets those pass whose scopes are enough for the route.
	scopeFilter = "envoy.filters.http.rbac"

	// apiKeyHeader carries an API key; a bearer token that begins with apiKeyPrefix is one too.
	apiKeyHeader = "x-api-key"
	apiKeyPrefix = "ek_"
	// certificateHeader is what Envoy says of a client's certificate that it has verified.
	certificateHeader = "x-forwarded-client-cert"

	authorizationHeader = "authorization"
	bearer              = "Bearer "

	// tokensRemembered is for how many tokens of an issuer each thread of Envoy remembers that
	// their signature is right: most of what the check of one costs.
	tokensRemembered = 1000
	maxToken         = 8 << 10 // bytes of a token that is remembered
)

// authFilters find out who calls: by a token, which Envoy checks by itself, else a key or a
// certificate, which control does. Behind them are the rates, which count what is refused
// too, then scopeFilters. Filters behind those, caches too, see verified callers only.
func authFilters(s State) (filters []*hcmv3.HttpFilter) {
	if s.Auth == nil {
		return nil
	}
	if len(s.Auth.Issuers) > 0 {
		filters = append(filters, &hcmv3.HttpFilter{
			Name: jwtFilter,
			ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
				ConfigSource: fromADS(), // and nobody is served before it is there
				TypeUrls:     []string{typeOf(&jwtv3.JwtAuthentication{})},
			}},
		})
		filters = append(filters, namespaceFilters(s.Auth)...)
	}
	return append(filters,
		&hcmv3.HttpFilter{Name: keyFilter, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(keyCheck(s))}},
	)
}

// scopeFilters let those pass whose scopes are enough.
func scopeFilters(s State) []*hcmv3.HttpFilter {
	if s.Auth == nil {
		return nil
	}
	return []*hcmv3.HttpFilter{{Name: scopeFilter, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(&httprbacv3.RBAC{
		Rules: rules(s.Auth.named()), // what no route says anything of is for all who are somebody
	})}}}
}

// checkedHeader tells hosts and control that callers are checked.
func checkedHeader(s State) []*corev3.HeaderValueOption {
	if s.Auth == nil {
		return nil
	}
	return []*corev3.HeaderValueOption{{
		Header:       &corev3.HeaderValue{Key: faas.CheckedHeader, Value: "1"},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}
}

// credentials are what callers show. None goes behind Envoy, also of a kind that is not
// taken here: a function is somebody else's code, and could call with it.
func credentials(s State) []string {
	if s.Auth == nil {
		return nil
	}
	return []string{authorizationHeader, apiKeyHeader, certificateHeader}
}

// authConfigs are the parts of authFilters that come apart.
func authConfigs(s State) []*corev3.TypedExtensionConfig {
	if s.Auth == nil || len(s.Auth.Issuers) == 0 {
		return nil
	}
	return []*corev3.TypedExtensionConfig{extension(jwtFilter, tokenCheck(s.Auth.Issuers))}
}

// tokenCheck takes a token of any issuer, and none; not one that is wrong. A token goes no
// further: a function is somebody else's code, and could use it.
func tokenCheck(issuers []Issuer) *jwtv3.JwtAuthentication {
	config := &jwtv3.JwtAuthentication{Providers: map[string]*jwtv3.JwtProvider{}}
	var anyOf []*jwtv3.JwtRequirement
	for n, issuer := range issuers {
		name := fmt.Sprintf("issuer-%d", n)
		config.Providers[name] = provider(issuer)
		anyOf = append(anyOf, &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_ProviderName{ProviderName: name}})
	}
	anyOf = append(anyOf, &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_AllowMissing{AllowMissing: &emptypb.Empty{}}})
	config.Rules = []*jwtv3.RequirementRule{
		{Match: match(prefix("/"), header(authorizationHeader, startsWith(bearer+apiKeyPrefix)))},
		{Match: prefix("/"), RequirementType: &jwtv3.RequirementRule_Requires{Requires: &jwtv3.JwtRequirement{
			RequiresType: &jwtv3.JwtRequirement_RequiresAny{RequiresAny: &jwtv3.JwtRequirementOrList{Requirements: anyOf}},
		}}},
	}
	return config
}

func provider(issuer Issuer) *jwtv3.JwtProvider {
	return &jwtv3.JwtProvider{
		Issuer:            issuer.Issuer,
		Audiences:         issuer.Audiences,
		RequireExpiration: true,
		ClockSkewSeconds:  uint32(issuer.ClockSkew / time.Second),
		JwksSourceSpecifier: &jwtv3.JwtProvider_LocalJwks{LocalJwks: &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineString{InlineString: issuer.Keys},
		}},
		FromHeaders: []*jwtv3.JwtHeader{ // the scheme has no case (RFC 9110, 11.1)
			{Name: authorizationHeader, ValuePrefix: bearer}, {Name: authorizationHeader, ValuePrefix: strings.ToLower(bearer)},
		},
		JwtCacheConfig: &jwtv3.JwtCacheConfig{JwtCacheSize: tokensRemembered, JwtMaxTokenSize: maxToken},
		ClaimToHeaders: append([]*jwtv3.JwtClaimToHeader{
			claim(faas.UserHeader, issuer.UserClaim), claim(faas.ScopesHeader, issuer.ScopeClaim),
		}, placing(issuer)...),
	}
}

func claim(header string, path []string) *jwtv3.JwtClaimToHeader {
	return &jwtv3.JwtClaimToHeader{HeaderName: header, ClaimName: strings.Join(path, ".")}
}

// keyCheck asks control about requests that have a key or a certificate, and about no
// others.
func keyCheck(s State) *matchingv3.ExtensionWithMatcher {
	return &matchingv3.ExtensionWithMatcher{
		ExtensionConfig: extension(keyFilter, &authzv3.ExtAuthz{
			Services:            &authzv3.ExtAuthz_GrpcService{GrpcService: keyService(s)},
			TransportApiVersion: corev3.ApiVersion_V3,
			StatusOnError:       &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
			ValidateMutations:   true,
			// Of a certificate: its parts as text cannot be told apart for sure.
			IncludePeerCertificate: true,
			AllowedHeaders: &matcherv3.ListStringMatcher{Patterns: []*matcherv3.StringMatcher{
				equal(apiKeyHeader), equal(authorizationHeader), equal(certificateHeader), equal(faas.UserHeader), equal("x-request-id"),
			}},
		}),
		XdsMatcher: unless(
			requestHeader(apiKeyHeader, ".+"), requestHeader(certificateHeader, ".+"),
			requestHeader(authorizationHeader, bearer+apiKeyPrefix+".*"),
		),
	}
}

func keyService(s State) *corev3.GrpcService {
	service := extProcService(s)
	service.Timeout = duration(extProcTimeout)
	return service
}

// unless skips the filter for requests of which none of the predicates is true.
func unless(predicates ...*xdsmatcherv3.Matcher_MatcherList_Predicate) *xdsmatcherv3.Matcher {
	anyOf := predicates[0]
	if len(predicates) > 1 { // Envoy takes no list of one
		anyOf = &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_OrMatcher{
			OrMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: predicates},
		}}
	}
	return &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
		Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
			Predicate: &xdsmatcherv3.Matcher_MatcherList_Predicate{
				MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: anyOf},
			},
			OnMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
				Action: xdsExtension("skip", &actionv3.SkipFilter{}),
			}},
		}},
	}}}
}

func requestHeader(name, regex string) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input: xdsExtension("header", &matcherv3.HttpRequestHeaderMatchInput{HeaderName: name}),
			Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: &xdsmatcherv3.StringMatcher{
				MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{SafeRegex: &xdsmatcherv3.RegexMatcher{
					EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
					Regex:      regex,
				}},
			}},
		},
	}}
}

func xdsExtension(name string, config proto.Message) *xdscorev3.TypedExtensionConfig {
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: pack(config)}
}

// guard says of each route who may take it. That needs no look at anything but headers
// that the filters before have set.
func guard(s State, routes []*routev3.Route) []*routev3.Route {
	if s.Auth == nil {
		return routes
	}
	// Without a route, control is not asked who calls.
	routes = append(routes, refuse(noRoute, prefix("/"), http.StatusNotFound))
	for _, r := range routes {
		needs, known := needsOf(r.GetName())
		if !known {
			continue
		}
		if len(needs) == 0 { // whatever the caller shows, right or wrong
			unchecked(s, r)
			continue
		}
		scoped(r, s.Auth.principals(needs))
	}
	return routes
}

// needsOf is what callers need to take the route of that name: its operation, and the
// language behind it where the route is of one. Where it is of none, any will do here, and
// who knows the language checks it.
func needsOf(route string) (needs []faas.Scope, known bool) {
	operation, rest, _ := strings.Cut(route, "-")
	if operation == "grpc" && strings.HasPrefix(rest, "health-") {
		return nil, true
	}
	languages := faas.Languages()
	if language := faas.Language(rest[strings.LastIndexByte(rest, '-')+1:]); language.Known() {
		languages = []faas.Language{language}
	}
	if !faas.Operation(operation).Known() {
		return nil, false
	}
	for _, language := range languages {
		for _, scope := range faas.Operation(operation).Needs(language) {
			if !slices.Contains(needs, scope) {
				needs = append(needs, scope)
			}
		}
	}
	return needs, true
}

// principals are those who have one of the scopes.
func (a *Auth) principals(needs []faas.Scope) []*rbacv3.Principal {
	names := make([]string, len(needs))
	for i, scope := range needs {
		names[i] = regexp.QuoteMeta(string(scope))
	}
	all := []*rbacv3.Principal{both(a.named(), principal(header(faas.ScopesHeader, &matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{
			Regex: "(.* )?(" + strings.Join(names, "|") + ")( .*)?",
		}},
	})))}
	if a.Anonymous.Allow(needs...) {
		all = append(all, a.unplaced(both(principal(absent(faas.UserHeader)), principal(absent(faas.ScopesHeader)))))
	}
	return all
}

// named are all who are somebody. What comes behind takes such names and no others.
func (a *Auth) named() *rbacv3.Principal {
	return a.placed(principal(header(faas.UserHeader, &matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: faas.UserPattern}},
	})))
}

func principal(h *routev3.HeaderMatcher) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_Header{Header: h}}
}

func both(a, b *rbacv3.Principal) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_AndIds{AndIds: &rbacv3.Principal_Set{Ids: []*rbacv3.Principal{a, b}}}}
}

// rules let those pass, and nobody else.
func rules(principals ...*rbacv3.Principal) *rbacv3.RBAC {
	return &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: map[string]*rbacv3.Policy{"scope": {
		Permissions: []*rbacv3.Permission{{Rule: &rbacv3.Permission_Any{Any: true}}},
		Principals:  principals,
	}}}
}

func equal(text string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: text}}
}

func startsWith(text string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: text}}
}
