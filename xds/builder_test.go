package xds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"envoke/internal/routing"
)

// TestBuilderKeeps: what a builder keeps of earlier states never shows in the next.
func TestBuilderKeeps(t *testing.T) {
	var b builder
	state := readState(t, "testdata/routing.in.yaml")
	var before *Snapshot
	for n, change := range []func(*State){
		func(*State) {},
		func(s *State) { s.Routing.Routes[0].Rules[0].Matches[0].Method = "PUT" },
		func(s *State) { s.Routing.Upstreams[0].Endpoints[0].Draining = true },
		func(s *State) { s.Routing.Defaults.Timeouts.Request = routing.Duration(time.Minute) },
		func(s *State) { s.Routing.Routes = s.Routing.Routes[:2] },
		func(s *State) { s.Auth = nil },
		func(s *State) { s.Routing.API.Hostnames = nil },
		func(s *State) { s.Runtimes[0].Endpoints = nil },
		func(s *State) { s.Routing.Routes[1].Rules[0].Timeouts.Request = routing.Duration(time.Second) },
	} {
		// A copy, as a source that reads its file again would give.
		next := readState(t, "testdata/routing.in.yaml")
		next.Routing.Routes = deepRoutes(state.Routing.Routes)
		next.Routing.Upstreams = slices.Clone(state.Routing.Upstreams)
		for at := range next.Routing.Upstreams {
			next.Routing.Upstreams[at].Endpoints = slices.Clone(next.Routing.Upstreams[at].Endpoints)
		}
		next.Auth, next.Routing.API, next.Routing.Defaults, next.Runtimes = state.Auth, state.Routing.API, state.Routing.Defaults, slices.Clone(state.Runtimes)
		change(&next)
		state = next
		got, err := b.build(state)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Build(state)
		if err != nil {
			t.Fatal(err)
		}
		if got.Version() != want.Version() {
			t.Errorf("change %d: the builder's version is %s, that of Build %s", n, got.Version(), want.Version())
		}
		if n > 0 && got.Version() == before.Version() {
			t.Errorf("change %d changed nothing", n)
		}
		before = got
	}
}

func deepRoutes(routes []routing.Route) []routing.Route {
	routes = slices.Clone(routes)
	for n := range routes {
		routes[n].Rules = slices.Clone(routes[n].Rules)
		for at := range routes[n].Rules {
			routes[n].Rules[at].Matches = slices.Clone(routes[n].Rules[at].Matches)
		}
	}
	return routes
}

// TestBuilderMakesLittle: a change of one host leaves the resources of all others as they are.
func TestBuilderMakesLittle(t *testing.T) {
	var b builder
	state := readState(t, "testdata/routing.in.yaml")
	before, err := b.build(state)
	if err != nil {
		t.Fatal(err)
	}
	state.Routing.Routes = slices.Clone(state.Routing.Routes)
	state.Routing.Routes[2].Rules = state.Routing.Routes[2].Rules[:1]
	after, err := b.build(state)
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for typeURL, byName := range after.items {
		for name, i := range byName {
			if before.items[typeURL][name] != i {
				made = append(made, short(typeURL)+" "+name)
			}
		}
	}
	if got := strings.Join(made, ", "); got != "host public/large.example.com" {
		t.Errorf("made %s", got)
	}
}

// TestRoutingFaults: what is wrong is said with its route and rule.
func TestRoutingFaults(t *testing.T) {
	rule := func(change func(*routing.Rule)) func(*State) {
		return func(s *State) {
			second := routing.Rule{BackendRefs: to("one")}
			change(&second)
			s.Routing.Routes[0].Rules = append(s.Routing.Routes[0].Rules, second)
		}
	}
	upstream := func(change func(*routing.Upstream)) func(*State) {
		return func(s *State) { change(&s.Routing.Upstreams[0]) }
	}
	filter := func(f routing.Filter) func(*State) {
		return rule(func(r *routing.Rule) { r.Filters = []routing.Filter{f} })
	}
	for _, tt := range []struct {
		change func(*State)
		want   string
	}{
		{rule(func(r *routing.Rule) { r.BackendRefs = to("two") }), `route "shop" rule 2: there is no upstream "two"`},
		{rule(func(r *routing.Rule) { r.BackendRefs = toFunction("cobol-a") }), `route "shop" rule 2: function "cobol-a"`},
		{rule(func(r *routing.Rule) { r.Matches = onPath(routing.PathPrefix, "a") }), `"a" is no path`},
		{rule(func(r *routing.Rule) { r.Matches = onPath(routing.RegularExpression, "(") }), `is no regular expression`},
		{rule(func(r *routing.Rule) { r.Matches = onPath(routing.Template, "/{a}/{b}/{c}/{d}/{e}/{f}") }), `more than 5 variables`},
		{rule(func(r *routing.Rule) { r.Matches = onPath("Glob", "/") }), `cannot be matched by "Glob"`},
		{rule(func(r *routing.Rule) { r.Access.Scopes = []string{"all"} }), `no scope "all"`},
		{filter(routing.Filter{Type: "Else"}), `filter "Else": it is of no known type`},
		{filter(routing.Filter{Type: routing.RequestHeaderModifier, RequestHeaderModifier: &routing.Headers{Remove: []string{"X-Envoke-Start"}}}), `no header that can be changed`},
		{filter(routing.Filter{Type: routing.RequestRedirect, RequestRedirect: &routing.Redirect{StatusCode: 305}}), `305 is no status of a redirect`},
		{filter(routing.Filter{Type: routing.RequestMirror, RequestMirror: &routing.Mirror{BackendRef: toFunction("nodejs-a")[0]}}), `copies go to upstreams only`},
		{rule(func(r *routing.Rule) {
			r.Matches = onPath(routing.Exact, "/a")
			r.Filters = []routing.Filter{{Type: routing.URLRewrite, URLRewrite: &routing.Rewrite{Path: &routing.PathRewrite{Type: routing.ReplacePrefixMatch}}}}
		}), `a prefix is replaced where the match has none`},
		{func(s *State) { s.Routing.Routes = append(s.Routing.Routes, s.Routing.Routes[0]) }, `route "shop" is there twice`},
		{func(s *State) { s.Routing.Upstreams = append(s.Routing.Upstreams, s.Routing.Upstreams[0]) }, `upstream "one" is there twice`},
		{func(s *State) { s.Routing.Routes[0].Hostnames = []string{"a b"} }, `"a b" is no hostname`},
		{upstream(func(u *routing.Upstream) {
			u.Endpoints = []routing.UpstreamEndpoint{{Host: "a", Port: 1}, {Host: "10.0.0.1", Port: 1}}
		}), `upstream "one": it has addresses and names`},
		{upstream(func(u *routing.Upstream) { u.Endpoints = []routing.UpstreamEndpoint{{Host: "a"}} }), `port 0 is out of range`},
		{upstream(func(u *routing.Upstream) { u.TLS = &routing.UpstreamTLS{Hostname: "a", KeyFile: "k"} }), `it needs both`},
		{upstream(func(u *routing.Upstream) { u.LoadBalancing = "Best" }), `"Best" is no way of load balancing`},
	} {
		state := validState()
		state.Routing.Upstreams = []routing.Upstream{{Name: "one"}}
		state.Routing.Routes = []routing.Route{{Name: "shop", Hostnames: []string{"shop.example"}, Rules: []routing.Rule{{BackendRefs: to("one")}}}}
		tt.change(&state)
		if _, err := Build(state); !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
}
