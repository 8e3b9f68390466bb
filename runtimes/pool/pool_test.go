package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/frame"
)

func TestInvokePassesTheEvent(t *testing.T) {
	p := serve(t, Options{Idle: 1})
	tests := []struct{ name, params, context, want string }{
		{"both", `{"a":1}`, `{"user_id":"u"}`, `{"params":{"a":1},"context":{"user_id":"u"}}`},
		{"neither", ``, ``, `{"params":null,"context":{}}`},
		{"not an object", `[1,"é"]`, `{}`, `{"params":[1,"é"],"context":{}}`},
		{"as large as allowed", `"` + strings.Repeat("x", 5<<20) + `"`, `{}`, `{"params":"` + strings.Repeat("x", 5<<20) + `","context":{}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inv := Invocation{Deadline: time.Now().Add(5 * time.Second), Params: []byte(test.params), Context: []byte(test.context)}
			result, err := p.Invoke(t.Context(), work("echo"), inv)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(result.JSON)); diff != "" {
				t.Error(diff)
			}
			if result.Duration <= 0 || result.Duration > 5*time.Second || result.MemoryBytes < 10<<20 {
				t.Errorf("duration %v, memory %d", result.Duration, result.MemoryBytes)
			}
		})
	}
}

func TestAWorkerBelongsToOneDigestAndOwner(t *testing.T) {
	p := serve(t, Options{Idle: 2})
	pids := make(map[int]string)
	for _, w := range []Work{
		{Script: script("a"), Owner: "one"}, {Script: script("a"), Owner: "two"}, {Script: script("b"), Owner: "one"},
	} {
		first := pid(t, p, w)
		if other, ok := pids[first]; ok {
			t.Errorf("%s/%s has the worker of %s", w.Script.Source, w.Owner, other)
		}
		pids[first] = w.Script.Source + "/" + w.Owner
		if second := pid(t, p, w); second != first {
			t.Errorf("the second call ran in worker %d, the first in %d", second, first)
		}
	}
}

func TestConcurrentFirstCallsLoadOnce(t *testing.T) {
	p := serve(t, Options{Idle: 3})
	var group sync.WaitGroup
	pids := make([]int, 40)
	for i := range pids {
		group.Go(func() { pids[i] = pid(t, p, work("same")) })
	}
	group.Wait()
	for _, got := range pids {
		if got != pids[0] {
			t.Fatalf("the calls ran in several workers: %v", pids)
		}
	}
	if got := p.Stats().Loaded; got != 1 {
		t.Errorf("%d workers are loaded, want 1", got)
	}
}

func TestLoad(t *testing.T) {
	p := serve(t, Options{Idle: 1})
	function := map[string]any{"component": faas.InFunction}
	with := func(more map[string]any) map[string]any {
		maps.Copy(more, function)
		return more
	}
	tests := []struct {
		source string
		want   wantError
	}{
		{"bad", wantError{faas.InitializationError, "load message", with(map[string]any{"type": "Error", "line": 2, "column": 3, "stack_trace": "at function.js:2:3"})}},
		{"exit", wantError{faas.InitializationError, "the function's worker ended: exit code 4", with(map[string]any{"type": "WorkerExited"})}},
	}
	for _, test := range tests {
		t.Run(test.source, func(t *testing.T) {
			checkError(t, p.Load(t.Context(), work(test.source)), test.want)
			_, err := p.Invoke(t.Context(), work(test.source), do("echo"))
			checkError(t, err, test.want)
			if test.source != "bad" {
				_, err = p.Check(t.Context(), script(test.source))
				checkError(t, err, test.want)
			}
		})
	}
	t.Run("good", func(t *testing.T) {
		if err := p.Load(t.Context(), work("good")); err != nil {
			t.Fatal(err)
		}
		if got := p.Stats(); got.Loaded < 1 || got.Calls != 0 || got.Version == "" {
			t.Errorf("after a load: %+v", got)
		}
	})
	t.Run("junk", func(t *testing.T) {
		err := p.Load(t.Context(), work("junk"))
		if e := faas.AsError(err); e.Code != faas.InitializationError || !strings.Contains(e.Message, "broke the worker protocol") {
			t.Errorf("got %v", err)
		}
	})
}

func TestCodeThatLoadsForEver(t *testing.T) {
	p := serve(t, Options{Idle: 3, LoadTimeout: time.Second})
	testrig.Eventually(t, "ready workers", func() bool { return p.Stats().Ready == 3 })
	var group sync.WaitGroup
	for _, try := range []func(source string) error{
		func(source string) error { return p.Load(t.Context(), Work{Script: script(source), Owner: "one"}) },
		func(source string) error { _, err := p.Invoke(t.Context(), work(source), do("echo")); return err },
		func(source string) error { _, err := p.Check(t.Context(), script(source)); return err },
	} {
		group.Go(func() {
			checkError(t, try("hang"), wantError{
				faas.InitializationError, "the code did not load within 1000 ms: it loops or waits at its top level, or the machine is too busy",
				map[string]any{"component": faas.InFunction, "timeout_ms": int64(1000)},
			})
		})
	}
	group.Wait()
}

func TestChecksShareAWorkerThatIsRecycled(t *testing.T) {
	const checks = 2*recycleChecker + 10
	registry := prometheus.NewRegistry()
	p := serve(t, Options{Idle: 1, Queue: checks, Registerer: registry, MemoryMB: 1024})
	var group sync.WaitGroup
	for i := range checks {
		group.Go(func() {
			form, err := p.Check(t.Context(), script(fmt.Sprint("code ", i)))
			if want := (frame.Form{Form: "fragment"}); err != nil || form != want {
				t.Errorf("check: %+v, %v", form, err)
			}
		})
	}
	group.Wait()
	if got := metric(t, registry, "envoke_pool_claims_total"); got != 3 {
		t.Errorf("%d checks took %v workers, want 3", checks, got)
	}
	if _, err := p.Check(t.Context(), script("bad")); faas.AsError(err).Code != faas.InitializationError {
		t.Errorf("bad code: %v", err)
	}
}

// Only a success is remembered: the checker of code that fails may have been ended by
// somebody else's.
func TestCodeThatParsesIsCheckedOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	p := serve(t, Options{Idle: 1, Registerer: registry})
	check := func(source string, fails bool) {
		t.Helper()
		for range recycleChecker + 1 {
			if _, err := p.Check(t.Context(), script(source)); (err != nil) != fails {
				t.Fatalf("check %s: %v", source, err)
			}
		}
	}
	check("good", false)
	if got := metric(t, registry, "envoke_pool_claims_total"); got != 1 {
		t.Errorf("checks of the same code took %v workers, want 1", got)
	}
	check("bad", true)
	if got := metric(t, registry, "envoke_pool_claims_total"); got != 2 {
		t.Errorf("checks of bad code went up to %v workers, want 2", got)
	}
}

// metric is the sum of a counter over its labels.
func metric(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestErrorsOfFunctions(t *testing.T) {
	p := serve(t, Options{Idle: 1, MaxResult: 1000})
	tests := []struct {
		act  string
		want wantError
	}{
		{"throw", wantError{faas.RuntimeError, "thrown message", map[string]any{
			"component": faas.InFunction, "type": "TypeError", "line": 1, "column": 7, "stack_trace": "at function.js:1:7",
		}}},
		{"output", wantError{faas.ResourceExhausted, "the result is larger than 1000 bytes of JSON", map[string]any{
			"component": faas.InFunction, "limit": "output", "limit_bytes": 1000,
		}}},
		{"badparams", wantError{faas.InvalidParams, "params message", nil}},
	}
	before := pid(t, p, work("errors"))
	for _, test := range tests {
		t.Run(test.act, func(t *testing.T) {
			_, err := p.Invoke(t.Context(), work("errors"), do(test.act))
			checkError(t, err, test.want)
		})
	}
	if after := pid(t, p, work("errors")); after != before {
		t.Error("a function that throws lost its worker")
	}
}

func TestCallersThatGoAway(t *testing.T) {
	p := serve(t, Options{Idle: 1, Concurrency: 1})
	before := pid(t, p, work("away"))
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	held, release := hold(t)
	go func() {
		_, err := p.Invoke(ctx, work("away"), held)
		gone <- err
	}()
	awaitCalls(t, p, 1, 0)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that went away got %v", err)
	}
	if got := p.Stats().Calls; got != 1 {
		t.Errorf("%d calls under way, want 1: the abandoned one keeps its turn", got)
	}
	release()
	result, err := p.Invoke(t.Context(), work("away"), do("echo"))
	if err != nil || !strings.Contains(string(result.JSON), `"echo"`) {
		t.Errorf("the next call got %s, %v", result.JSON, err)
	}
	if after := pid(t, p, work("away")); after != before {
		t.Error("the worker was replaced")
	}
	t.Run("the deadline stays", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := p.Invoke(ctx, work("away"), within(time.Second, do("hang"))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if after := pid(t, p, work("away")); after == before {
			t.Error("the worker that hangs was kept")
		}
	})
}

func TestLogs(t *testing.T) {
	lines := make(chan LogLine, 10000)
	p := serve(t, Options{Idle: 1, Registerer: prometheus.NewRegistry(), Log: func(l LogLine) { lines <- l }})
	w := work("logs")
	for _, silent := range []Invocation{do("print", "text", ""), do("print", "text", " \t\n"), do("stderr", "lines", 3, "width", 0)} {
		if _, err := p.Invoke(t.Context(), w, silent); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Invoke(t.Context(), w, do("log", "lines", 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Invoke(t.Context(), w, do("stderr", "lines", 1, "width", 9000)); err != nil {
		t.Fatal(err)
	}
	want := []LogLine{
		{RequestID: "r-log", Level: 4, Text: "line 0"},
		{RequestID: "r-log", Level: 4, Text: "line 1"},
		{Level: 4, Text: strings.Repeat("e", MaxLine)},
	}
	for _, want := range want {
		want.Digest, want.Owner = w.Script.Digest, w.Owner
		if diff := cmp.Diff(want, <-lines); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := p.Invoke(t.Context(), w, do("log", "lines", 300, "pad", 8000)); err != nil {
		t.Fatal(err)
	}
	if got := len(lines); got != MaxLogged/8008 {
		t.Errorf("%d lines of 8 KB came through, want 1 MiB's worth", got)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	p := serve(t, Options{Idle: 1, Registerer: registry})
	if err := p.Load(t.Context(), work("m")); err != nil { // the deadline is the call's, not the worker's start
		t.Fatal(err)
	}
	if _, err := p.Invoke(t.Context(), work("m"), within(500*time.Millisecond, do("hang"))); err == nil {
		t.Fatal("want an error")
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, family := range families {
		got = append(got, family.GetName())
	}
	want := []string{
		"envoke_pool_claims_total", "envoke_pool_cold_starts_total", "envoke_pool_evictions_total", "envoke_pool_kills_total",
		"envoke_pool_log_dropped_bytes_total", "envoke_pool_pressure_evictions_total",
		"envoke_pool_queue_wait_seconds", "envoke_pool_refused_total",
		"envoke_pool_streams_cancelled_total", "envoke_pool_streams_total", "envoke_pool_workers",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := metric(t, registry, "envoke_pool_kills_total"); got != 1 {
		t.Errorf("%v workers were killed, want 1", got)
	}
}
