package pool

import (
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
)

// refuseEach answers calls that have waited in vain, or that found no place to wait. With
// the lock held.
func (p *Pool) refuseEach(turns []*waiter) {
	for _, turn := range turns {
		p.waiting--
		p.metrics.refused.overload.Inc()
		turn.granted <- grant{err: fault.Overloaded}
	}
}

// refuseAll answers all who wait at a slot.
func (p *Pool) refuseAll(s *slot, err error) {
	for _, turn := range s.queue.Drain() {
		p.waiting--
		turn.granted <- grant{err: err}
	}
}

// queues is how many times as many calls wait for all functions of a host as for one.
const queues = 4

// asked is a function as makeRoom counts: with whatever limits and environment it is called.
type asked struct {
	digest faas.Digest
	owner  string
}

// makeRoom refuses the call that has waited for longest for the function for which most
// wait, where too many wait for all together: so a flood of one function costs no other its
// place.
func (p *Pool) makeRoom(now time.Time) {
	if p.waiting <= queues*(p.opt.Queue+p.opt.Concurrency) {
		return
	}
	clear(p.asked)
	for _, s := range p.slots {
		p.asked[asked{s.key.digest, s.key.owner}] += s.queue.Len()
	}
	var most *slot
	for _, s := range p.slots {
		if s.queue.Len() > 0 && (most == nil || p.askedMore(s, most)) {
			most = s
		}
	}
	if most == nil {
		return
	}
	if turn, ok := most.queue.Oldest(now); ok {
		p.refuseEach([]*waiter{turn})
		p.settle(most)
	}
}

// askedMore tells whether more calls wait for the function of a slot than for that of another;
// of slots of one function, or of two for which as many wait, whether more wait at it.
func (p *Pool) askedMore(s, than *slot) bool {
	n, other := p.asked[asked{s.key.digest, s.key.owner}], p.asked[asked{than.key.digest, than.key.owner}]
	return n > other || n == other && s.queue.Len() > than.queue.Len()
}
