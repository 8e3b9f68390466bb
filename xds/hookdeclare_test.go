package xds

import (
	"slices"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"

	"envoke/internal/routing"
)

// declare has requests of each path go to control's API, which says what it has got, by way of
// the hooks. It stands for what declared routes are made into.
func (r *hookRig) declare(hooks map[string]routing.Hooks) {
	r.t.Helper()
	var routes []*routev3.Route
	state := r.state
	state.Routing = routing.Routing{}
	for path, h := range hooks {
		rule := routing.Rule{Hooks: h}
		state.Routing.Routes = append(state.Routing.Routes, routing.Route{Name: path[1:], Rules: []routing.Rule{rule}})
		to := route("route"+path+"/1", prefix(path), &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: ControlAPICluster}, Timeout: duration(20 * time.Second),
		})
		routes = append(routes, hooked(r.state, rule, to))
	}
	r.publishWith(state, routes)
}

// publishWith publishes a state with routes before all of its own.
func (r *hookRig) publishWith(state State, first []*routev3.Route) {
	r.t.Helper()
	built, err := Build(state)
	if err != nil {
		r.t.Fatal(err)
	}
	byType := map[string][]types.Resource{}
	for _, typeURL := range typeURLs {
		for _, resource := range built.cache.GetResources(typeURL) {
			if typeURL == resourcev3.RouteType {
				table, _ := proto.Clone(resource).(*routev3.RouteConfiguration)
				table.VirtualHosts[0].Routes = slices.Concat(first, table.GetVirtualHosts()[0].GetRoutes())
				resource = table
			}
			byType[typeURL] = append(byType[typeURL], resource)
		}
	}
	snapshot, err := assemble(byType)
	if err != nil {
		r.t.Fatal(err)
	}
	r.controller.mu.Lock()
	err = r.controller.put(r.t.Context(), snapshot)
	r.controller.mu.Unlock()
	if err != nil {
		r.t.Fatal(err)
	}
	r.synced()
}
