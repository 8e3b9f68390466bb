package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/fault"
)

func exited(how string) wantError {
	return wantError{faas.RuntimeError, "the function's worker ended: " + how, map[string]any{
		"component": faas.InFunction, "type": "WorkerExited",
	}}
}

// What each interpreter says when it has no memory left.
func TestLastWords(t *testing.T) {
	for words, want := range map[string]bool{
		"FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n----- Native stack trace": true,
		"#\n# Fatal process out of memory: Failed to reserve virtual memory for CodeRange\n#":                         true,
		"FATAL ERROR: Zone Allocation failed - process out of memory\n----- Native stack trace":                       true,
		"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n":                true,
		"[FATAL] failed to allocate memory": true,
		"Error: no memory of it":            false,
		"":                                  false,
	} {
		if got := ranOutOfMemory([]byte(words)); got != want {
			t.Errorf("%q: %v", words, got)
		}
	}
}

// Each of these ends the worker; the next call works, in another one.
func TestWorkersThatEnd(t *testing.T) {
	const protocol = "it broke the worker protocol: "
	p := serve(t, Options{Idle: 2, MaxResult: 2 << 20})
	tests := []struct {
		inv  Invocation
		want wantError
	}{
		{do("exit"), exited("exit code 3")},
		{do("abort"), exited("signal SIGABRT")},
		{do("crash"), exited("exit code 1")},
		{do("close"), exited("it closed its frame descriptor")},
		{do("heap"), wantError{faas.ResourceExhausted, "the function ran out of memory", map[string]any{
			"component": faas.InFunction, "limit": "memory",
		}}},
		{do("junk"), exited(protocol + "frame is larger than allowed: 4294967290 bytes, limit 2097152")},
		{do("short"), exited(protocol + "frame of length 0 has no header")},
		{do("unknown"), exited(protocol + "a frame of type 18 that answers no question")},
		{do("oddtype"), exited(protocol + "a frame of type 99 that answers no question")},
		{do("loaded"), exited(protocol + "a frame of type 17 that answers no question")},
		{do("large", "bytes", 3<<20), exited(protocol + "frame is larger than allowed: 3145728 bytes, limit 2097152")},
		{do("oddlog"), exited(protocol + "a log frame without a level")},
		{do("oddkind"), exited("it broke the worker protocol")},
		{do("oddfailure"), exited("it broke the worker protocol")},
	}
	for _, test := range tests {
		t.Run(test.want.Message, func(t *testing.T) {
			before := pid(t, p, work("ends"))
			_, err := p.Invoke(t.Context(), work("ends"), test.inv)
			checkError(t, err, test.want)
			if after := pid(t, p, work("ends")); after == before {
				t.Error("the worker lives on")
			}
			testrig.Succeeds(t, func() error { return gone(before) })
		})
	}
}

// gone tells whether no process has the number, not even a zombie.
func gone(pid int) error {
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d is still there", pid)
	}
	return nil
}

func TestDeadlineKillsAndNobodyElseNotices(t *testing.T) {
	p := serve(t, Options{Idle: 2})
	other, before := pid(t, p, work("other")), pid(t, p, work("loop"))
	shared := make(chan error, 1)
	go func() {
		_, err := p.Invoke(t.Context(), work("loop"), do("never"))
		shared <- err
	}()
	testrig.Succeeds(t, func() error {
		if p.Stats().Calls != 1 {
			return errors.New("the call has not begun")
		}
		return nil
	})
	const timeout = 200 * time.Millisecond
	began := time.Now()
	_, err := p.Invoke(t.Context(), work("loop"), within(timeout, do("hang")))
	if late := time.Since(began) - timeout; late < 0 || late > 5*time.Second {
		t.Errorf("the answer came %v after the deadline", late)
	}
	checkError(t, err, wantError{faas.Timeout, "the function did not answer within 200 ms", map[string]any{
		"component": faas.InFunction, "timeout_ms": int64(200),
	}})
	checkError(t, <-shared, wantError{faas.Unavailable, errShared.Message, map[string]any{"component": faas.InRuntime}})
	if after := pid(t, p, work("loop")); after == before {
		t.Error("the worker that hangs was kept")
	}
	if after := pid(t, p, work("other")); after != other {
		t.Error("another function's worker was replaced")
	}
}

