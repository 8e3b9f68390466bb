package pool

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"envoke/internal/testrig"
)

// A worker that is worn is replaced, and no call of its is lost.
func TestWornWorkersAreReplaced(t *testing.T) {
	for _, tt := range []struct {
		name string
		opt  Options
	}{
		{"calls", Options{MaxCalls: 20}},
		{"age", Options{MaxAge: time.Millisecond}},
		{"memory", Options{MemoryMark: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.opt.Idle = 1
			p := serve(t, tt.opt)
			held, release := hold(t)
			first := pid(t, p, work("worn"))
			ended := make(chan error, 1)
			go func() {
				_, err := p.Invoke(t.Context(), work("worn"), held)
				ended <- err
			}()
			testrig.Succeeds(t, func() error {
				if now := pid(t, p, work("worn")); now == first {
					return fmt.Errorf("worker %d serves on", now)
				}
				return nil
			})
			if err := gone(first); err == nil {
				t.Error("the worker was ended with a call under way")
			}
			release()
			if err := <-ended; err != nil {
				t.Errorf("the call under way: %v", err)
			}
			testrig.Succeeds(t, func() error { return gone(first) })
		})
	}
}

func TestWorkersServeOn(t *testing.T) {
	p := serve(t, Options{Idle: 1, MaxCalls: 1000, MaxAge: time.Hour, MemoryMark: 1 << 40})
	first := pid(t, p, work("fresh"))
	for range 3 {
		p.upkeep(time.Now())
		if now := pid(t, p, work("fresh")); now != first {
			t.Fatalf("worker %d was replaced by %d", first, now)
		}
	}
}

// Where memory is short, those used longest ago make room, one at a time, and none that
// has a call.
func TestShortMemoryEvicts(t *testing.T) {
	var short atomic.Bool
	p := serve(t, Options{Idle: 0, MemoryShort: short.Load})
	var workers []int
	for i := range 3 {
		workers = append(workers, pid(t, p, work(fmt.Sprint(i))))
	}
	held, release := hold(t)
	ended := make(chan error, 1)
	go func() {
		_, err := p.Invoke(t.Context(), work("0"), held)
		ended <- err
	}()
	awaitCalls(t, p, 1, 0)
	short.Store(true)
	testrig.Succeeds(t, func() error { return gone(workers[1]) })
	testrig.Succeeds(t, func() error { return gone(workers[2]) })
	p.upkeep(time.Now())
	short.Store(false)
	release()
	if err := <-ended; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if now := pid(t, p, work("0")); now != workers[0] {
		t.Error("a worker with a call was ended")
	}
}

func TestReadyWorkersFollowDemand(t *testing.T) {
	p := serve(t, Options{Idle: 1, MaxWorkers: 12, MemoryShort: func() bool { return false }})
	for i := range 8 {
		pid(t, p, work(fmt.Sprint(i)))
	}
	ready := func(want int) {
		t.Helper()
		testrig.Succeeds(t, func() error {
			if got := p.Stats().Ready; got != want {
				return fmt.Errorf("%d are ready, want %d", got, want)
			}
			return nil
		})
	}
	p.mu.Lock()
	p.demand.rate = 100 // as a burst leaves it
	p.mu.Unlock()
	ready(3) // a quarter of all
	p.mu.Lock()
	p.demand.rate = 0
	p.mu.Unlock()
	ready(1)
}

func TestDemand(t *testing.T) {
	d := demand{claims: 20}
	var got []int
	for range 4 {
		d.tick()
		got = append(got, d.ready())
	}
	if want := fmt.Sprint([]int{20, 18, 17, 15}); fmt.Sprint(got) != want {
		t.Errorf("ready %v, want %v", got, want)
	}
	for range 40 {
		d.tick()
	}
	if d.ready() != 0 {
		t.Errorf("%d are ready long after", d.ready())
	}
}
