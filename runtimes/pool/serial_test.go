package pool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// journal hears of each call of its code as it begins, so that a call that is run twice
// shows.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) log(line LogLine) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line.Text)
}

// begun are the names of the calls, sorted.
func (j *journal) begun() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(slices.Values(j.lines))
}

// journaled is code of that name that runs one call at a time. Each says so at once,
// whatever ends it, but for those that only make the worker warm.
func journaled(name string) (Work, *journal) {
	return work(fmt.Sprintf(`# %s
import os, time
def handle(params):
    if params['name'] != 'warm': os.write(2, (params['name'] + '\n').encode())
    time.sleep(params.get('sleep', 0))
    while 'until' in params and not os.path.exists(params['until']): time.sleep(0.005)
    if params.get('exit'): os._exit(3)
    return params['name']`, name)), &journal{}
}

// serialPool has one worker, warm enough to be sent calls ahead.
func serialPool(t *testing.T, opt Options, w Work) *Pool {
	t.Helper()
	opt.Runtime, opt.Idle = Python(t), 1
	p := serve(t, opt)
	testrig.Succeeds(t, func() error {
		if _, err := p.Invoke(t.Context(), w, named("warm", "")); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if turns := p.slots[p.key(w)].workers[0].turns.Load(); turns < 8 {
			return fmt.Errorf("it takes %d calls at once", turns)
		}
		return nil
	})
	return p
}

func named(name, more string) Invocation {
	return Invocation{
		RequestID: name, Deadline: time.Now().Add(20 * time.Second),
		Params: fmt.Appendf(nil, `{"name":%q%s}`, name, more),
	}
}

// Calls that were sent ahead go to another worker when theirs ends before they have
// begun, whatever ended it, and none is run twice.
func TestCallsSentAheadOutliveTheirWorker(t *testing.T) {
	tests := []struct {
		name string
		head Invocation
		want faas.Code
	}{
		{"exit", named("head", `,"sleep":0.2,"exit":true`), faas.RuntimeError},
		{"deadline", within(300*time.Millisecond, named("head", `,"sleep":30`)), faas.Timeout},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, journal := journaled("head")
			p := serialPool(t, Options{SerialWorkers: 1, Log: journal.log}, w)
			var tasks sync.WaitGroup
			test.head.Deadline = time.Now().Add(max(test.head.Timeout, time.Second))
			tasks.Go(func() {
				if _, err := p.Invoke(t.Context(), w, test.head); faas.AsError(err).Code != test.want {
					t.Errorf("the head: %v, want %s", err, test.want)
				}
			})
			testrig.Succeeds(t, func() error {
				if !slices.Contains(journal.begun(), "head") {
					return errors.New("the head has not begun")
				}
				return nil
			})
			want := []string{"head"}
			for i := range 7 {
				name := fmt.Sprint("next-", i)
				want = append(want, name)
				tasks.Go(func() {
					if result, err := p.Invoke(t.Context(), w, named(name, "")); err != nil || string(result.JSON) != `"`+name+`"` {
						t.Errorf("%s: %s, %v", name, result.JSON, err)
					}
				})
			}
			tasks.Wait()
			testrig.Succeeds(t, func() error {
				got := journal.begun()
				if diff := cmp.Diff(want, got); diff != "" {
					return fmt.Errorf("calls that were begun (-want +got):\n%s", diff)
				}
				return nil
			})
		})
	}
}

// Where calls take long, each has a worker of its own, up to the most; then they wait,
// and then they are refused.
func TestSerialWorkersGrowAndAreReaped(t *testing.T) {
	w, journal := journaled("grows")
	p := serve(t, Options{
		Runtime: Python(t), Idle: 1, SerialWorkers: 3, Queue: 2, IdleTimeout: time.Second, Log: journal.log,
	})
	if err := p.Load(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	release := filepath.Join(t.TempDir(), "release")
	done := make(chan error, 5)
	call := func(name string) {
		_, err := p.Invoke(t.Context(), w, named(name, fmt.Sprintf(`,"until":%q`, release)))
		done <- err
	}
	for i := range 3 {
		go call(fmt.Sprint("call-", i))
		testrig.Succeeds(t, func() error {
			if stats := p.Stats(); stats.Loaded != i+1 || stats.Calls != i+1 {
				return fmt.Errorf("%+v, want %d workers with a call each", stats, i+1)
			}
			return nil
		})
	}
	for i := range 2 {
		go call(fmt.Sprint("waiting-", i))
		awaitCalls(t, p, 3, i+1)
	}
	_, err := p.Invoke(t.Context(), w, named("refused", ""))
	if faas.AsError(err).Code != faas.RateLimited {
		t.Errorf("the sixth call: %v, want RATE_LIMITED", err)
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	testrig.Succeeds(t, func() error {
		if got := journal.begun(); len(got) != 5 {
			return fmt.Errorf("begun: %v", got)
		}
		return nil
	})
	testrig.Succeeds(t, func() error {
		if stats := p.Stats(); stats.Loaded != 0 {
			return fmt.Errorf("%+v, want no worker with code", stats)
		}
		return nil
	})
}

// A function of several workers takes no place that another function has.
func TestSerialWorkersEvictNobody(t *testing.T) {
	p := serve(t, Options{Runtime: Python(t), MaxWorkers: 3, SerialWorkers: 3})
	other, _ := journaled("other")
	busy, _ := journaled("busy")
	if err := p.Load(t.Context(), other); err != nil { // it has a worker, without a call
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	for i := range 4 {
		tasks.Go(func() {
			if _, err := p.Invoke(t.Context(), busy, named(fmt.Sprint(i), `,"sleep":0.3`)); err != nil {
				t.Error(err)
			}
		})
	}
	tasks.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.slots[p.key(other)]; s == nil || len(s.workers) != 1 {
		t.Error("the worker without calls was taken from its function")
	}
}
