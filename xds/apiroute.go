package xds

import (
	"net/http"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"envoke/internal/faas"
)

const (
	// apiTimeout bounds requests of control's API, which runs no user's code.
	apiTimeout = 10 * time.Second
	// WriteTimeout bounds those that have code checked or compiled.
	WriteTimeout = 70 * time.Second
)

// toAPI sends requests to control's API, which is told from where they came. x-forwarded-for
// would not say so of callers on this machine.
func toAPI(operation faas.Operation, m *routev3.RouteMatch, timeout time.Duration) *routev3.Route {
	r := route(string(operation), m, &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: ControlAPICluster},
		Timeout:          duration(timeout),
	})
	r.RequestHeadersToAdd = []*corev3.HeaderValueOption{{
		Header:       &corev3.HeaderValue{Key: faas.AddressHeader, Value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}
	return r
}

const configPath = "/api/v1/config"

// configRoutes are those of the declared routes' own API. Control knows which path below takes
// which method.
func configRoutes() []*routev3.Route {
	methods := method(http.MethodGet, http.MethodHead, http.MethodPut)
	return []*routev3.Route{
		toAPI(faas.ConfigWrite, match(exact(configPath), methods), WriteTimeout),
		toAPI(faas.ConfigWrite, prefix(configPath+"/"), WriteTimeout),
		wrongMethod(exact(configPath), "GET, HEAD, PUT"),
	}
}

// own tells what serves the API that callers are checked, and no more of what they have shown.
func own(s State, routes []*routev3.Route) []*routev3.Route {
	for _, r := range routes {
		if r.GetRoute() != nil {
			r.RequestHeadersToAdd = append(r.RequestHeadersToAdd, checkedHeader(s)...)
			r.RequestHeadersToRemove = append(r.RequestHeadersToRemove, append(credentials(s), placeholders(s)...)...)
		}
	}
	return routes
}
