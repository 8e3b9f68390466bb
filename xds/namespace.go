package xds

import (
	"fmt"
	"regexp"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	headersv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"envoke/internal/faas"
)

// namespaceFilter begins the names of the filters that set the namespaces of issuers.
const namespaceFilter = "envoke.namespace"

// places tells whether callers by the issuer's tokens are of another namespace than the
// default one.
func (i Issuer) places() bool { return i.Namespace != "" || len(i.NamespaceClaim) > 0 }

func (a *Auth) places() bool {
	for _, issuer := range a.Issuers {
		if issuer.places() {
			return true
		}
	}
	return false
}

// placing says by headers of whom a token is, and of which namespace the token itself says that
// its caller is.
func placing(i Issuer) (claims []*jwtv3.JwtClaimToHeader) {
	if i.places() {
		claims = append(claims, claim(faas.IssuerHeader, []string{"iss"}))
	}
	if len(i.NamespaceClaim) > 0 {
		claims = append(claims, claim(faas.NamespaceHeader, i.NamespaceClaim))
	}
	return claims
}

// namespaceFilters set the namespace of callers by tokens of those issuers that have one. No
// part of jwt_authn can.
func namespaceFilters(a *Auth) (filters []*hcmv3.HttpFilter) {
	for n, issuer := range a.Issuers {
		if issuer.Namespace == "" {
			continue
		}
		name := fmt.Sprint(namespaceFilter, "-", n)
		filters = append(filters, &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(&matchingv3.ExtensionWithMatcher{
			ExtensionConfig: extension("envoy.filters.http.header_mutation", &headersv3.HeaderMutation{
				Mutations: &headersv3.Mutations{RequestMutations: []*mutationv3.HeaderMutation{{
					Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
						Header:       &corev3.HeaderValue{Key: faas.NamespaceHeader, Value: string(issuer.Namespace)},
						AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
					}},
				}}},
			}),
			XdsMatcher: unless(requestHeader(faas.IssuerHeader, regexp.QuoteMeta(issuer.Issuer))),
		})}})
	}
	return filters
}

// placed are those whose namespace is known, where their issuer is to say it: who has none is
// not taken for one of the default namespace.
func (a *Auth) placed(who *rbacv3.Principal) *rbacv3.Principal {
	if !a.places() {
		return who
	}
	wrong := &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: &rbacv3.Principal_Set{Ids: []*rbacv3.Principal{
		principal(header(faas.NamespaceHeader, equal(faas.DefaultNamespace))), principal(header(faas.NamespaceHeader, all(faas.LongNamespace))),
	}}}}
	known := both(
		principal(header(faas.NamespaceHeader, all(faas.NamespacePattern))),
		&rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: wrong}},
	)
	return both(who, &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: &rbacv3.Principal_Set{
		Ids: []*rbacv3.Principal{principal(absent(faas.IssuerHeader)), known},
	}}})
}

// unplaced are those of whom no token has said anything.
func (a *Auth) unplaced(who *rbacv3.Principal) *rbacv3.Principal {
	if !a.places() {
		return who
	}
	return both(who, both(principal(absent(faas.IssuerHeader)), principal(absent(faas.NamespaceHeader))))
}

// all matches what the expression matches from end to end.
func all(regex string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: regex}}}
}
