package xds

import (
	"net/http"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"envoke/internal/faas"
)

// The gRPC methods that are public; all others are 404, which Envoy tells as
// UNIMPLEMENTED. Health's Watch is not: a stream that never ends costs its caller
// nothing, and clients take UNIMPLEMENTED for "ask with Check".
const (
	grpcExecutePath = "/runtime.RuntimeService/Execute"
	grpcHealthPath  = "/grpc.health.v1.Health/Check"
)

// grpcElsewhere is the route of calls to a language that has no gRPC here.
const grpcElsewhere = "grpc-elsewhere"

// grpcDefault serves calls that name no language.
const grpcDefault = faas.NodeJS

// grpcRoutes send calls straight to the hosts: the session is in the message, which
// nobody reads here, so the language comes with the call, as a function's name does.
func grpcRoutes(s State) []*routev3.Route {
	var routes []*routev3.Route
	for _, r := range s.Runtimes {
		if !s.hasGRPC(r) {
			continue
		}
		routes = append(routes, grpcRoutesOf(s, r.Language, header("language-title", &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: string(r.Language) + "-"},
		}))...)
		if r.Language == grpcDefault {
			routes = append(routes, grpcRoutesOf(s, r.Language, absent("language-title"))...)
		}
	}
	return append(routes,
		refuse(grpcElsewhere, grpcCall(grpcExecutePath), http.StatusNotFound),
		refuse(grpcElsewhere, grpcCall(grpcHealthPath), http.StatusNotFound))
}

func grpcRoutesOf(s State, language faas.Language, which *routev3.HeaderMatcher) []*routev3.Route {
	to := func(name, path string) *routev3.Route {
		return route(name+string(language), match(grpcCall(path), which), &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: grpcCluster(language)},
			Timeout:          duration(s.MaxTimeout + time.Second),
		})
	}
	return []*routev3.Route{to(string(faas.Execute)+"-grpc-", grpcExecutePath), to("grpc-health-", grpcHealthPath)}
}

// grpcCall matches gRPC only: what comes to the path by plain HTTP is a 404.
func grpcCall(path string) *routev3.RouteMatch {
	m := exact(path)
	m.Grpc = &routev3.RouteMatch_GrpcRouteMatchOptions{}
	return m
}
