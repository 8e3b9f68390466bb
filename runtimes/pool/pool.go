// Package pool runs functions in sandboxed worker processes of one language.
//
// A worker is started generic, loads the code of one (digest, owner) and belongs to
// it until it ends: between workers nothing passes. Some generic workers are kept
// ready, so that a first call need not wait for an interpreter; workers without calls
// are reaped, or evicted when others need their place.
//
// A slot is the place of one (digest, owner): its workers, and the calls that wait for
// them. It has one worker, or where the code runs one call at a time (frame.Form.Serial)
// up to Options.SerialWorkers, each begun when a call finds none of the others free.
// Each worker has one goroutine, which reads its frames (runtimes/PROTOCOL.md) and
// in the end reaps it; answers go straight to the waiting callers. A call that is not
// over at its deadline has its worker killed, since nothing less stops a loop.
package pool

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/runtimes/egress"
	"envoke/runtimes/fault"
	"envoke/runtimes/frame"
	"envoke/runtimes/sandbox"
)

// Runtime is what a language gives: how to start one of its workers.
type Runtime struct {
	Language faas.Language
	Argv     []string // absolute paths
	Env      []string // all that the worker sees
	Read     []string // files that the worker reads, and whole folders
	// OwnMemory is what the interpreter itself writes to, in bytes, beside the memory that
	// functions may have.
	OwnMemory uint64
	// Reserved is what it maps writable when it starts, in bytes, and hardly writes to.
	Reserved uint64
	// AddressSpace bounds what a worker may reserve, in bytes; 0: the interpreter reserves
	// much more than it uses.
	AddressSpace uint64
}

// Files are what the sandbox lets a worker see.
func (r Runtime) Files() sandbox.Files {
	return sandbox.Files{Programs: r.Argv[:1], Read: r.Read}
}

// Options configures a Pool. A zero field means its default, where one is named.
type Options struct {
	Runtime
	Sandbox     sandbox.Config // its Files, Memory and Beside are ours to set
	MemoryMB    int            // that one function may have; 0: no limit
	Idle        int            // generic workers kept ready at least; more on demand
	MaxWorkers  int            // processes at once, the checker and those starting included; 64
	Concurrency int            // calls at once in one worker; 64
	// SerialWorkers is the most workers of one function whose code runs one call at
	// a time; max(2, cores).
	SerialWorkers int
	Queue         int // calls waiting for one function; 64
	// Patience is how long calls wait for their turns at most where more come than are
	// served (queue.Queue). 0: until their deadlines.
	Patience      time.Duration
	LoadTimeout   time.Duration // of one Load or Check; 5 s
	IdleTimeout   time.Duration // after which a worker without calls ends; 5 min
	MaxResult     int           // bytes of a result's JSON; 6 MiB
	StreamTimeout time.Duration // of a whole stream; 5 min
	MaxScratch    int64         // bytes in the scratch folder of one worker; 64 MiB
	// A worker that has taken MaxCalls, is older than MaxAge or has more than MemoryMark
	// bytes resident is replaced when its calls are over. 0: never for that.
	MaxCalls   int
	MaxAge     time.Duration
	MemoryMark int64
	// MemoryShort tells whether idle workers are to be ended for their memory. Nil: where
	// a twentieth of the machine's is available, or less.
	MemoryShort func() bool
	// Egress lets workers out whose function has a network. Nil: no function may have one.
	Egress *egress.Proxy
	// Layers has what functions depend on. Nil: no function may depend on anything.
	Layers     Layers
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	// Log takes what functions print. It is called from the goroutine that reads
	// the worker, so it must not block.
	Log func(LogLine)
}

// LogLine is one line that a function printed.
type LogLine struct {
	RequestID string // empty where the line is not known to belong to one call
	Digest    faas.Digest
	Owner     string // "session:" and its id, or "function:" and its user's
	Level     slog.Level
	Text      string
}

// Work names what to run and for whom. A worker belongs to one (digest, owner).
type Work struct {
	Script faas.Script
	Owner  string
	// MemoryMB is the limit of memory of its worker; 0, or more than the pool's: the pool's.
	MemoryMB int
	// CPU is what one call may take; 0: no limit.
	CPU     time.Duration
	Network faas.Network // that its worker has
	// Environment is what its worker finds in its own. Another value is another worker's.
	Environment *faas.Resolved
}

