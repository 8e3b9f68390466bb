package xds

import (
	"fmt"
	"slices"
	"testing"

	"envoke/internal/routing"
)

// BenchmarkChange is control's cost of a change of one host of a thousand.
func BenchmarkChange(b *testing.B) {
	state := validState()
	rules := func(n int) (rules []routing.Rule) {
		for at := range 10 {
			rules = append(rules, routing.Rule{
				Name: fmt.Sprint(n), Matches: onPath(routing.PathPrefix, fmt.Sprint("/p", at)), BackendRefs: to("u"),
			})
		}
		return rules
	}
	state.Routing.Upstreams = []routing.Upstream{{Name: "u"}}
	for n := range 1000 {
		name := fmt.Sprintf("host-%d.example.com", n)
		state.Routing.Upstreams = append(state.Routing.Upstreams, routing.Upstream{Name: name})
		state.Routing.Routes = append(state.Routing.Routes, routing.Route{Name: name, Hostnames: []string{name}, Rules: rules(0)})
	}
	c := New(Options{})
	if err := c.Publish(b.Context(), state); err != nil {
		b.Fatal(err)
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		state.Routing.Routes = slices.Clone(state.Routing.Routes)
		state.Routing.Routes[n%1000].Rules = rules(n)
		if err := c.Publish(b.Context(), state); err != nil {
			b.Fatal(err)
		}
	}
}
