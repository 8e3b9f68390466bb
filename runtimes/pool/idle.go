package pool

import (
	"math"
	"time"
)

// Idle is how many generic workers are kept ready at least.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opt.Idle
}

// SetIdle changes how many generic workers are kept ready at least, 0 or more: those that
// are missing are started, and those too many ended.
func (p *Pool) SetIdle(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opt.Idle = n
	p.trimReady()
	p.balance()
}

// trimReady ends the generic workers that are more than wanted, with the lock held.
func (p *Pool) trimReady() {
	for _, k := range p.kinds {
		for len(k.ready) > p.wantedReady(k) && len(k.claims) == 0 {
			w := k.ready[0] // whose memory is the coldest
			p.remove(w)
			w.kill(killIdle)
		}
	}
}

// wantedReady is how many generic workers are to be ready, with the lock held: at least
// Idle, and as many as were claimed a second of late, as far as there is room for them
// beside the functions that have theirs. Other kinds than the plain one are started on demand.
func (p *Pool) wantedReady(k *kind) int {
	if !k.isPlain() {
		return 0
	}
	return max(p.opt.Idle, min(p.demand.ready(), p.opt.MaxWorkers/maxReadyShare))
}

// refillAfter is how long after a claim nobody is started in the worker's place: that takes
// more CPU time than a first call, which would wait for it.
const refillAfter = 25 * time.Millisecond

// putOff has no ready workers replaced for a while after a claim, with the lock held; in a
// burst for no longer than half of them last.
func (p *Pool) putOff(k *kind) {
	now := time.Now()
	until := now.Add(refillAfter)
	if k.refillAt.After(until) || k.refillAt.After(now) && len(k.ready) < p.wantedReady(k)/2 {
		return
	}
	k.refillAt = until
	p.refill.Reset(refillAfter)
}

// maxReadyShare bounds the workers that are kept ready for demand, as a share of all.
const maxReadyShare = 4

// demand tells how many generic workers are claimed a second. It rises at once, and falls
// by a tenth each second: who comes in bursts finds workers ready at the next.
type demand struct {
	claims int     // since the last tick
	rate   float64 // a second
}

const demandFades = 0.9

func (d *demand) tick() {
	d.rate = max(float64(d.claims), d.rate*demandFades)
	d.claims = 0
}

func (d *demand) ready() int {
	if d.rate < 1 {
		return 0
	}
	return int(math.Ceil(d.rate))
}