// key names the slot of the work.
func (p *Pool) key(work Work) key {
	if work.Script.Digest == "" {
		return key{} // the checker's
	}
	limit := work.MemoryMB
	if limit == 0 || p.opt.MemoryMB > 0 && limit > p.opt.MemoryMB {
		limit = p.opt.MemoryMB
	}
	return key{digest: work.Script.Digest, owner: work.Owner, memoryMB: limit, network: work.Network, environment: work.Environment.ID()}
}

// memory is how many bytes a worker may write to whose function may have so many MiB; 0:
// no limit.
func (o *Options) memory(limitMB int) uint64 {
	if limitMB == 0 {
		return 0
	}
	return o.OwnMemory + uint64(limitMB)<<20
}

const (
	startTimeout   = 10 * time.Second // from the start of a process to its Ready
	startBackoff   = time.Second      // without refills, after a start that failed
	recycleChecker = 500              // checks: a parser may leak
	maxChecked     = 10_000           // forms remembered, of some 200 bytes each
)

// Pool is the workers of one language.
type Pool struct {
	opt     Options
	spawner *sandbox.Spawner
	metrics *metrics
	checked *lru.Cache[faas.Digest, frame.Form] // code that parses
	tasks   sync.WaitGroup                      // one per worker and per load

	mu      sync.Mutex // guards what follows, and the fields of workers that say so
	open    bool
	closed  bool
	slots   map[key]*slot
	workers map[*worker]struct{} // with a process that is not reaped yet
	size    int                  // workers starting, or neither removed nor ended
	kinds   []*kind              // of workers; the first is the plain one
	waiting int                  // calls, for all slots
	asked   map[asked]int        // of makeRoom: calls that wait, by function
	demand  demand
	refill  *time.Timer // after which balance starts what it put off
	version string      // of the interpreter
}

