package pool

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"envoke/internal/testrig"
)

// timed invokes and checks that the call's parts are no more than the whole.
func timed(t *testing.T, p *Pool, w Work, inv Invocation) (Result, error) {
	t.Helper()
	start := time.Now()
	result, err := p.Invoke(t.Context(), w, inv)
	if took := time.Since(start); result.Queue < 0 || result.Duration < 0 || result.Queue+result.Duration > took {
		t.Errorf("%v in the queue and %v in the function of a call of %v", result.Queue, result.Duration, took)
	}
	return result, err
}

// A call's timeout begins before it is handed to the pool, which on a busy
// machine may be late to see it: half of it must be found.
func TestTimes(t *testing.T) {
	const timeout = 100 * time.Millisecond
	p := serve(t, Options{Idle: 1, Concurrency: 1})
	if got, err := timed(t, p, work("times"), do("echo")); err != nil || got.Queue == 0 || got.Duration == 0 {
		t.Errorf("the first call: %+v, %v; want the time of its load in the queue, and its own", got, err)
	}
	if got, err := timed(t, p, work("times"), do("throw")); err == nil || got.Queue != 0 || got.Duration == 0 {
		t.Errorf("a call in a free worker: %+v, %v; want its time, and none in the queue", got, err)
	}
	held, release := hold(t)
	var holding sync.WaitGroup
	holding.Go(func() { _, _ = p.Invoke(t.Context(), work("times"), held) })
	awaitCalls(t, p, 1, 0)
	if got, err := timed(t, p, work("times"), within(timeout, do("echo"))); err == nil || got.Queue < timeout/2 || got.Duration != 0 {
		t.Errorf("a call that waited until its deadline: %+v, %v; want all in the queue", got, err)
	}
	release()
	holding.Wait()
	if got, err := timed(t, p, work("times"), within(timeout, do("hang"))); err == nil || got.Queue != 0 || got.Duration < timeout/2 {
		t.Errorf("a call that was killed at its deadline: %+v, %v; want all in the function", got, err)
	}
}

// The wait of a call that was sent ahead is not the function's.
func TestTimesOfCallsSentAhead(t *testing.T) {
	w, _ := journaled("times")
	p := serialPool(t, Options{SerialWorkers: 1}, w)
	file := filepath.Join(t.TempDir(), "release")
	var calls sync.WaitGroup
	calls.Go(func() { _, _ = timed(t, p, w, named("head", fmt.Sprintf(`,"until":%q`, file))) })
	awaitCalls(t, p, 1, 0)
	var next Result
	calls.Go(func() { next, _ = timed(t, p, w, named("next", "")) })
	testrig.Eventually(t, "the worker is sent a call ahead", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		only := p.slots[p.key(w)].workers[0]
		only.mu.Lock()
		defer only.mu.Unlock()
		return len(only.calls) == 2
	})
	since := time.Now()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	held := time.Since(since)
	calls.Wait()
	if next.Queue < held || next.Duration == 0 {
		t.Errorf("%+v, want %v or more in the queue, and its own time", next, held)
	}
}
