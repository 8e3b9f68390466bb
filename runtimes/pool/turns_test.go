package pool

import (
	"fmt"
	"sync"
	"testing"

	"envoke/internal/testrig"
)

func TestNextTurns(t *testing.T) {
	for _, tt := range []struct {
		turns, most int32
		load        pastLoad
		want        int32
	}{
		{64, 64, pastLoad{0.1, 200}, 64},
		{64, 64, pastLoad{0.85, 200}, 64},
		{64, 64, pastLoad{1, 200}, 32},
		{16, 64, pastLoad{1, 200}, 12},
		{5, 64, pastLoad{1, 200}, 4},
		{4, 64, pastLoad{1, 200}, 4},
		{64, 64, pastLoad{1, 20_000}, 64}, // short calls
		{64, 64, pastLoad{1, 2000}, 40},
		{20, 64, pastLoad{1, 2000}, 20},
		{4, 64, pastLoad{0.1, 200}, 8},
		{4, 64, pastLoad{0.7, 200}, 5},
		{40, 64, pastLoad{0.1, 200}, 64},
		{1, 2, pastLoad{1, 200}, 2},
	} {
		if got := nextTurns(tt.turns, tt.most, tt.load); got != tt.want {
			t.Errorf("nextTurns(%d, %d, %v) = %d, want %d", tt.turns, tt.most, tt.load, got, tt.want)
		}
	}
}

// A worker whose calls compute gets few at once: the others wait where they can be refused.
// One whose calls wait has as many as it may, again too.
func TestTurnsOfABusyWorker(t *testing.T) {
	p := serve(t, Options{Runtime: JavaScript(t), Idle: 1, Queue: 100})
	w := Work{Script: script(`const until = Date.now() + params.busy; while (Date.now() < until); await new Promise(done => setTimeout(done, params.idle))`), Owner: "owner"}
	many := func(params string, turns func(int32) bool) {
		t.Helper()
		var callers sync.WaitGroup
		defer callers.Wait()
		for range 100 {
			callers.Go(func() {
				inv := do("")
				inv.Params = []byte(params)
				if _, err := p.Invoke(t.Context(), w, inv); err != nil {
					t.Error(err)
				}
			})
		}
		testrig.Succeeds(t, func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			s := p.slots[p.key(w)]
			if s == nil || len(s.workers) == 0 {
				return fmt.Errorf("no worker")
			}
			if got := s.workers[0].turns.Load(); !turns(got) {
				return fmt.Errorf("it takes %d calls at once", got)
			}
			return nil
		})
	}
	many(`{"busy":15,"idle":0}`, func(n int32) bool { return n <= 8 })
	many(`{"busy":0,"idle":100}`, func(n int32) bool { return n == 64 })
}
