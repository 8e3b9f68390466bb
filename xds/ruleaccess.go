package xds

import (
	"errors"
	"fmt"
	"slices"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"envoke/internal/faas"
	"envoke/internal/routing"
)

// allow says who may take a declared rule's route, where callers are checked. Upstreams of
// which nothing is said check their callers themselves, by what those show.
func allow(s State, rule routing.Rule, r *routev3.Route) {
	if s.Auth == nil {
		return
	}
	if s.Rates != (Rates{}) && !toFunctions(rule.BackendRefs) { // rates are of what Envoke itself serves
		off(r, rateFilter)
		if s.sharesRates() {
			off(r, sharedRateFilter)
		}
	}
	needs := ruleNeeds(rule)
	if len(needs) == 0 {
		unchecked(s, r)
		for n, issuer := range s.Auth.Issuers {
			if issuer.Namespace != "" {
				off(r, fmt.Sprint(namespaceFilter, "-", n))
			}
		}
		return
	}
	scoped(r, s.Auth.within(placesOf(rule), needs))
	r.RequestHeadersToRemove = append(r.RequestHeadersToRemove, credentials(s)...)
	slices.Sort(r.RequestHeadersToRemove)
	r.RequestHeadersToRemove = slices.Compact(r.RequestHeadersToRemove)
}

// ruleNeeds are the scopes of which callers need one; none: everybody may call.
func ruleNeeds(rule routing.Rule) (needs []faas.Scope) {
	switch {
	case rule.Access.Public:
		return nil
	case len(rule.Access.Scopes) > 0:
		for _, scope := range rule.Access.Scopes {
			needs = append(needs, faas.Scope(scope))
		}
		return needs
	}
	for _, ref := range weighted(rule.BackendRefs) {
		if f, err := faas.ParseRef(ref.Name); ref.Kind == routing.ToFunction && err == nil {
			for _, scope := range faas.InvokeHTTP.Needs(f.Name.Language) {
				if !slices.Contains(needs, scope) {
					needs = append(needs, scope)
				}
			}
		}
	}
	return needs
}

// placesOf are the namespaces whose callers may, since scopes count within one: that of the
// rule's functions; the default one too where the rule names scopes, which is its operator's.
func placesOf(rule routing.Rule) []faas.Namespace {
	var places []faas.Namespace
	if len(rule.Access.Scopes) > 0 {
		places = append(places, "")
	}
	for _, ref := range weighted(rule.BackendRefs) {
		if place := namespaceOf(ref.Namespace); ref.Kind == routing.ToFunction && !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	return places
}

// namespaceOf is that of a function by its name in a declaration; empty: the default one.
func namespaceOf(name string) faas.Namespace {
	if name == faas.DefaultNamespace {
		return ""
	}
	return faas.Namespace(name)
}

// checkPlaces refuses functions of two namespaces: the callers of one could not be those of the
// other.
func checkPlaces(rule routing.Rule) error {
	rule.Access.Scopes = nil
	if len(placesOf(rule)) > 1 {
		return errors.New("its functions are of several namespaces")
	}
	return nil
}

// within are those who have one of the scopes, in one of the namespaces.
func (a *Auth) within(places []faas.Namespace, needs []faas.Scope) (all []*rbacv3.Principal) {
	for _, place := range places {
		in := principal(absent(faas.NamespaceHeader))
		if place != "" {
			in = principal(header(faas.NamespaceHeader, equal(string(place))))
		}
		for _, p := range a.principals(needs) {
			all = append(all, both(p, in))
		}
	}
	return all
}

// scoped lets those pass.
func scoped(r *routev3.Route, who []*rbacv3.Principal) {
	perFilter(r, scopeFilter, &httprbacv3.RBACPerRoute{Rbac: &httprbacv3.RBAC{Rules: rules(who...)}})
}

// unchecked lets everybody pass, whatever they show, right or wrong: it may be for what is
// behind the route, and nobody else looks at it.
func unchecked(s State, r *routev3.Route) {
	perFilter(r, scopeFilter, &httprbacv3.RBACPerRoute{})
	perFilter(r, keyFilter, &authzv3.ExtAuthzPerRoute{Override: &authzv3.ExtAuthzPerRoute_Disabled{Disabled: true}})
	if len(s.Auth.Issuers) > 0 {
		perFilter(r, jwtFilter, &jwtv3.PerRouteConfig{RequirementSpecifier: &jwtv3.PerRouteConfig_Disabled{Disabled: true}})
	}
}

// off has a route's requests pass by a filter.
func off(r *routev3.Route, filter string) {
	perFilter(r, filter, &routev3.FilterConfig{Disabled: true})
}

func perFilter(r *routev3.Route, filter string, config proto.Message) {
	if r.TypedPerFilterConfig == nil {
		r.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	r.TypedPerFilterConfig[filter] = pack(config)
}
