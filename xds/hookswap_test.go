package xds

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"envoke/internal/faas"
	"envoke/internal/routing"
	"envoke/internal/testrig"
)

// TestHookSwap has new versions of a hook under load: none fails, and each is in force as soon
// as it is told.
func TestHookSwap(t *testing.T) {
	const versions, callers = 5, 4
	r := newHookRig(t)
	source := func(n int) string { return fmt.Sprintf(`return { headers: { set: { "x-version": "%d" } } }`, n) }
	r.register("guard", source(1))
	r.declare(map[string]routing.Hooks{"/shop": onRequest("nodejs-guard", routing.FailClosed)})
	loading, stop := context.WithCancel(t.Context())
	defer stop()
	var (
		load  errgroup.Group
		asked atomic.Int64
		since atomic.Int64 // the version that requests must have from now on
	)
	since.Store(1)
	for range callers {
		load.Go(func() error {
			for loading.Err() == nil {
				least := since.Load()
				reply, err := r.send(http.MethodGet, "/shop", "")
				if err != nil {
					return err
				}
				var version int64
				if _, err := fmt.Sscan(versionIn(string(reply.Body)), &version); reply.Status != 200 || err != nil || version < least {
					return fmt.Errorf("status %d, version %d after %d: %.300s", reply.Status, version, least, reply.Body)
				}
				asked.Add(1)
			}
			return nil
		})
	}
	for n := 2; n <= versions; n++ {
		before := asked.Load()
		testrig.Eventually(t, "some load", func() bool { return asked.Load() > before+50 || loading.Err() != nil })
		r.register("guard", source(n))
		since.Store(int64(n))
	}
	before := asked.Load()
	testrig.Eventually(t, "some more", func() bool { return asked.Load() > before+50 })
	stop()
	if err := load.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d requests, %d versions", asked.Load(), versions)
}

// versionIn is the header that the upstream says it has got.
func versionIn(body string) string {
	_, after, _ := strings.Cut(body, `"X-Version":["`)
	version, _, _ := strings.Cut(after, `"`)
	return version
}

// TestHookAlias splits a hook's requests by weights; the request's id picks, so a request and its
// response have the same version.
func TestHookAlias(t *testing.T) {
	r := newHookRig(t)
	source := func(n int) string {
		return fmt.Sprintf(`return { headers: { set: { ["x-" + event.params.phase]: "%d" } } }`, n)
	}
	name := r.register("guard", source(1), source(2))
	if _, err := r.store.PutAlias(t.Context(), faas.Actor{}, name, faas.Alias{Name: "canary", Version: 1, Weights: map[int]int{2: 50}}); err != nil {
		t.Fatal(err)
	}
	r.registry.FunctionChanged(t.Context(), name)
	both := onRequest("nodejs-guard:canary", routing.FailClosed)
	both.Response = onResponse("nodejs-guard:canary", routing.FailClosed).Response
	r.declare(map[string]routing.Hooks{"/split": both, "/first": onRequest("nodejs-guard@1", routing.FailClosed)})
	counts := map[string]int{}
	for n := range 60 {
		_, header, body := r.get("/split", "X-Request-ID", fmt.Sprint("split-", n))
		version := seenIn(t, body).Header.Get("X-Request")
		if counts[version]++; header.Get("X-Response") != version {
			t.Errorf("request %d had version %s, its response %s", n, version, header.Get("X-Response"))
		}
	}
	if counts["1"] < 10 || counts["2"] < 10 || counts["1"]+counts["2"] != 60 {
		t.Errorf("60 requests went to %v", counts)
	}
	if _, _, body := r.get("/first"); seenIn(t, body).Header.Get("X-Request") != "1" {
		t.Errorf("version 1 was asked for: %s", body)
	}
}

// TestHookMetrics counts what became of hooks.
func TestHookMetrics(t *testing.T) {
	r := newHookRig(t)
	r.register("guard", `
		switch (event.params.headers.want) {
		case "change": return { headers: { remove: ["x-a"] } };
		case "answer": return { statusCode: 204 };
		case "throw": throw new Error();
		}
	`)
	r.declare(map[string]routing.Hooks{
		"/closed": onRequest("nodejs-guard", routing.FailClosed), "/open": onRequest("nodejs-guard", routing.FailOpen),
	})
	for _, want := range []string{"pass", "change", "answer", "throw"} {
		r.get("/closed", "Want", want)
	}
	r.get("/open", "Want", "throw")
	want := []string{"answered 1", "changed 1", "opened 1", "passed 1", "refused 1"}
	if got := r.outcomes("request"); !slices.Equal(got, want) {
		t.Errorf("counted %v, not %v", got, want)
	}
}

// outcomes are the counts of a phase that are not 0.
func (r *hookRig) outcomes(phase string) (all []string) {
	r.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "envoke_hook_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["phase"] == phase && m.GetCounter().GetValue() > 0 {
				all = append(all, fmt.Sprint(labels["outcome"], " ", m.GetCounter().GetValue()))
			}
		}
	}
	slices.Sort(all)
	return all
}

// TestHookFaults names the route whose hook nobody could answer.
func TestHookFaults(t *testing.T) {
	good := routing.Hook{Function: "nodejs-guard", Deadline: routing.Duration(time.Second), FailureMode: routing.FailClosed}
	for _, tt := range []struct {
		name   string
		change func(*routing.Hook, *State)
		want   string
	}{
		{"all well", func(*routing.Hook, *State) {}, ""},
		{"no function", func(h *routing.Hook, _ *State) { h.Function = "" }, "route \"shop\": its request hook: "},
		{"no host", func(h *routing.Hook, _ *State) { h.Function = "python-guard" }, "no runtime host of python answers gRPC here"},
		{"no gRPC", func(_ *routing.Hook, s *State) { s.Runtimes[0].GRPC = nil }, "no runtime host of nodejs answers gRPC here"},
		{"a namespace that is none", func(h *routing.Hook, _ *State) { h.Namespace = "A b" }, "is no namespace"},
		{"no deadline", func(h *routing.Hook, _ *State) { h.Deadline = 0 }, "its deadline must be"},
		{"a long deadline", func(h *routing.Hook, _ *State) { h.Deadline = routing.Duration(time.Minute) }, "its deadline must be"},
		{"no failure mode", func(h *routing.Hook, _ *State) { h.FailureMode = "" }, "its failureMode must be Open or Closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, h := validState(), good
			s.Runtimes[0].GRPC = []Endpoint{{Path: "/run/grpc.sock"}}
			tt.change(&h, &s)
			s.Routing.Routes = []routing.Route{{Name: "shop", Rules: []routing.Rule{{Hooks: routing.Hooks{Request: &h}}}}}
			_, err := Build(s)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
		})
	}
}
