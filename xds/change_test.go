package xds

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/routing"
	"envoke/internal/testrig"
)

// dump is what Envoy says it has of hosts, clusters and endpoints. Unless exact, times and
// versions are left out.
func (s *stack) dump(exact bool) string {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.Dir, "admin.sock"))
	}}}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://envoy/config_dump?include_eds")
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var all struct{ Configs []map[string]any }
	if err := json.Unmarshal(raw, &all); err != nil {
		s.t.Fatal(err)
	}
	var kept []any
	for _, config := range all.Configs {
		for _, kind := range []string{"dynamic_route_configs", "dynamic_active_clusters", "dynamic_endpoint_configs"} {
			if list, ok := config[kind].([]any); ok {
				kept = append(kept, sortedTexts(list, exact))
			}
		}
	}
	text, _ := json.MarshalIndent(kept, "", " ")
	return string(text)
}

func sortedTexts(list []any, exact bool) (texts []string) {
	for _, one := range list {
		if fields, ok := one.(map[string]any); ok && !exact {
			delete(fields, "last_updated")
			delete(fields, "version_info")
		}
		text, _ := json.Marshal(one)
		texts = append(texts, string(text))
	}
	slices.Sort(texts)
	return texts
}

func routeTo(host string, refs []routing.BackendRef, matches ...routing.Match) routing.Route {
	return routing.Route{Name: host, Hostnames: []string{host}, Rules: []routing.Rule{{Matches: matches, BackendRefs: refs}}}
}

// reaches waits until a host's requests meet an upstream.
func (s *stack) reaches(host, name string) {
	s.t.Helper()
	testrig.Succeeds(s.t, func() error {
		reply := s.at(host, "GET", "/1")
		if reply.Status != http.StatusOK || decode(s.t, reply).Upstream != name {
			return fmt.Errorf("%s: status %d, %.200s; want %s; status %+v", host, reply.Status, reply.Body, name, s.controller.Status())
		}
		return nil
	})
}

// large is an expression that Go's compiler takes, and Envoy does not: its program is too
// large.
var large = routing.Match{Path: &routing.PathMatch{Type: routing.RegularExpression, Value: "/[a-z]{500}"}}

// TestRefusedHost: of a change that Envoy refuses, what is at fault is kept apart.
func TestRefusedHost(t *testing.T) {
	s := newStack(t, nil)
	s.declare("one", "two")
	for n := range 9 {
		s.state.Routing.Routes = append(s.state.Routing.Routes, routeTo(fmt.Sprintf("h%d.example", n), to("one")))
	}
	s.publish(s.state)
	bad := s.state
	bad.Routing.Routes = slices.Clone(s.state.Routing.Routes)
	for n := range bad.Routing.Routes {
		bad.Routing.Routes[n].Rules = []routing.Rule{{BackendRefs: to("two")}}
	}
	for _, n := range []int{2, 7} {
		bad.Routing.Routes[n].Rules[0].Matches = []routing.Match{large}
	}
	bad.Routing.Routes = append(bad.Routing.Routes, routeTo("new.example", to("two")), routeTo("newbad.example", to("two"), large))
	s.controller.Set(bad)
	for n := range 9 {
		want := "two"
		if n == 2 || n == 7 {
			want = "one"
		}
		s.reaches(fmt.Sprintf("h%d.example", n), want)
	}
	s.reaches("new.example", "two")
	testrig.Succeeds(t, func() error {
		var names []string
		for _, r := range s.controller.Status().Refused {
			names = append(names, r.Name)
			if !strings.Contains(r.Message, "regex") || r.Type != "host" || r.Node != "test" {
				return fmt.Errorf("%+v does not say what Envoy said", r)
			}
		}
		if diff := cmp.Diff([]string{"public/h2.example", "public/h7.example", "public/newbad.example"}, names); diff != "" {
			return fmt.Errorf("refused (-want +got):\n%s", diff)
		}
		return nil
	})
	s.synced()
	if reply := s.at("newbad.example", "GET", "/"); reply.Status != 404 {
		t.Errorf("a refused host: %d", reply.Status)
	}
	bad.Routing.Routes = slices.Clone(bad.Routing.Routes)
	for _, n := range []int{2, 7, 10} {
		bad.Routing.Routes[n].Rules = []routing.Rule{{BackendRefs: to("two")}}
	}
	s.controller.Set(bad)
	for _, host := range []string{"h2.example", "h7.example", "newbad.example"} {
		s.reaches(host, "two")
	}
	testrig.Eventually(t, "nothing is refused", func() bool { return len(s.controller.Status().Refused) == 0 })
}

