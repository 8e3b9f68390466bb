package pool

import (
	"time"

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

// makeRoom refuses the call that has waited for longest for the function for which most
// wait, where too many wait for all together: so a flood of one function costs no other its
// place.
func (p *Pool) makeRoom(now time.Time) {
	if p.waiting <= queues*(p.opt.Queue+p.opt.Concurrency) {
		return
	}
	var most *slot
	for _, s := range p.slots {
		if most == nil || s.queue.Len() > most.queue.Len() {
			most = s
		}
	}
	if turn, ok := most.queue.Oldest(now); ok {
		p.refuseEach([]*waiter{turn})
		p.settle(most)
	}
}
