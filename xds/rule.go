package xds

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"envoke/internal/faas"
	"envoke/internal/routing"
)

const (
	// upstreamTimeout is for requests to upstreams of which nothing is said, as Envoy has it.
	upstreamTimeout = 15 * time.Second
	// upstreamBackoff is before the first try again of which nothing is said.
	upstreamBackoff = 25 * time.Millisecond
)

// NowhereCluster has no hosts: it stands for those of a language that is not served.
const NowhereCluster = "nowhere"

// RouteName is that of a rule's routes in Envoy: in its access log, and in faas.RouteHeader.
func RouteName(route routing.Route, rule int) string {
	return "route/" + route.Name + "/" + cmp.Or(route.Rules[rule].Name, strconv.Itoa(rule+1))
}

// UpstreamCluster is the cluster of an upstream.
func UpstreamCluster(name string) string { return "upstream/" + name }

// ruleRoutes are the routes of a rule: one for each of its matches.
func ruleRoutes(s State, r routing.Route, n int) (routes []ranked) {
	matches := r.Rules[n].Matches
	if len(matches) == 0 {
		matches = []routing.Match{{}}
	}
	for at, m := range matches {
		one := matched(m)
		one.rank.route, one.rank.rule, one.rank.match = r.Name, n, at
		one.route.Name = RouteName(r, n)
		act(s, r.Rules[n], m, one.route)
		allow(s, r.Rules[n], one.route)
		one.route = hooked(s, r.Rules[n], one.route)
		routes = append(routes, one)
	}
	return routes
}

// act has a route do what its rule says.
func act(s State, rule routing.Rule, m routing.Match, r *routev3.Route) {
	changeHeaders(rule.Filters, r)
	to := weighted(rule.BackendRefs)
	redirect := filterOfType(rule, routing.RequestRedirect)
	switch {
	case redirect != nil:
		r.Action = &routev3.Route_Redirect{Redirect: redirectTo(redirect.RequestRedirect, m)}
		return
	case len(to) == 0:
		r.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: http.StatusInternalServerError}}
		return
	}
	action := forward(s, rule, to)
	if len(to) == 1 {
		one := toward(s, r.GetName(), to[0])
		action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: one.GetName()}
		r.RequestHeadersToAdd = append(r.RequestHeadersToAdd, one.GetRequestHeadersToAdd()...)
		r.RequestHeadersToRemove = append(r.RequestHeadersToRemove, one.GetRequestHeadersToRemove()...)
		r.ResponseHeadersToAdd = append(r.ResponseHeadersToAdd, one.GetResponseHeadersToAdd()...)
	} else {
		mix := &routev3.WeightedCluster{}
		for _, ref := range to {
			mix.Clusters = append(mix.Clusters, toward(s, r.GetName(), ref))
		}
		action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: mix}
	}
	rewrite(rule, m, action)
	mirror(rule, action)
	r.Action = &routev3.Route_Route{Route: action}
}

// weighted are those that get requests.
func weighted(refs []routing.BackendRef) []routing.BackendRef {
	return slices.DeleteFunc(slices.Clone(refs), func(r routing.BackendRef) bool { return weight(r) == 0 })
}

func weight(r routing.BackendRef) int {
	if r.Weight == nil {
		return 1
	}
	return *r.Weight
}

// toward is where one backend's share goes, and what it is told.
func toward(s State, route string, ref routing.BackendRef) *routev3.WeightedCluster_ClusterWeight {
	share := &routev3.WeightedCluster_ClusterWeight{Name: UpstreamCluster(ref.Name), Weight: number(uint32(weight(ref)))} // checked
	if ref.Kind != routing.ToFunction {
		return share
	}
	share.Name = functionCluster(s, ref)
	share.RequestHeadersToAdd = append([]*corev3.HeaderValueOption{
		overwritten(FunctionHeader, ref.Name),
		overwritten(faas.RouteHeader, route),
		{
			Header:       &corev3.HeaderValue{Key: StartHeader, Value: "%START_TIME(%s%6f)%"},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		},
	}, checkedHeader(s)...)
	// The function is in the namespace that the route says, whoever calls.
	if place := namespaceOf(ref.Namespace); place == "" {
		share.RequestHeadersToRemove = []string{faas.NamespaceHeader}
	} else {
		share.RequestHeadersToAdd = append(share.RequestHeadersToAdd, overwritten(faas.NamespaceHeader, string(place)))
	}
	share.RequestHeadersToRemove = append(share.RequestHeadersToRemove, credentials(s)...)
	share.ResponseHeadersToAdd = plainHeaders()
	return share
}

// functionCluster is that of a function's language.
func functionCluster(s State, ref routing.BackendRef) string {
	f, err := faas.ParseRef(ref.Name)
	if err == nil && slices.ContainsFunc(s.Runtimes, func(r Runtime) bool { return r.Language == f.Name.Language }) {
		return RuntimeCluster(f.Name.Language)
	}
	return NowhereCluster
}

// overwritten is a header whose value is no format of Envoy's.
func overwritten(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: literalValue(value)},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

func toFunctions(refs []routing.BackendRef) bool {
	return slices.ContainsFunc(refs, func(r routing.BackendRef) bool { return r.Kind == routing.ToFunction })
}

// forward bounds a request, and says when it is tried again. Of a mix of functions and
// upstreams what is said of functions is for all.
func forward(s State, rule routing.Rule, to []routing.BackendRef) *routev3.RouteAction {
	defaults := s.Routing.Defaults
	whole := cmp.Or(rule.Timeouts.Request, defaults.Timeouts.Request).Time()
	try := cmp.Or(rule.Timeouts.BackendRequest, defaults.Timeouts.BackendRequest).Time()
	var action *routev3.RouteAction
	if toFunctions(to) {
		action = runtimeAction(s, FunctionHeader)
		whole = cmp.Or(whole, try)
	} else {
		action = &routev3.RouteAction{RetryPolicy: retryUpstream(cmp.Or(rule.Retry, defaults.Retry), try)}
		whole = cmp.Or(whole, upstreamTimeout)
		if action.RetryPolicy == nil && try > 0 {
			whole = min(whole, try) // there is one try
		}
		// The service may be one that knows WebSockets.
		action.UpgradeConfigs = []*routev3.RouteAction_UpgradeConfig{{UpgradeType: "websocket"}}
	}
	action.Timeout = duration(whole)
	if whole >= s.MaxTimeout {
		action.IdleTimeout = duration(whole + time.Second) // the listener's is shorter
	}
	return action
}

// retryUpstream is nil where nothing is tried again.
func retryUpstream(r *routing.Retry, try time.Duration) *routev3.RetryPolicy {
	if r == nil {
		return nil
	}
	backoff := cmp.Or(r.Backoff.Time(), upstreamBackoff)
	policy := &routev3.RetryPolicy{
		RetryOn:    "connect-failure,refused-stream,reset",
		NumRetries: number(uint32(cmp.Or(r.Attempts, 1))), // checked
		RetryBackOff: &routev3.RetryPolicy_RetryBackOff{
			BaseInterval: duration(backoff), MaxInterval: duration(10 * backoff),
		},
	}
	if try > 0 {
		policy.PerTryTimeout = duration(try)
	}
	if len(r.Codes) > 0 {
		policy.RetryOn += ",retriable-status-codes"
		for _, code := range r.Codes {
			policy.RetriableStatusCodes = append(policy.RetriableStatusCodes, uint32(code)) // checked
		}
	}
	return policy
}
