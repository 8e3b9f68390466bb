package host

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
)

func TestLimitsOfASession(t *testing.T) {
	r := newRig(t, pool.Options{})
	spin := `const end = Date.now() + event.params; while (Date.now() < end); return 'x'.repeat(20)`
	withLimits := func(limits string) faas.SessionID {
		return r.initializeBody(t, "nodejs-test", `{"script_content":"`+spin+`","context":{`+limits+`}}`)
	}
	for _, tt := range []struct {
		limits, params string
		status         int
		want           string
	}{
		{`"cpu_limit_ms":300`, "5000", http.StatusInsufficientStorage, `"limit":"cpu"`},
		{`"cpu_limit_ms":5000`, "300", http.StatusOK, `"result":"x`},
		{`"output_limit_bytes":10`, "0", http.StatusInsufficientStorage, `"taken_bytes":22`},
		{`"output_limit_bytes":22`, "0", http.StatusOK, `"result":"x`},
	} {
		got := r.execute(t, withLimits(tt.limits), `{"params":`+tt.params+`}`)
		if got.Status != tt.status || !strings.Contains(got.Body, tt.want) {
			t.Errorf("%s: %+v", tt.limits, got)
		}
	}
	for _, bad := range []string{`"cpu_limit_ms":0`, `"output_limit_bytes":"1"`, `"max_concurrency":1.5`, `"max_concurrency":3000000000`} {
		_, got := r.tryInitialize(t, "nodejs-test", `{"script_content":"return 1","context":{`+bad+`}}`)
		if got.Status != http.StatusBadRequest || !strings.Contains(got.Body, "must be a whole number") {
			t.Errorf("%s: %+v", bad, got)
		}
	}
}

// The operator's limit is above a function's.
func TestOperatorsLimitOfCPU(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.MaxCPU = 300 * time.Millisecond
	got := r.execute(t, r.initializeBody(t, "nodejs-test", `{"script_content":"for (;;);","context":{"cpu_limit_ms":8000}}`), "{}")
	if got.Status != http.StatusInsufficientStorage || !strings.Contains(got.Body, `"allowed_ms":300`) {
		t.Errorf("%+v", got)
	}
}

// Calls over the limit wait for those before, whether it is the function's or the host's for
// each of them.
func TestConcurrencyOfAFunction(t *testing.T) {
	t.Run("its own", func(t *testing.T) { testConcurrency(t, newRig(t, pool.Options{}), `{"max_concurrency":2}`) })
	t.Run("the host's", func(t *testing.T) {
		r := newRig(t, pool.Options{})
		r.Concurrency = 2
		testConcurrency(t, r, "{}")
	})
	t.Run("the host's, which no caller lifts", func(t *testing.T) {
		r := newRig(t, pool.Options{})
		r.Concurrency = 2
		testConcurrency(t, r, `{"max_concurrency":1000}`)
	})
}

func testConcurrency(t *testing.T, r *rig, limits string) {
	t.Helper()
	id := r.initializeBody(t, "nodejs-test", `{"context":`+limits+`,"script_content":"`+
		`globalThis.now = (globalThis.now ?? 0) + 1; globalThis.most = Math.max(globalThis.most ?? 0, globalThis.now);`+
		`await new Promise(done => setTimeout(done, 20)); globalThis.now--; return globalThis.most"}`)
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() { r.execute(t, id, "{}") })
	}
	calls.Wait()
	if most := r.result(t, id, "null"); most != "2" {
		t.Errorf("%s calls were under way at once, want 2", most)
	}
	if len(r.gates.open) != 0 {
		t.Errorf("%d gates are left open", len(r.gates.open))
	}
}

// A stream has its turn until it ends.
func TestConcurrencyOfStreams(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "one", faas.Function{
		Script: javaScriptOf("return (async function* () { for (;;) { yield 'x'; await new Promise(done => setTimeout(done, 10)) } })()"),
		Limits: faas.Limits{Concurrency: 1},
	})
	open := func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://host/function/nodejs-one", http.NoBody)
		if err != nil {
			return err
		}
		response, err := r.client.Do(request)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = response.Body.Close() })
		}
		return err
	}
	first, leave := context.WithCancel(t.Context())
	defer leave()
	if err := open(first); err != nil {
		t.Fatal(err)
	}
	second, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	opened := make(chan error, 1)
	go func() { opened <- open(second) }()
	testrig.Eventually(t, "the second to wait", func() bool {
		r.gates.mu.Lock()
		defer r.gates.mu.Unlock()
		for _, g := range r.gates.open {
			return g.queue.Len() == 1
		}
		return false
	})
	leave()
	if err := <-opened; err != nil {
		t.Error(err)
	}
	giveUp()
	testrig.Eventually(t, "no gate", func() bool {
		r.gates.mu.Lock()
		defer r.gates.mu.Unlock()
		return len(r.gates.open) == 0
	})
}

func TestGate(t *testing.T) {
	g := gates{refused: func() {}}
	key := gateKey{owner: "o"}
	enter := func(ctx context.Context, timeout time.Duration) (func(), error) {
		return g.enter(ctx, key, 1, pool.Invocation{Deadline: time.Now().Add(timeout), Timeout: timeout})
	}
	leave, err := enter(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enter(t.Context(), time.Millisecond); faas.AsError(err).Code != faas.Timeout {
		t.Errorf("at its deadline: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := enter(gone, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("gone: %v", err)
	}
	var waiting sync.WaitGroup
	for range maxWaiting {
		waiting.Go(func() {
			leave, err := enter(t.Context(), time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			leave()
		})
	}
	testrig.Eventually(t, "a full queue", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.open[key].queue.Len() == maxWaiting
	})
	_, err = enter(t.Context(), time.Minute)
	if e := faas.AsError(err); e.Code != faas.RateLimited || e.Details["limit"] != "concurrency" || e.Details["allowed"] != 1 {
		t.Errorf("over the queue: %v %v", err, e.Details)
	}
	leave()
	leave() // has no effect
	waiting.Wait()
	if len(g.open) != 0 {
		t.Errorf("%d gates are left open", len(g.open))
	}
}
