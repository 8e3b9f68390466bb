package pool

import (
	"context"
	"errors"
	"slices"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
	"envoke/runtimes/queue"
)

// key names a slot. The zero key is the checker's.
type key struct {
	digest   faas.Digest
	owner    string
	memoryMB int // limit; 0: none
	network  faas.Network
	// environment is the id of the work's; empty: none.
	environment string
}

// coming is how far a slot is with its next worker.
type coming int

const (
	nothing  coming = iota
	claiming        // in the queue for a worker
	loading         // a worker is loading the code
)

// slot is the place of one (digest, owner), guarded by the pool's mutex. It exists as
// long as it has a worker, or calls that wait for one.
type slot struct {
	key     key
	script  faas.Script
	values  *faas.Resolved // of its workers' environment
	workers []*worker      // that have the code
	coming  coming
	cpu     time.Duration // that one call may take, as the last one said; 0: no limit
	serial  bool          // its workers take one call at a time, so that it may have several
	full    bool          // it gets no more workers beside those it has: one could not be had
	queue   queue.Queue[*waiter]
}

// free is the worker with a turn to give that has the fewest calls. Of equals it is the
// first, so that those behind it fall idle where fewer would do.
func (s *slot) free() *worker {
	var free *worker
	for _, w := range s.workers {
		if w.active < int(w.turns.Load()) && (free == nil || w.active < free.active) {
			free = w
		}
	}
	return free
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
// waits for a turn, and for the code to be loaded, until the deadline, and tells how long
// it did.
func (p *Pool) acquire(ctx context.Context, work Work, deadline time.Time) (*worker, time.Duration, error) {
	k := p.key(work)
	if k.network == faas.Egress && p.opt.Egress == nil {
		return nil, 0, fault.Unavailable("this runtime host has no way out to the network for functions")
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, 0, fault.Stopping
	}
	s := p.slots[k]
	if s == nil {
		s = &slot{key: k, script: work.Script, values: work.Environment}
		s.queue.Patience = p.opt.Patience
		p.slots[k] = s
	}
	s.cpu = work.CPU
	if s.queue.Len() == 0 {
		if w := s.free(); w != nil {
			p.take(w)
			p.mu.Unlock()
			return w, 0, nil
		}
	}
	since := time.Now()
	turn, err := p.enqueue(s, since)
	p.mu.Unlock()
	if err != nil {
		return nil, 0, err
	}
	w, err := p.await(ctx, s, turn, deadline)
	waited := time.Since(since)
	p.metrics.queueWait.Observe(waited.Seconds())
	return w, waited, err
}

// enqueue adds a waiter to a slot, or refuses where too many wait.
func (p *Pool) enqueue(s *slot, now time.Time) (*waiter, error) {
	limit := p.opt.Queue
	if len(s.workers) == 0 {
		limit += p.opt.Concurrency // that many start at once when the code is loaded
	}
	if len(s.workers) == 0 && s.coming == nothing && len(p.kindOf(s).claims) >= p.opt.MaxWorkers+p.opt.Queue {
		delete(p.slots, s.key)
		p.metrics.refused.noWorker.Inc()
		return nil, fault.Busy("too many functions are waiting for a worker")
	}
	turn := &waiter{granted: make(chan grant, 1)}
	p.waiting++
	p.refuseEach(s.queue.Push(turn, now, limit))
	p.makeRoom(now)
	p.settle(s)
	p.balance()
	return turn, nil
}

func (p *Pool) await(ctx context.Context, s *slot, turn *waiter, deadline time.Time) (*worker, error) {
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
	if !s.queue.Remove(turn, time.Now()) {
		g := <-turn.granted
		return g.worker, g.err
	}
	p.waiting--
	switch late := errors.Is(err, errLate); {
	case late && len(s.workers) == 0 && s.coming == claiming:
		p.metrics.refused.noWorker.Inc()
		err = fault.Busy("no worker came free before the deadline")
	case late && s.queue.Overloaded():
		p.metrics.refused.overload.Inc()
		err = fault.Overloaded
	}
	p.settle(s)
	return nil, err
}

// settle brings a slot in line with who waits there: it queues for a worker if one is
// wanted, leaves the queue if nobody waits for the first one, and stops existing if it
// has no worker and nobody waits.
func (p *Pool) settle(s *slot) {
	switch {
	case s.coming == nothing && p.wants(s):
		s.coming = claiming
		k := p.kindOf(s)
		k.claims = append(k.claims, s)
	case s.coming == claiming && len(s.workers) == 0 && s.queue.Len() == 0:
		p.unclaim(s)
	}
	if s.coming == nothing && len(s.workers) == 0 {
		delete(p.slots, s.key)
	}
}

// wants tells whether a slot should get a worker: its first one, or one beside those
// that are busy. That is not worth another function's worker.
func (p *Pool) wants(s *slot) bool {
	switch {
	case s.queue.Len() == 0:
		return false
	case len(s.workers) == 0:
		return true
	}
	k := p.kindOf(s)
	return s.serial && !s.full && len(s.workers) < p.opt.SerialWorkers &&
		(p.size < p.opt.MaxWorkers || len(k.ready) > len(k.claims))
}

// giveUp ends a slot's claim for a worker that cannot be had. If it has others, those
// who wait go on to wait for them.
func (p *Pool) giveUp(s *slot, err error) {
	if s.coming == claiming {
		p.unclaim(s)
	}
	s.coming = nothing
	if len(s.workers) > 0 {
		s.full = true
	} else {
		p.refuseAll(s, err)
	}
	p.settle(s)
}

func (p *Pool) unclaim(s *slot) {
	s.coming = nothing
	k := p.kindOf(s)
	k.claims = slices.DeleteFunc(k.claims, func(other *slot) bool { return other == s })
}

// take counts a call that is about to begin.
func (p *Pool) take(w *worker) {
	w.active++
	w.uses++
	if w.home.key == (key{}) && w.uses >= recycleChecker {
		p.recycle(w)
		p.balance()
	}
}

// release gives back a turn that acquire took, whose call ended just now and took so long.
func (p *Pool) release(w *worker, now time.Time, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.active--
	w.lastUsed = now
	if w.loaded {
		if s := w.home; s.queue.Len() > 0 {
			s.queue.Took(took)
			p.serveWaiters(s, now)
		}
		if w.active == 0 && p.claimed() {
			p.balance() // it may be evicted now
		}
	} else if w.active == 0 {
		w.kill(killRecycled) // no effect on one that was killed before
	}
}

// serveWaiters gives turns to those who wait.
func (p *Pool) serveWaiters(s *slot, now time.Time) {
	for s.queue.Len() > 0 {
		w := s.free()
		if w == nil {
			return
		}
		p.refuseEach(s.queue.Late(now))
		turn, ok := s.queue.Pop(now)
		if !ok {
			return
		}
		p.waiting--
		p.take(w)
		turn.granted <- grant{worker: w}
	}
}
