package host

import (
	"context"
	"errors"
	"sync"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
	"envoke/runtimes/pool"
	"envoke/runtimes/queue"
)

// maxWaiting is how many calls wait for a turn of one function that has a limit of calls
// at once.
const maxWaiting = 512

// gates hold back calls of those functions that may have only so many under way.
type gates struct {
	patience time.Duration // of their queues
	refused  func()        // hears of each call that was refused

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
	inside int
	limit  int                     // of calls inside, as the last one said
	queue  queue.Queue[chan error] // each gets one nil for its turn or one error, unless it leaves before
}

// enter waits for a turn until the deadline. The error is RATE_LIMITED where too many wait
// already or more come than have turns, TIMEOUT, or that the caller has gone.
func (g *gates) enter(ctx context.Context, key gateKey, limit int, inv pool.Invocation) (leave func(), err error) {
	now := time.Now()
	g.mu.Lock()
	one := g.open[key]
	if one == nil {
		one = &gate{}
		one.queue.Patience = g.patience
		if g.open == nil {
			g.open = make(map[gateKey]*gate)
		}
		g.open[key] = one
	}
	if one.limit = limit; one.inside < limit {
		one.inside++
		g.mu.Unlock()
		return g.leaver(key), nil
	}
	turn := make(chan error, 1)
	g.refuse(one.queue.Push(turn, now, maxWaiting), limit)
	g.mu.Unlock()
	if err := g.await(ctx, one, turn, inv); err != nil {
		return nil, err
	}
	return g.leaver(key), nil
}

// refuse answers those that wait in vain.
func (g *gates) refuse(turns []chan error, limit int) {
	for _, turn := range turns {
		turn <- fault.Concurrency(limit)
		g.refused()
	}
}

// errLate is the end of a wait at the call's deadline, with its turn not come.
var errLate = errors.New("the deadline passed at the gate")

func (g *gates) await(ctx context.Context, one *gate, turn chan error, inv pool.Invocation) error {
	timer := time.NewTimer(time.Until(inv.Deadline))
	defer timer.Stop()
	select {
	case err := <-turn:
		return err
	case <-timer.C:
		if err := g.forget(one, turn, errLate); !errors.Is(err, errLate) {
			return err
		}
		return fault.Timeout(inv.Timeout)
	case <-ctx.Done():
		return g.forget(one, turn, fault.GoneAway(ctx))
	}
}

// forget ends a wait with the given error, unless the turn came at the last moment.
func (g *gates) forget(one *gate, turn chan error, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !one.queue.Remove(turn, time.Now()):
		return <-turn
	case one.queue.Overloaded() && errors.Is(err, errLate):
		g.refused()
		return fault.Concurrency(one.limit)
	}
	return err
}

// leaver gives back a turn that has just begun, once.
func (g *gates) leaver(key gateKey) func() {
	began := time.Now()
	return sync.OnceFunc(func() { g.leave(key, began) })
}

// leave gives a turn to who has waited longest, or in an overload least.
func (g *gates) leave(key gateKey, began time.Time) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.open[key]
	one.queue.Took(now.Sub(began))
	g.refuse(one.queue.Late(now), one.limit)
	if turn, ok := one.queue.Pop(now); ok {
		turn <- nil
		return
	}
	if one.inside--; one.inside > 0 {
		return
	}
	if !one.queue.Overloaded() {
		delete(g.open, key)
		return
	}
	// The flood may only have paused.
	time.AfterFunc(queue.Interval, func() { g.close(key, one) })
}

// close ends a gate that nobody is in.
func (g *gates) close(key gateKey, one *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one.inside == 0 && g.open[key] == one {
		delete(g.open, key)
	}
}