// New makes a pool. Serve must run for its other methods to get anywhere.
func New(opt Options) *Pool {
	setDefault(&opt.MaxWorkers, 64)
	setDefault(&opt.Concurrency, 64)
	setDefault(&opt.SerialWorkers, max(2, runtime.NumCPU()))
	setDefault(&opt.Queue, 64)
	setDefault(&opt.LoadTimeout, 5*time.Second)
	setDefault(&opt.IdleTimeout, 5*time.Minute)
	setDefault(&opt.MaxResult, 6<<20)
	setDefault(&opt.StreamTimeout, 5*time.Minute)
	setDefault(&opt.MaxScratch, 64<<20)
	if opt.MemoryShort == nil {
		opt.MemoryShort = memoryShort
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Log == nil {
		opt.Log = func(LogLine) {}
	}
	opt.Sandbox.Files, opt.Sandbox.Memory = opt.Files(), opt.memory(opt.MemoryMB)
	opt.Sandbox.AddressSpace, opt.Sandbox.Reserved = opt.AddressSpace, opt.Reserved
	opt.Sandbox.Beside = sharedMemory + uint64(opt.MaxScratch)
	if opt.Egress != nil {
		opt.Sandbox.Connect = uint16(opt.Egress.Port())
	}
	checked, _ := lru.New[faas.Digest, frame.Form](maxChecked) // fails for no size only
	p := &Pool{
		opt:     opt,
		checked: checked,
		spawner: sandbox.NewSpawner(opt.Sandbox),
		slots:   make(map[key]*slot),
		asked:   make(map[asked]int),
		workers: make(map[*worker]struct{}),
		kinds:   []*kind{{}},
		refill:  time.NewTimer(0),
	}
	p.metrics = newMetrics(opt.Registerer, opt.Language, p.Stats)
	return p
}

func setDefault[T int | int64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Serve starts and ends workers until the context ends; then it kills all of them,
// answers the calls that are left with UNAVAILABLE and waits for everything that it
// started. A pool serves once.
func (p *Pool) Serve(ctx context.Context) error {
	spawning, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	spawned := make(chan error, 1)
	go func() { spawned <- p.spawner.Serve(spawning) }()
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	p.tasks.Go(func() { p.watchOften(watching) })
	p.tasks.Go(func() { p.watchAll(watching) })
	p.mu.Lock()
	p.open = true
	p.balance()
	p.mu.Unlock()
	tick := time.NewTicker(min(time.Second, p.opt.IdleTimeout/4+1))
	defer tick.Stop()
	defer p.refill.Stop()
	for {
		select {
		case now := <-tick.C:
			p.upkeep(now)
		case <-p.refill.C:
			p.mu.Lock()
			p.balance()
			p.mu.Unlock()
		case <-ctx.Done():
			p.close()
			stop()
			return <-spawned
		case err := <-spawned:
			unwatch()
			p.close()
			return fmt.Errorf("start workers: %w", err)
		}
	}
}

func (p *Pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, k := range p.kinds {
		k.claims = nil
	}
	for _, s := range p.slots {
		p.refuseAll(s, fault.Stopping)
	}
	victims := make([]*worker, 0, len(p.workers))
	for w := range p.workers {
		victims = append(victims, w)
	}
	p.mu.Unlock()
	for _, w := range victims {
		w.kill(killStop)
	}
	p.tasks.Wait()
}

// balance hands ready workers to those who wait for one, and starts as many as are
// missing; at MaxWorkers it evicts those used longest ago for it. It is called, with
// the lock held, after every change that it may act on.
func (p *Pool) balance() {
	for p.open && !p.closed {
		if !p.each(p.assign) && !p.each(p.begin) {
			return
		}
	}
}

// begin starts a worker if one is missing and there is a place for it.
func (p *Pool) begin(k *kind) bool {
	if !p.lacks(k) || p.starting() >= max(2, runtime.NumCPU()) {
		return false
	}
	if p.size >= p.opt.MaxWorkers && (len(k.claims) <= k.starting || !p.evict() && !p.spare(k)) {
		return false
	}
	k.starting++
	p.size++
	p.tasks.Go(func() { p.runWorker(k) })
	return true
}

// lacks tells whether more workers should be starting than are.
func (p *Pool) lacks(k *kind) bool {
	want := len(k.claims)
	if !time.Now().Before(k.refillAt) {
		want += p.wantedReady(k) - len(k.ready)
	}
	return want > k.starting
}

// assign gives the newest ready worker, whose memory is the warmest, to the slot that
// has waited longest.
func (p *Pool) assign(k *kind) bool {
	if len(k.claims) == 0 || len(k.ready) == 0 {
		return false
	}
	s, w := k.claims[0], k.ready[len(k.ready)-1]
	k.claims, k.ready = k.claims[1:], k.ready[:len(k.ready)-1]
	s.coming, w.home = loading, s
	w.belongs.Store(&s.key)
	p.metrics.claims.Inc()
	if k.isPlain() {
		p.demand.claims++
	}
	p.putOff(k)
	p.tasks.Go(func() { p.load(s, w) })
	return true
}

// evict ends the worker that nobody has used for longest, if any is unused.
func (p *Pool) evict() bool {
	var oldest *worker
	for w := range p.workers {
		if w.evictable() && (oldest == nil || w.lastUsed.Before(oldest.lastUsed)) {
			oldest = w
		}
	}
	if oldest == nil {
		return false
	}
	p.metrics.evictions.Inc()
	p.remove(oldest)
	oldest.kill(killEvicted)
	return true
}

// evictable tells whether a worker has code and no calls.
func (w *worker) evictable() bool { return w.loaded && w.active == 0 }

// discard removes a worker and kills it.
func (p *Pool) discard(w *worker, reason killReason) {
	p.mu.Lock()
	p.remove(w)
	p.balance()
	p.mu.Unlock()
	w.kill(reason)
}

// remove makes a worker one that gets no more calls, with the lock held. Its slot asks
// for another one if calls wait there.
func (p *Pool) remove(w *worker) {
	if w.removed {
		return
	}
	w.removed = true
	p.size--
	w.kind.drop(w)
	if w.loaded {
		w.loaded = false
		s := w.home
		s.workers = slices.DeleteFunc(s.workers, func(other *worker) bool { return other == w })
		p.settle(s)
	}
}

// Stats is a snapshot of a pool.
type Stats struct {
	Version  string // of the interpreter; empty until a worker was ready
	Starting int    // workers
	Ready    int    // generic workers
	Loaded   int    // workers that have code, or are loading it
	Calls    int    // under way
	Waiting  int    // calls
}

// Stats counts workers and calls.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := Stats{Version: p.version, Starting: p.starting(), Ready: p.generic()}
	for w := range p.workers {
		if w.home != nil && !w.removed {
			stats.Loaded++
		}
		stats.Calls += w.active
	}
	stats.Waiting = p.waiting
	return stats
}
