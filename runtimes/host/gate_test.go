package host

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// Five times as many calls as a gate lets in: those that are let in have hardly waited, the
// others are told, and when it is over the gate is forgotten.
func TestGateInFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const took, length = 5 * time.Millisecond, 4 * time.Second
		counted := 0
		g := gates{patience: 100 * time.Millisecond, refused: func() { counted++ }}
		var (
			mu      sync.Mutex
			waits   []time.Duration // in the second half, but for its end
			refused int
			calls   sync.WaitGroup
		)
		began := time.Now()
		call := func() {
			came := time.Now()
			leave, err := g.enter(t.Context(), gateKey{owner: "o"}, 1, pool.Invocation{Deadline: came.Add(time.Minute), Timeout: time.Minute})
			mu.Lock()
			switch e := faas.AsError(err); {
			case err == nil && came.Sub(began) > length/2 && came.Sub(began) < length-200*time.Millisecond:
				waits = append(waits, time.Since(came))
			case err != nil:
				refused++
				if e.Code != faas.RateLimited || e.Details["limit"] != "concurrency" {
					t.Errorf("a call is answered %v", err)
				}
			}
			mu.Unlock()
			if err == nil {
				<-time.After(took)
				leave()
			}
		}
		for time.Since(began) < length {
			calls.Go(call)
			<-time.After(time.Millisecond)
		}
		calls.Wait()
		slices.Sort(waits)
		if n := len(waits); n < 350 || waits[n*99/100] > 2*took {
			t.Errorf("%d calls were let in in 1.8 seconds, and one in a hundred waited %s", n, waits[n*99/100])
		}
		if refused == 0 || refused != counted {
			t.Errorf("%d calls were refused, %d counted", refused, counted)
		}
		<-time.After(time.Second)
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.open) != 0 {
			t.Errorf("%d gates are left open", len(g.open))
		}
	})
}
