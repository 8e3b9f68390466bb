package pool

import (
	"slices"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/egress"
)

// kind is workers that are started alike: without a network, as most are, or with the way
// out that a function's network is. Of the latter none are kept ready, since few functions
// want one. Guarded by the pool's mutex.
type kind struct {
	connects bool
	ready    []*worker // generic
	claims   []*slot   // waiting for a worker, oldest first
	starting int
	retryAt  time.Time // no refills before
}

// kindOf is the kind of a slot's workers.
func (p *Pool) kindOf(s *slot) *kind {
	if s.key.network == faas.Egress {
		return &p.outward
	}
	return &p.plain
}

// claimed tells whether slots wait for a worker.
func (p *Pool) claimed() bool { return len(p.plain.claims)+len(p.outward.claims) > 0 }

// starting is how many workers are.
func (p *Pool) starting() int { return p.plain.starting + p.outward.starting }

// spare ends a generic worker of the other kind, where nobody waits for one there.
func (p *Pool) spare(k *kind) bool {
	other := &p.plain
	if k == other {
		other = &p.outward
	}
	if len(other.ready) == 0 || len(other.claims) > 0 {
		return false
	}
	w := other.ready[0]
	p.metrics.evictions.Inc()
	p.remove(w)
	w.kill(killEvicted)
	return true
}

func (k *kind) drop(w *worker) {
	k.ready = slices.DeleteFunc(k.ready, func(other *worker) bool { return other == w })
}

// letOut gives a worker that may connect its way out, and returns its environment.
func (w *worker) letOut() []string {
	opt := &w.pool.opt
	if !w.kind.connects {
		return opt.Env
	}
	w.way = opt.Egress.Let(func() egress.User {
		k := w.belongsTo()
		return egress.User{Owner: k.owner, Digest: k.digest}
	})
	return slices.Concat(opt.Env, w.way.Env())
}

// keepIn ends a worker's way out, if it has one.
func (w *worker) keepIn() {
	if w.way != nil {
		w.way.Close()
	}
}
