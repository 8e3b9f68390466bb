package xds

import (
	"time"

	"envoke/internal/routing"
)

// declare has requests of each path go to control's API, which says what it has got, by way of
// the hooks.
func (r *hookRig) declare(hooks map[string]routing.Hooks) {
	r.t.Helper()
	r.state.Routing = routing.Routing{
		Upstreams: []routing.Upstream{{Name: "echo", Endpoints: []routing.UpstreamEndpoint{{Path: r.state.APIPath}}}},
	}
	for path, h := range hooks {
		r.state.Routing.Routes = append(r.state.Routing.Routes, routing.Route{Name: path[1:], Rules: []routing.Rule{{
			Matches:     []routing.Match{{Path: &routing.PathMatch{Value: path}}},
			BackendRefs: []routing.BackendRef{{Name: "echo"}},
			Timeouts:    routing.Timeouts{Request: routing.Duration(20 * time.Second)},
			Hooks:       h,
		}}})
	}
	if err := r.controller.Publish(r.t.Context(), r.state); err != nil {
		r.t.Fatal(err)
	}
	r.synced()
}
