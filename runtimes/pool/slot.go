package pool

import (
	"context"
	"errors"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
)

// key names a slot. The zero key is the checker's.
type key struct {
	digest faas.Digest
	owner  string
}

type slotState int

const (
	slotEmpty    slotState = iota // nobody has asked for a worker
	slotClaiming                  // in the queue for a worker
	slotLoading                   // a worker is loading the code
	slotLoaded                    // there is a worker
)

// slot is the place of one (digest, owner), guarded by the pool's mutex. It exists as
// long as it has a worker, or calls that wait for one.
type slot struct {
	key     key
	script  faas.Script
	state   slotState
	worker  *worker // while loaded
	waiters []*waiter
}

// waiter is a call that waits for a worker's turn. It gets exactly one grant, unless
// it leaves before.
type waiter struct{ granted chan grant }

type grant struct {
	worker *worker
	err    error
}

// errLate is the end of a wait at the call's deadline, with its turn not come.
var errLate = errors.New("the deadline passed in the queue")

// acquire takes a turn in the worker that has the code, for release to give back. It
// waits for a turn, and for the code to be loaded, until the deadline.
func (p *Pool) acquire(ctx context.Context, work Work, deadline time.Time) (*worker, error) {
	k := key{work.Script.Digest, work.Owner}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, fault.Stopping
	}
	s := p.slots[k]
	if s != nil && s.state == slotLoaded && len(s.waiters) == 0 && s.worker.active < p.opt.Concurrency {
		w := s.worker
		p.take(w)
		p.mu.Unlock()
		return w, nil
	}
	if s == nil {
		s = &slot{key: k, script: work.Script}
		p.slots[k] = s
	}
	turn, err := p.enqueue(s)
	p.mu.Unlock()
	if err != nil {
		p.metrics.refused.Inc()
		return nil, err
	}
	return p.await(ctx, s, turn, deadline)
}

// enqueue adds a waiter to a slot, or refuses where too many wait.
func (p *Pool) enqueue(s *slot) (*waiter, error) {
	limit := p.opt.Queue
	if s.worker == nil {
		limit += p.opt.Concurrency // that many start at once when the code is loaded
	}
	if len(s.waiters) >= limit {
		return nil, fault.Busy("too many calls of this function are waiting")
	}
	if s.state == slotEmpty && len(p.claims) >= p.opt.MaxWorkers+p.opt.Queue {
		delete(p.slots, s.key)
		return nil, fault.Busy("too many functions are waiting for a worker")
	}
	turn := &waiter{granted: make(chan grant, 1)}
	s.waiters = append(s.waiters, turn)
	p.settle(s)
	p.balance()
	return turn, nil
}

func (p *Pool) await(ctx context.Context, s *slot, turn *waiter, deadline time.Time) (*worker, error) {
	since := time.Now()
	defer func() { p.metrics.queueWait.Observe(time.Since(since).Seconds()) }()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case g := <-turn.granted:
		return g.worker, g.err
	case <-timer.C:
		return p.leave(s, turn, errLate)
	case <-ctx.Done():
		return p.leave(s, turn, fault.GoneAway(ctx))
	}
}

// leave ends a wait with the given error, unless the turn came at the last moment.
func (p *Pool) leave(s *slot, turn *waiter, err error) (*worker, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range s.waiters {
		if other != turn {
			continue
		}
		s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
		if s.state == slotClaiming && errors.Is(err, errLate) {
			p.metrics.refused.Inc()
			err = fault.Busy("no worker came free before the deadline")
		}
		p.settle(s)
		return nil, err
	}
	g := <-turn.granted
	return g.worker, g.err
}

// settle brings a slot without a worker in line with who waits there: it queues for a
// worker if calls wait, and stops existing if none do.
func (p *Pool) settle(s *slot) {
	switch {
	case s.state == slotEmpty && len(s.waiters) > 0:
		s.state = slotClaiming
		p.claims = append(p.claims, s)
	case s.state == slotClaiming && len(s.waiters) == 0:
		p.unclaim(s)
		delete(p.slots, s.key)
	case s.state == slotEmpty:
		delete(p.slots, s.key)
	}
}

func (p *Pool) unclaim(s *slot) {
	for i, other := range p.claims {
		if other == s {
			p.claims = append(p.claims[:i], p.claims[i+1:]...)
			return
		}
	}
}

// take counts a call that is about to begin.
func (p *Pool) take(w *worker) {
	w.active++
	w.uses++
	if w.home.key == (key{}) && w.uses >= recycleChecker {
		p.remove(w) // it ends with its last call
		p.balance()
	}
}

// release gives back a turn that acquire took.
func (p *Pool) release(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.active--
	if w.active == 0 {
		w.lastUsed = time.Now()
	}
	if s := w.home; s.worker == w {
		p.serveWaiters(s)
		if w.active == 0 && len(p.claims) > 0 {
			p.balance() // it may be evicted now
		}
	} else if w.active == 0 {
		w.kill(killRecycled) // no effect on one that was killed before
	}
}

// serveWaiters gives turns to those who wait, oldest first.
func (p *Pool) serveWaiters(s *slot) {
	for s.worker != nil && len(s.waiters) > 0 && s.worker.active < p.opt.Concurrency {
		w := s.worker
		turn := s.waiters[0]
		s.waiters = s.waiters[1:]
		p.take(w)
		turn.granted <- grant{worker: w}
	}
}

// refuse answers all who wait.
func (s *slot) refuse(err error) {
	for _, turn := range s.waiters {
		turn.granted <- grant{err: err}
	}
	s.waiters = nil
}
