package host

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
	"envoke/runtimes/pool"
)

// TestRateOfAFunction: however a function is called, and by whomever, its calls are counted
// together, and one over the rate does not run.
func TestRateOfAFunction(t *testing.T) {
	r := newRig(t, pool.Options{})
	const perMinute = 6
	r.register(t, "rated", faas.Function{
		Script: javaScriptOf("globalThis.ran = (globalThis.ran ?? 0) + 1; return globalThis.ran"), Limits: faas.Limits{Rate: perMinute},
	})
	one, two := r.initializeBody(t, "nodejs-rated", `{}`), r.initializeBody(t, "nodejs-rated", `{"context":{"user_id":"bob"}}`)
	ways := map[string]func() reply{
		"a session":       func() reply { return r.execute(t, one, `{}`) },
		"another session": func() reply { return r.execute(t, two, `{}`) },
		"once": func() reply {
			return r.do(t, call{path: executePath, title: "nodejs-rated", id: key.NewID(faas.NodeJS, true), body: strings.NewReader(`{}`)})
		},
		"by its path":        func() reply { return r.post(t, "/runtime/nodejs/rated", `{}`) },
		"by HTTP":            func() reply { return r.do(t, call{method: http.MethodGet, path: "/function/nodejs-rated"}) },
		"the older protocol": func() reply { return r.post(t, protocolPath, `{"request_id":"`+string(one)+`"}`) },
	}
	for name, way := range ways {
		if got := way(); got.Status != http.StatusOK {
			t.Errorf("%s within the rate: %+v", name, got)
		}
	}
	for name, way := range ways {
		got := way()
		if got.Status != http.StatusTooManyRequests || got.RetryAfter != "10" || !strings.Contains(got.Body, `"code":"RATE_LIMITED"`) ||
			!strings.Contains(got.Body, `"component":"runtime"`) || !strings.Contains(got.Body, `"limit":"rate"`) {
			t.Errorf("%s over the rate: %+v", name, got)
		}
	}
	if _, err := r.Execute(t.Context(), Execution{Session: one}); faas.AsError(err).Code != faas.RateLimited {
		t.Errorf("by gRPC over the rate: %v", err)
	}
	if refused := testutil.ToFloat64(r.rates.refused); refused != float64(len(ways)+1) {
		t.Errorf("%v refusals were counted, want %d", refused, len(ways)+1)
	}
	if got := r.result(t, r.initialize(t, "return 1"), "null"); got != "1" {
		t.Errorf("what has no rate: %s", got)
	}
}

// What does not keep to the schema does not run, and does not count.
func TestRateCountsWhatRuns(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "strict", faas.Function{Script: javaScriptOf("return 1"), Schema: []byte(`{"type":"string"}`), Limits: faas.Limits{Rate: 1}})
	for range 3 {
		if got := r.post(t, "/runtime/nodejs/strict", `{"params":1}`); got.Status != http.StatusBadRequest {
			t.Fatalf("%+v", got)
		}
	}
	if got := r.post(t, "/runtime/nodejs/strict", `{"params":"a"}`); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
}

func rated(title string, perMinute int) *bundle.Session {
	return &bundle.Session{Session: faas.Session{
		Name: faas.Name{Language: faas.NodeJS, Title: title}, Owner: "function:ada", Limits: faas.Limits{Rate: perMinute},
	}}
}

func TestRates(t *testing.T) {
	r, now := newRates(prometheus.NewPedanticRegistry(), faas.NodeJS), time.Now()
	take := func(title string, perMinute int) int {
		err := r.take(rated(title, perMinute), now)
		if err == nil {
			return 0
		}
		return faas.AsError(err).Details["retry_after_seconds"].(int)
	}
	for _, tt := range []struct {
		after     time.Duration
		title     string
		perMinute int
		calls     int
		wait      int // of the call after those
	}{
		{0, "a", 3, 3, 20},
		{0, "b", 3, 3, 20},                       // another's
		{0, "a", 60, 60, 1},                      // a version of another rate
		{5200 * time.Millisecond, "a", 3, 0, 15}, // rounded up
		{13800 * time.Millisecond, "a", 3, 0, 1}, // not yet, and asking puts nothing off
		{time.Second, "a", 3, 1, 20},             // when it was said
		{40 * time.Second, "a", 3, 2, 20},        // evenly
		{10 * time.Minute, "a", 3, 3, 20},        // no more than a minute's at one moment
		{0, "none", 0, 10_000, 0},                // no rate
		{0, "often", 1 << 30, 1000, 0},           // as good as none
	} {
		now = now.Add(tt.after)
		for n := range tt.calls {
			if wait := take(tt.title, tt.perMinute); wait != 0 {
				t.Fatalf("%+v: call %d is to wait for %d s", tt, n+1, wait)
			}
		}
		if wait := take(tt.title, tt.perMinute); wait != tt.wait {
			t.Errorf("%+v: the next is to wait for %d s", tt, wait)
		}
	}
}

// Many at one moment take no more than there is, and refusals take nothing from those to come.
func TestRatesAtOneMoment(t *testing.T) {
	r, now := newRates(prometheus.NewPedanticRegistry(), faas.NodeJS), time.Now()
	flood := func(at time.Time) int {
		var passed atomic.Int64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for range 500 {
					if r.take(rated("a", 60), at) == nil {
						passed.Add(1)
					}
				}
			})
		}
		callers.Wait()
		return int(passed.Load())
	}
	for step, want := range []int{60, 10, 10} {
		if got := flood(now.Add(time.Duration(step) * 10 * time.Second)); got != want {
			t.Errorf("step %d: %d passed, want %d", step, got, want)
		}
	}
}

func TestRatesAreBounded(t *testing.T) {
	r := newRates(prometheus.NewPedanticRegistry(), faas.NodeJS)
	for n := range maxRated + 100 {
		_ = r.take(rated(fmt.Sprint("f", n), 1), time.Now())
	}
	if n := r.buckets.Len(); n != maxRated {
		t.Errorf("%d functions have a count, want %d", n, maxRated)
	}
}
