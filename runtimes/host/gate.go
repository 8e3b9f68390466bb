package host

import (
	"context"
	"slices"
	"sync"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
	"envoke/runtimes/pool"
)

// maxWaiting is how many calls wait for a turn of one function that has a limit of calls
// at once.
const maxWaiting = 512

// gates hold back calls of those functions that may have only so many under way.
type gates struct {
	mu   sync.Mutex
	open map[gateKey]*gate // those with calls
}

// gateKey names what shares a limit: what shares workers, or the calls of one session.
type gateKey struct {
	digest  faas.Digest
	owner   string
	session faas.SessionID
}

type gate struct {
	inside  int
	waiting []chan struct{} // oldest first; each gets one token, unless it leaves before
}

// enter waits for a turn until the deadline. The error is RATE_LIMITED where too many wait
// already, TIMEOUT, or that the caller has gone.
func (g *gates) enter(ctx context.Context, key gateKey, limit int, inv pool.Invocation) (leave func(), err error) {
	leave = sync.OnceFunc(func() { g.leave(key) })
	g.mu.Lock()
	one := g.open[key]
	if one == nil {
		one = &gate{}
		if g.open == nil {
			g.open = make(map[gateKey]*gate)
		}
		g.open[key] = one
	}
	if one.inside < limit {
		one.inside++
		g.mu.Unlock()
		return leave, nil
	}
	if len(one.waiting) >= maxWaiting {
		g.mu.Unlock()
		return nil, fault.Concurrency(limit)
	}
	turn := make(chan struct{}, 1)
	one.waiting = append(one.waiting, turn)
	g.mu.Unlock()
	if err := await(ctx, turn, inv); err != nil && g.forget(one, turn) {
		return nil, err
	}
	return leave, nil
}

func await(ctx context.Context, turn <-chan struct{}, inv pool.Invocation) error {
	timer := time.NewTimer(time.Until(inv.Deadline))
	defer timer.Stop()
	select {
	case <-turn:
		return nil
	case <-timer.C:
		return fault.Timeout(inv.Timeout)
	case <-ctx.Done():
		return fault.GoneAway(ctx)
	}
}

// forget ends a wait. It is false if the turn came at the last moment.
func (g *gates) forget(one *gate, turn chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.Index(one.waiting, turn)
	if at < 0 {
		return false
	}
	one.waiting = slices.Delete(one.waiting, at, at+1)
	return true
}

// leave gives a turn to who has waited longest.
func (g *gates) leave(key gateKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.open[key]
	if len(one.waiting) > 0 {
		one.waiting[0] <- struct{}{}
		one.waiting = one.waiting[1:]
		return
	}
	if one.inside--; one.inside == 0 {
		delete(g.open, key)
	}
}