// A question larger than the socket's buffer, to a worker that reads nothing.
func TestDeadlineEndsAWriteThatBlocks(t *testing.T) {
	p := serve(t, Options{Idle: 1})
	go p.Invoke(t.Context(), work("loop"), do("hang")) //nolint:errcheck // it only has to hang
	testrig.Succeeds(t, func() error {
		if p.Stats().Calls != 1 {
			return errors.New("the call has not begun")
		}
		return nil
	})
	inv := within(300*time.Millisecond, do("echo", "large", strings.Repeat("x", 5<<20)))
	if _, err := p.Invoke(t.Context(), work("loop"), inv); faas.AsError(err).Code != faas.Timeout {
		t.Errorf("got %v, want TIMEOUT", err)
	}
}

func TestAThousandCallsAtOnce(t *testing.T) {
	p := serve(t, Options{Idle: 1, Queue: 1000})
	var group sync.WaitGroup
	for i := range 1000 {
		group.Go(func() {
			params := fmt.Sprint(i)
			result, err := p.Invoke(t.Context(), work("many"), Invocation{Deadline: time.Now().Add(10 * time.Second), Params: []byte(params)})
			if want := `{"params":` + params + `,"context":{}}`; err != nil || string(result.JSON) != want {
				t.Errorf("call %d: %s, %v", i, result.JSON, err)
			}
		})
	}
	group.Wait()
	if got := p.Stats(); got.Calls != 0 || got.Waiting != 0 {
		t.Errorf("afterwards: %+v", got)
	}
}

func TestQueueOverflow(t *testing.T) {
	p := serve(t, Options{Idle: 1, Concurrency: 2, Queue: 3})
	pid(t, p, work("full"))
	held, release := hold(t)
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			if _, err := p.Invoke(t.Context(), work("full"), held); err != nil {
				t.Error(err)
			}
		})
	}
	awaitCalls(t, p, 2, 3)
	_, err := p.Invoke(t.Context(), work("full"), do("echo"))
	checkError(t, err, wantError{faas.RateLimited, "too many calls of this function are waiting", map[string]any{
		"component": faas.InRuntime, "retry_after_seconds": 1,
	}})
	release()
	group.Wait()
}

func TestTheWaitForATurnCounts(t *testing.T) {
	p := serve(t, Options{Idle: 1, Concurrency: 1})
	held, release := hold(t)
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := p.Invoke(t.Context(), work("full"), held); err != nil {
			t.Error(err)
		}
	})
	awaitCalls(t, p, 1, 0)
	_, err := p.Invoke(t.Context(), work("full"), within(100*time.Millisecond, do("echo")))
	if faas.AsError(err).Code != faas.Timeout {
		t.Errorf("got %v, want TIMEOUT", err)
	}
	release()
	group.Wait()
}

func TestMaxWorkers(t *testing.T) {
	p := serve(t, Options{Idle: 1, MaxWorkers: 2})
	first, second := pid(t, p, work("first")), pid(t, p, work("second"))
	if again := pid(t, p, work("first")); again != first {
		t.Fatal("there is room for two")
	}
	pid(t, p, work("third")) // evicts second, used longest ago
	testrig.Succeeds(t, func() error { return gone(second) })
	if again := pid(t, p, work("first")); again != first {
		t.Error("the wrong worker was evicted")
	}
	t.Run("all busy", func(t *testing.T) {
		held, release := hold(t)
		var group sync.WaitGroup
		call := func(source string, inv Invocation) {
			if _, err := p.Invoke(t.Context(), work(source), inv); err != nil {
				t.Error(err)
			}
		}
		group.Go(func() { call("first", held) })
		group.Go(func() { call("third", held) })
		testrig.Succeeds(t, func() error {
			if p.Stats().Calls != 2 {
				return errors.New("the calls have not begun")
			}
			return nil
		})
		_, err := p.Invoke(t.Context(), work("fourth"), within(100*time.Millisecond, do("echo")))
		checkError(t, err, wantError{faas.RateLimited, "no worker came free before the deadline", map[string]any{
			"component": faas.InRuntime, "retry_after_seconds": 1,
		}})
		group.Go(func() { call("fourth", do("echo")) })
		awaitCalls(t, p, 2, 1)
		release() // one comes free
		group.Wait()
	})
	if got := p.Stats(); got.Ready+got.Loaded+got.Starting > 2 {
		t.Errorf("more than two workers: %+v", got)
	}
}

func TestIdleWorkersAreReaped(t *testing.T) {
	p := serve(t, Options{Idle: 1, IdleTimeout: 100 * time.Millisecond})
	first := pid(t, p, work("idle"))
	testrig.Succeeds(t, func() error {
		if got := p.Stats(); got.Loaded != 0 || got.Ready != 1 {
			return fmt.Errorf("%+v", got)
		}
		return gone(first)
	})
	if second := pid(t, p, work("idle")); second == first {
		t.Error("the worker came back")
	}
}