// TestRefusedUpstream: an upstream whose files are not there keeps nothing else from Envoy.
func TestRefusedUpstream(t *testing.T) {
	s := newStack(t, nil)
	s.declare("one")
	s.publish(s.state)
	bad := s.state
	bad.Routing.Upstreams = append(slices.Clone(bad.Routing.Upstreams), routing.Upstream{
		Name: "bad", Endpoints: []routing.UpstreamEndpoint{{Host: "127.0.0.1", Port: 1}},
		TLS: &routing.UpstreamTLS{Hostname: "a", CAFile: filepath.Join(s.dir, "missing.pem")},
	})
	bad.Routing.Routes = []routing.Route{routeTo("a.example", to("one")), routeTo("bad.example", to("bad"))}
	s.controller.Set(bad)
	s.reaches("a.example", "one")
	testrig.Eventually(t, "the upstream's secret is refused", func() bool {
		refused := s.controller.Status().Refused
		return len(refused) == 1 && refused[0].Name == "upstream/bad/authorities" && strings.Contains(refused[0].Message, "missing.pem")
	})
	testrig.Eventually(t, "its host is there", func() bool { return s.at("bad.example", "GET", "/").Status == http.StatusServiceUnavailable })
}

// TestWarmClusters moves a host from upstream to upstream, each of them new, under load.
func TestWarmClusters(t *testing.T) {
	s := newStack(t, nil)
	s.declare("u0")
	s.state.Routing.Routes = []routing.Route{routeTo("a.example", to("u0"))}
	s.publish(s.state)
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	failed, sent := "", 0
	load.Go(func() {
		for ctx.Err() == nil {
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr, http.NoBody)
			request.Host = "a.example"
			response, err := s.client.Do(request)
			if err != nil {
				failed = err.Error()
				return
			}
			if sent++; response.StatusCode != http.StatusOK {
				failed = response.Status
			}
			_ = response.Body.Close()
		}
	})
	for n := 1; n < 13; n++ {
		name := fmt.Sprint("u", n)
		s.declare(name)
		u := &s.state.Routing.Upstreams[n]
		switch n % 4 {
		case 1:
			u.HealthCheck = &routing.HealthCheck{Path: "/"}
		case 2:
			u.Endpoints = []routing.UpstreamEndpoint{{Host: "localhost", Port: servePort(t, upstream(name))}}
		}
		s.state.Routing.Routes = []routing.Route{routeTo("a.example", to(name))}
		s.controller.Set(s.state)
		s.reaches("a.example", name)
	}
	cancel()
	load.Wait()
	if failed != "" || sent < 100 {
		t.Errorf("of %d requests one failed: %s", sent, failed)
	}
}

func servePort(t *testing.T, handler http.Handler) int {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { _ = server.Serve(listener); close(done) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return listener.Addr().(*net.TCPAddr).Port
}

// TestRollback publishes an older state again: Envoy has what it had.
func TestRollback(t *testing.T) {
	s := newStack(t, nil)
	s.declare("one", "two")
	s.state.Routing.Routes = []routing.Route{routeTo("a.example", to("one")), routeTo("b.example", to("two"))}
	s.publish(s.state)
	before, version := s.dump(false), s.controller.Status().Version
	next := s.state
	next.Routing.Upstreams = next.Routing.Upstreams[:1]
	next.Routing.Routes = []routing.Route{routeTo("a.example", toFunction("nodejs-a")), routeTo("c.example", to("one"))}
	s.publish(next)
	testrig.Eventually(t, "what nobody needs is gone", func() bool { return !strings.Contains(s.dump(false), "upstream/two") })
	if s.dump(false) == before {
		t.Fatal("nothing changed")
	}
	s.publish(s.state)
	testrig.Eventually(t, "all is as it was", func() bool { return s.controller.Status().Version == version })
	s.synced()
	if diff := cmp.Diff(before, s.dump(false)); diff != "" {
		t.Errorf("after the roll-back (-want +got):\n%s", diff)
	}
}

// TestChangesAfterRestart restarts control: Envoy gets nothing that it has already, and serves
// meanwhile.
func TestChangesAfterRestart(t *testing.T) {
	s := newStack(t, nil)
	s.declare("one", "two")
	s.state.Routing.Routes = []routing.Route{routeTo("a.example", to("one")), routeTo("b.example", to("two"))}
	s.publish(s.state)
	before := s.dump(true)
	s.killADS()
	s.reaches("a.example", "one")
	s.replaceADS(New(Options{}), s.state)
	s.synced()
	if diff := cmp.Diff(before, s.dump(true)); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
	testrig.Serve(t, s.controller.Serve)
	next := s.state
	next.Routing.Routes = []routing.Route{routeTo("a.example", to("two"))}
	s.controller.Set(next)
	s.reaches("a.example", "two")
	testrig.Eventually(t, "a removed host is gone", func() bool { return s.at("b.example", "GET", "/").Status == 404 })
}
