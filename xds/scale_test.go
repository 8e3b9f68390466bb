package xds

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"envoke/internal/routing"
	"envoke/internal/testrig"
)

func TestScale(t *testing.T) {
	hosts, _ := strconv.Atoi(os.Getenv("HOSTS"))
	if hosts == 0 {
		t.Skip()
	}
	s := newStack(t, nil)
	s.declare("shop", "blog")
	rules := func(name string) (rules []routing.Rule) {
		for n := range 10 {
			rules = append(rules, routing.Rule{Matches: onPath(routing.PathPrefix, fmt.Sprint("/p", n)), BackendRefs: to(name)})
		}
		return rules
	}
	for n := range hosts {
		s.state.Routing.Routes = append(s.state.Routing.Routes, routing.Route{Name: fmt.Sprint("r", n), Hostnames: []string{fmt.Sprintf("host-%04d.example.com", n)}, Rules: rules("shop")})
	}
	began := time.Now()
	s.publish(s.state)
	t.Log("first", time.Since(began))
	for i := range 10 {
		routes := append([]routing.Route(nil), s.state.Routing.Routes...)
		at := i * 7 % hosts
		name := []string{"blog", "shop"}[i%2]
		at = 3
		routes[at].Rules = rules(name)
		s.state.Routing.Routes = routes
		began := time.Now()
		if err := s.controller.Publish(t.Context(), s.state); err != nil {
			t.Fatal(err)
		}
		built := time.Since(began)
		testrig.Eventually(t, "live", func() bool {
			return decode(t, s.at(routes[at].Hostnames[0], "GET", "/p1")).Upstream == name
		})
		t.Log(built, time.Since(began))
	}
}
