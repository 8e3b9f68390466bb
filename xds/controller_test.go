package xds

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/envoytest"
	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// publish publishes a state and waits until Envoy holds it.
func (s *stack) publish(state State) {
	s.t.Helper()
	if err := s.controller.Publish(s.t.Context(), state); err != nil {
		s.t.Fatal(err)
	}
	s.synced()
}

func (s *stack) synced() {
	s.t.Helper()
	testrig.Eventually(s.t, "Envoy holds what is published", func() bool {
		nodes := s.controller.Status().Nodes
		return len(nodes) == 1 && nodes[0].Synced
	})
}

// TestRefusal gives Envoy a listener that it cannot have.
func TestRefusal(t *testing.T) {
	s := newStack(t, nil)
	s.synced()
	good := s.controller.Status().Version

	bad := s.state
	bad.AccessLog = filepath.Join(s.dir, "no-such-folder", "access.log")
	s.controller.Set(bad)
	testrig.Eventually(t, "the refusal is known and the last good configuration is back", func() bool {
		status := s.controller.Status()
		return status.Nack != nil && status.Version == good && status.Good == good
	})
	nack := s.controller.Status().Nack
	if nack.Type != "listener" || nack.Node != "test" || !strings.Contains(nack.Message, "no-such-folder") {
		t.Errorf("refusal %+v does not say what Envoy said", nack)
	}
	if n := counter(t, s.controller.metrics.nacks.WithLabelValues("listener")); n != 1 {
		t.Errorf("%v refusals counted, want 1", n)
	}
	if reply := s.do("GET", healthPath, ""); reply.Status != 200 {
		t.Errorf("after the refusal: %d", reply.Status)
	}
	// An Envoy that is new must not meet what was refused.
	second := envoytest.Start(t, envoytest.Options{Control: s.ads(), Listener: ListenerName, NodeID: "second"})
	if reply := envoytest.Raw(t, second.Addr, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"); reply.Status != 200 {
		t.Errorf("a new Envoy: %d %s", reply.Status, reply.Body)
	}
	better := s.state
	better.MaxTimeout = 2 * time.Second
	s.controller.Set(better)
	testrig.Eventually(t, "a better state is taken by both", func() bool {
		status := s.controller.Status()
		return status.Version != good && status.Good == status.Version &&
			len(status.Nodes) == 2 && status.Nodes[0].Synced && status.Nodes[1].Synced
	})
}

// TestRestart kills control and starts it again with another state.
func TestRestart(t *testing.T) {
	s := newStack(t, nil)
	s.synced()
	first := s.controller.Status().Version
	kill := s.replaceADS(New(Options{}), s.state)
	s.synced()
	if status := s.controller.Status(); status.Version != first || status.Good != first {
		t.Errorf("an unchanged state has version %s, good %s; was %s", status.Version, status.Good, first)
	}
	kill()
	plain := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	if reply := s.do("POST", plain, "{}"); reply.Status != 200 {
		t.Fatalf("without control: %d %s", reply.Status, reply.Body)
	}
	host := decode(t, s.do("POST", plain, "{}")).Upstream
	moved := s.state
	moved.Runtimes = []Runtime{{Language: faas.NodeJS, Endpoints: []Endpoint{
		{Path: filepath.Join(s.dir, map[string]string{"host0": "host1.sock", "host1": "host0.sock"}[host])},
	}}}
	s.replaceADS(New(Options{}), moved)
	s.synced()
	if now := decode(t, s.do("POST", plain, "{}")).Upstream; now == host {
		t.Errorf("still served by %s, which is no endpoint any more", now)
	}
}

// replaceADS is a restart of control: a new controller behind the same socket.
func (s *stack) replaceADS(controller *Controller, state State) (kill func()) {
	s.t.Helper()
	s.killADS()
	if err := os.Remove(s.ads()); err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	if err := controller.Publish(s.t.Context(), state); err != nil {
		s.t.Fatal(err)
	}
	s.controller = controller
	s.killADS = serveADS(s.t, s.ads(), controller)
	return s.killADS
}

// TestBadState leaves what is published alone.
func TestBadState(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := New(Options{Registerer: registry})
	if err := c.Publish(t.Context(), validState()); err != nil {
		t.Fatal(err)
	}
	before := c.Status()
	bad := validState()
	bad.MaxTimeout = 0
	if err := c.Publish(t.Context(), bad); err == nil || c.Status().Error != err.Error() {
		t.Errorf("error %v, status %q", err, c.Status().Error)
	}
	if got := c.Status().Version; got != before.Version {
		t.Errorf("version %s, was %s", got, before.Version)
	}
	if err := c.Publish(t.Context(), validState()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, c.Status()); diff != "" {
		t.Errorf("after a good state (-want +got):\n%s", diff)
	}
}

// TestDebounce sees a burst become one snapshot, the last.
func TestDebounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Serve(ctx) }()
		state := validState()
		for i := range 100 {
			state.MaxTimeout = time.Duration(i+1) * time.Second
			c.Set(state)
		}
		pass(time.Second)
		want, err := Build(state)
		if err != nil {
			t.Fatal(err)
		}
		if n, got := counter(t, c.metrics.published), c.Status().Version; n != 1 || got != want.Version() {
			t.Errorf("%v snapshots, the last %s; want 1, %s", n, got, want.Version())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestLingering sees a removed cluster stay until no request can need it.
func TestLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Serve(ctx) }()
		with, without := validState(), validState()
		with.Runtimes = append(with.Runtimes, Runtime{Language: faas.Python})
		for _, state := range []State{with, without} {
			if err := c.Publish(t.Context(), state); err != nil {
				t.Fatal(err)
			}
		}
		pass(without.MaxTimeout)
		if !c.has(resourcev3.ClusterType, "runtime-python") || !c.has(resourcev3.EndpointType, "runtime-python") {
			t.Error("the cluster went while requests may still use it")
		}
		pass(2 * time.Second)
		if c.has(resourcev3.ClusterType, "runtime-python") || c.has(resourcev3.EndpointType, "runtime-python") {
			t.Error("the cluster stayed")
		}
		want, err := Build(without)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Status().Version; got != want.Version() {
			t.Errorf("version %s, want %s", got, want.Version())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pass lets time go by on a bubble's clock, which nobody waits for, until all in
// the bubble have done what they do by then.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // it takes no time
	synctest.Wait()
}

func (c *Controller) has(typeURL, name string) bool {
	snapshot, err := c.cache.GetSnapshot(everyNode)
	return err == nil && snapshot.GetResources(typeURL)[name] != nil
}

// TestNoRefusals sees every type's counter before there is anything to count.
func TestNoRefusals(t *testing.T) {
	registry := prometheus.NewRegistry()
	New(Options{Registerer: registry})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "envoke_xds_nacks_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{"cluster": 0, "endpoint": 0, "filter": 0, "host": 0, "listener": 0, "route": 0, "secret": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func counter(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("gather: %v, %d families", err, len(families))
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}
