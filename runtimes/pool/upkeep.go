package pool

import (
	"time"

	"envoke/runtimes/sandbox"
)

// upkeep does what must be done now and then: it ends workers that nobody has used for
// long, that have served long enough, or for whose memory there is a better use, and
// keeps as many generic ones ready as are wanted.
func (p *Pool) upkeep(now time.Time) {
	short := p.opt.MemoryShort()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.demand.tick()
	for w := range p.workers {
		switch {
		case w.evictable() && now.Sub(w.lastUsed) > p.opt.IdleTimeout:
			p.remove(w)
			w.kill(killIdle)
		case w.loaded && p.isWorn(w, now):
			p.recycle(w)
		}
	}
	if short && p.evict() {
		p.metrics.pressure.Inc()
	}
	p.trimReady()
	p.balance()
	p.trimKinds()
}

// isWorn tells whether a worker is to make room for a fresh one: after so many calls, after
// so long, or when it holds most of the memory that it may have, which is then more likely
// to be lost than in use.
func (p *Pool) isWorn(w *worker, now time.Time) bool {
	o := &p.opt
	return o.MaxCalls > 0 && w.uses >= o.MaxCalls ||
		o.MaxAge > 0 && now.Sub(w.since) >= o.MaxAge ||
		o.MemoryMark > 0 && w.memory.Load() >= o.MemoryMark
}

// recycle gives a worker no more calls: it ends with its last one. With the lock held.
func (p *Pool) recycle(w *worker) {
	p.remove(w)
	if w.active == 0 {
		w.kill(killRecycled)
	}
}

// leastMemory is the share of the machine's memory that is kept available.
const leastMemory = 0.05

// memoryShort tells whether little of the machine's memory is available.
func memoryShort() bool {
	share, ok := sandbox.MemoryAvailable()
	return ok && share < leastMemory
}