func TestFloodOfOutput(t *testing.T) {
	var bytes atomic.Int64
	p := serve(t, Options{Idle: 1, Log: func(l LogLine) { bytes.Add(int64(len(l.Text))) }})
	began := time.Now()
	if _, err := p.Invoke(t.Context(), work("flood"), do("stderr", "lines", 5000, "width", 2000)); err != nil {
		t.Fatal(err)
	}
	most := MaxLogged * int64(3+time.Since(began)/time.Second) // of 10 MB, mostly within a second
	if got := bytes.Load(); got > most {
		t.Errorf("%d bytes came through, want %d at most", got, most)
	}
}

// Every call is answered, with a result or as one of a worker that was killed.
func TestKilledUnderLoad(t *testing.T) {
	p := serve(t, Options{Idle: 2})
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	var served, failed atomic.Int32
	for range 16 {
		group.Go(func() {
			for ctx.Err() == nil {
				_, err := p.Invoke(t.Context(), work("load"), do("echo"))
				switch e := faas.AsError(err); {
				case err == nil:
					served.Add(1)
				case e.Code == faas.RuntimeError && e.Message == "the function's worker ended: signal SIGKILL":
					failed.Add(1)
				default:
					t.Errorf("got %v", err)
				}
			}
		})
	}
	for range 5 {
		victim := pid(t, p, work("load"))
		if err := unix.Kill(victim, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		testrig.Succeeds(t, func() error { return gone(victim) })
	}
	cancel()
	group.Wait()
	if served.Load() == 0 || failed.Load() == 0 || failed.Load() > 5*17 {
		t.Errorf("%d served, %d failed", served.Load(), failed.Load())
	}
}

func TestGenerationsLeaveNothing(t *testing.T) {
	p := serve(t, Options{Idle: 2})
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	settled := func() error {
		if got := p.Stats(); got.Ready != 2 || got.Loaded != 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	}
	testrig.Succeeds(t, settled)
	before := descriptors()
	const generations = 20
	for range generations {
		if _, err := p.Invoke(t.Context(), work("again"), do("exit")); err == nil {
			t.Fatal("want an error")
		}
	}
	testrig.Succeeds(t, settled)
	testrig.Succeeds(t, func() error {
		if after := descriptors(); after > before {
			return fmt.Errorf("%d descriptors after %d workers, %d before", after, generations, before)
		}
		return nil
	})
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err == nil && len(strings.Fields(string(children))) > 2 {
		t.Errorf("children left: %s", children)
	}
}

func TestNoInterpreter(t *testing.T) {
	unavailable := wantError{faas.Unavailable, "no worker could be started; the log of the runtime host has the reason", map[string]any{
		"component": faas.InRuntime,
	}}
	t.Run("missing", func(t *testing.T) {
		p := serve(t, Options{Idle: 1, Runtime: Runtime{Language: faas.NodeJS, Argv: []string{"/no/such/node"}}})
		_, err := p.Invoke(t.Context(), work("x"), do("echo"))
		checkError(t, err, unavailable)
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the log gets %v, want the reason", err)
		}
	})
	t.Run("not a worker", func(t *testing.T) {
		p := serve(t, Options{Runtime: Runtime{Language: faas.NodeJS, Argv: []string{"/bin/sh", "-c", "echo a clue >&2; exit 5"}}})
		_, err := p.Invoke(t.Context(), work("x"), do("echo"))
		checkError(t, err, unavailable)
		if !strings.Contains(err.Error(), "exit code 5") || !strings.Contains(err.Error(), "a clue") {
			t.Errorf("the log gets %v, want the reason", err)
		}
	})
}

func TestStopping(t *testing.T) {
	p := New(Options{Runtime: testRuntime(t), Idle: 1, Concurrency: 1})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx) }()
	pid(t, p, work("stop"))
	stopping := wantError{faas.Unavailable, fault.Stopping.Message, map[string]any{"component": faas.InRuntime}}
	var group sync.WaitGroup
	for range 3 { // one under way, two in the queue
		group.Go(func() {
			_, err := p.Invoke(t.Context(), work("stop"), do("never"))
			checkError(t, err, stopping)
		})
	}
	awaitCalls(t, p, 1, 2)
	cancel()
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	group.Wait()
	_, err := p.Invoke(t.Context(), work("stop"), do("echo"))
	checkError(t, err, stopping)
	if diff := cmp.Diff(Stats{Version: p.Stats().Version}, p.Stats()); diff != "" {
		t.Error(diff)
	}
}
