package pool

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// All functions of a host have a bound of calls that wait, and the one for which most wait
// pays for it.
func TestCallsThatWaitForAllFunctions(t *testing.T) {
	const functions = 4
	p := serve(t, Options{MaxWorkers: functions, Queue: 1, Concurrency: 1})
	inv, release := hold(t)
	var calls sync.WaitGroup
	var refused atomic.Int32
	call := func(name string, inv Invocation) {
		calls.Go(func() {
			_, err := p.Invoke(t.Context(), work(name), inv)
			if err == nil {
				return
			}
			if refused.Add(1); faas.AsError(err).Code != faas.RateLimited || name == "another" {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for n := range functions {
		call(fmt.Sprint("held ", n), inv)
	}
	awaitCalls(t, p, functions, 0)
	// Two calls of each wait where there is no worker.
	for n := range functions {
		call(fmt.Sprint("waits ", n), do("echo"))
		call(fmt.Sprint("waits ", n), do("echo"))
	}
	awaitCalls(t, p, functions, 2*functions)
	call("another", do("echo"))
	testrig.Eventually(t, "a refusal", func() bool { return refused.Load() == 1 })
	awaitCalls(t, p, functions, 2*functions)
	release()
	calls.Wait()
}
