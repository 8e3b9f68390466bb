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

// A function is one, with whatever memory limits it is called.
func TestCallsThatWaitWithManyLimits(t *testing.T) {
	const functions = 4
	p := serve(t, Options{MaxWorkers: functions, Queue: 1, Concurrency: 1})
	inv, release := hold(t)
	defer release()
	var calls sync.WaitGroup
	var refused atomic.Int32
	call := func(name string, memoryMB int, inv Invocation) {
		calls.Go(func() {
			w := work(name)
			w.MemoryMB = memoryMB
			if _, err := p.Invoke(t.Context(), w, inv); err == nil {
				return
			} else if refused.Add(1); faas.AsError(err).Code != faas.RateLimited || name != "flood" {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for n := range functions {
		call(fmt.Sprint("held ", n), 0, inv)
	}
	awaitCalls(t, p, functions, 0)
	for range 2 {
		call("another", 0, do("echo"))
	}
	awaitCalls(t, p, functions, 2)
	for n := range 2*functions - 1 {
		call("flood", 512+n/2, do("echo")) // of each limit as many as of the other
	}
	awaitCalls(t, p, functions, 2*functions)
	testrig.Eventually(t, "a refusal", func() bool { return refused.Load() == 1 })
	release()
	calls.Wait()
}
