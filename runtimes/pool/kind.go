package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/egress"
	"envoke/runtimes/fault"
)

// kind is workers that are started alike: with nothing, as most are, or with what the walls
// let these have alone, the way out that a function's network is and the packages that it
// depends on. Of the latter none are kept ready, since few functions want the same.
// Guarded by the pool's mutex.
type kind struct {
	connects     bool
	dependencies string // JSON; empty: none
	ready        []*worker
	claims       []*slot // waiting for a worker, oldest first
	starting     int
	refillAt     time.Time // no refills before
}

// Layers has the packages that functions depend on (layer.Layers).
type Layers interface {
	// Use returns the folder of those that files pin, by their names, which stays until
	// release is called.
	Use(ctx context.Context, files map[string]string) (dir string, release func(), err error)
}

// isPlain tells whether the workers have nothing that others have not.
func (k *kind) isPlain() bool { return !k.connects && k.dependencies == "" }

// kindOf is the kind of a slot's workers.
func (p *Pool) kindOf(s *slot) *kind {
	connects, dependencies := s.key.network == faas.Egress, string(s.script.Dependencies)
	for _, k := range p.kinds {
		if k.connects == connects && k.dependencies == dependencies {
			return k
		}
	}
	k := &kind{connects: connects, dependencies: dependencies}
	p.kinds = append(p.kinds, k)
	return k
}

// trimKinds forgets the kinds that nobody wants.
func (p *Pool) trimKinds() {
	p.kinds = slices.DeleteFunc(p.kinds, func(k *kind) bool {
		return !k.isPlain() && len(k.ready)+len(k.claims)+k.starting == 0
	})
}

// each tells whether f is true of a kind, and asks no further then.
func (p *Pool) each(f func(*kind) bool) bool { return slices.ContainsFunc(p.kinds, f) }

// claimed tells whether slots wait for a worker.
func (p *Pool) claimed() bool { return p.each(func(k *kind) bool { return len(k.claims) > 0 }) }

// starting is how many workers are.
func (p *Pool) starting() (n int) {
	for _, k := range p.kinds {
		n += k.starting
	}
	return n
}

// generic is how many workers are ready.
func (p *Pool) generic() (n int) {
	for _, k := range p.kinds {
		n += len(k.ready)
	}
	return n
}

// spare ends a generic worker of another kind, where nobody waits for one there.
func (p *Pool) spare(k *kind) bool {
	return p.each(func(other *kind) bool {
		if other == k || len(other.ready) == 0 || len(other.claims) > 0 {
			return false
		}
		w := other.ready[0]
		p.metrics.evictions.Inc()
		p.remove(w)
		w.kill(killEvicted)
		return true
	})
}

func (k *kind) drop(w *worker) {
	k.ready = slices.DeleteFunc(k.ready, func(other *worker) bool { return other == w })
}

// prepare has the packages of the work installed before a worker is started for it, since
// that may take long.
func (p *Pool) prepare(ctx context.Context, work Work) error {
	if work.Script.Dependencies == nil {
		return nil
	}
	p.mu.Lock()
	s := p.slots[p.key(work)]
	loaded := s != nil && len(s.workers) > 0
	p.mu.Unlock()
	if loaded {
		return nil
	}
	_, release, err := p.packages(ctx, string(work.Script.Dependencies))
	if err == nil {
		release()
	}
	return err
}

func (p *Pool) packages(ctx context.Context, dependencies string) (dir string, release func(), err error) {
	if p.opt.Layers == nil {
		return "", nil, fault.Unavailable("this runtime host installs no dependencies")
	}
	var files map[string]string
	if err := json.Unmarshal([]byte(dependencies), &files); err != nil {
		return "", nil, fmt.Errorf("read dependencies: %w", err)
	}
	return p.opt.Layers.Use(ctx, files)
}

// equip gives a worker what its kind has, until strip.
func (w *worker) equip() (env []string, err error) {
	opt, env := &w.pool.opt, w.pool.opt.Env
	w.strip = func() {}
	if w.kind.dependencies != "" {
		// It is installed, as a rule: its function was prepared.
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		if w.packages, w.strip, err = w.pool.packages(ctx, w.kind.dependencies); err != nil {
			w.strip = func() {}
			return nil, err
		}
	}
	if !w.kind.connects {
		return env, nil
	}
	way, release := opt.Egress.Let(func() egress.User {
		k := w.belongsTo()
		return egress.User{Owner: k.owner, Digest: k.digest}
	}), w.strip
	w.strip = func() { way.Close(); release() }
	return slices.Concat(env, way.Env()), nil
}
