// Package wasm runs WASI command modules (preview 1) inside the host's own process, with
// wazero: those that were sent, and those that a Builder makes of Rust source. It takes the
// same work as runtimes/pool, and answers with the same results and errors.
//
// A module is loaded once for each digest: decoded, validated and tried, which takes
// milliseconds. Its first call runs in wazero's interpreter. With the second, or where
// the first takes long, it is compiled to machine code, in the background; a call that
// the interpreter has not finished by then begins again with that. This is safe because
// an instance has no effect but its output: there are no files and no network.
//
// Every call has an instance of its own, made for it and thrown away: stdin is the
// params, the environment variable ENVOKE_CONTEXT the context, stdout the result,
// stderr the log.
package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tetratelabs/wazero"

	"envoke/internal/compile"
	"envoke/internal/faas"
	"envoke/runtimes/disk"
	"envoke/runtimes/fault"
	"envoke/runtimes/frame"
	"envoke/runtimes/pool"
)

// Options configures an Engine. A zero field means its default, where one is named.
type Options struct {
	CacheDir       string        // of machine code; empty: none is kept on disk
	MaxModule      int           // bytes of a module; 32 MiB
	MaxMemory      int           // bytes of one instance's linear memory; 128 MiB
	MaxResult      int           // bytes of a result's JSON; 6 MiB
	MaxModules     int           // modules held; 256
	MaxBytes       int64         // bytes that the modules held take, estimated; 256 MiB
	Concurrency    int           // calls at once; 64
	Queue          int           // calls waiting for their turn; 1024
	CompileTimeout time.Duration // of loading one module; 60 s
	Builder        Builder       // of modules from Rust source; nil: NoBuilder says why there is none
	NoBuilder      string
	MaxSource      int // bytes of Rust source; 1 MiB
	Logger         *slog.Logger
	Registerer     prometheus.Registerer // nil: no metrics
	// Log takes what functions print to stderr, when their call is over. It must
	// not block.
	Log func(pool.LogLine)
}

// Builder makes a module of Rust source, and tells in which form that is. Its errors are the
// context's own, or what callers are told: rust.Builder says which.
type Builder interface {
	Build(ctx context.Context, source string, options compile.Options) (module []byte, form string, err error)
}

// maxDisk bounds the cache of machine code on disk, in bytes, when an engine opens:
// wazero only adds to it.
const maxDisk = 1 << 30

// stopTimeout bounds how long Serve waits for compilations, which nothing stops.
const stopTimeout = 5 * time.Second

// Engine runs WebAssembly modules.
type Engine struct {
	opt       Options
	cache     wazero.CompilationCache
	memories  memories
	metrics   *metrics
	loaders   chan struct{}       // a place for each module that is being loaded
	compilers chan struct{}       // and compiled
	turns     chan struct{}       // and for each call under way
	spare     chan wazero.Runtime // of the interpreter, ready for a module
	tasks     sync.WaitGroup

	mu      sync.Mutex // guards what follows, and the fields of modules that say so
	closed  bool
	modules *simplelru.LRU[faas.Digest, *module]
	bytes   int64 // of the modules held
	calls   map[*run]context.CancelFunc
	loading int // modules
	waiting int // calls
}

// Open makes an engine with its cache of machine code on disk. Serve must be called to
// end what the engine starts.
func Open(opt Options) (*Engine, error) {
	setDefault(&opt.MaxModule, 32<<20)
	setDefault(&opt.MaxMemory, 128<<20)
	setDefault(&opt.MaxResult, 6<<20)
	setDefault(&opt.MaxSource, 1<<20)
	setDefault(&opt.MaxModules, 256)
	setDefault(&opt.MaxBytes, 256<<20)
	setDefault(&opt.Concurrency, 64)
	setDefault(&opt.Queue, 1024)
	setDefault(&opt.CompileTimeout, time.Minute)
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Log == nil {
		opt.Log = func(pool.LogLine) {}
	}
	e := &Engine{
		opt:       opt,
		cache:     wazero.NewCompilationCache(),
		memories:  memories{size: opt.MaxMemory},
		loaders:   make(chan struct{}, runtime.NumCPU()),
		compilers: make(chan struct{}, max(1, runtime.NumCPU()/2)),
		turns:     make(chan struct{}, opt.Concurrency),
		spare:     make(chan wazero.Runtime, runtime.NumCPU()),
		calls:     make(map[*run]context.CancelFunc),
	}
	e.modules, _ = simplelru.NewLRU(max(1, opt.MaxModules), func(_ faas.Digest, m *module) { e.retire(m) })
	if opt.CacheDir != "" {
		if err := disk.Sweep(opt.CacheDir, maxDisk); err != nil {
			return nil, fmt.Errorf("clear the cache of compiled modules: %w", err)
		}
		var err error
		if e.cache, err = wazero.NewCompilationCacheWithDir(opt.CacheDir); err != nil {
			return nil, fmt.Errorf("open the cache of compiled modules: %w", err)
		}
	}
	e.metrics = newMetrics(opt.Registerer, e.Stats)
	e.refill()
	return e, nil
}

func setDefault[T int | int64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Serve waits until the context ends. Then it ends the calls that are under way, which
// are answered with UNAVAILABLE, and frees all modules. An engine serves once.
func (e *Engine) Serve(ctx context.Context) error {
	<-ctx.Done()
	e.mu.Lock()
	e.closed = true
	for _, cancel := range e.calls {
		cancel()
	}
	e.modules.Purge()
	e.mu.Unlock()
	ended := make(chan struct{})
	go func() { e.tasks.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		return fmt.Errorf("a module was still being compiled %v after the end", stopTimeout)
	}
	e.memories.close()
	close(e.spare)
	for r := range e.spare {
		_ = r.Close(context.WithoutCancel(ctx))
	}
	return e.cache.Close(context.WithoutCancel(ctx))
}

// Check loads a module, of source where that was sent: it tells whether Invoke could run it.
// Errors are those of Load.
func (e *Engine) Check(ctx context.Context, script faas.Script) (frame.Form, error) {
	m, err := e.find(ctx, script)
	if err != nil {
		return frame.Form{}, err
	}
	return frame.Form{Form: m.form}, nil
}

// Load makes sure that the work's module is loaded. The error is a *faas.Error:
// INITIALIZATION_ERROR (422) where the script is no module that can be run here, or source
// that does not compile, or takes longer than CompileTimeout, PAYLOAD_TOO_LARGE (413),
// RATE_LIMITED (429) where too many sources are waiting to be compiled, or UNAVAILABLE (503).
func (e *Engine) Load(ctx context.Context, work pool.Work) error {
	_, err := e.find(ctx, work.Script)
	return err
}

// Invoke runs the work's module once, in a fresh instance. It loads the module first
// where that is not held. Every error is a *faas.Error: those of Load, RUNTIME_ERROR
// (500) where the module trapped, exited with another code than 0 or printed something
// else than one JSON value, RESOURCE_EXHAUSTED (507; output or memory), TIMEOUT (504),
// RATE_LIMITED (429) and UNAVAILABLE (503). Errors may be shared: they are not to be
// changed.
//
// A caller that goes away (ctx) ends the call.
func (e *Engine) Invoke(ctx context.Context, work pool.Work, inv pool.Invocation) (pool.Result, error) {
	if inv.Timeout == 0 {
		inv.Timeout = time.Until(inv.Deadline)
	}
	limited, cancel := context.WithDeadline(ctx, inv.Deadline)
	defer cancel()
	asked := time.Now()
	m, err := e.find(limited, work.Script)
	if err == nil {
		err = e.await(limited)
	}
	waited := time.Since(asked)
	if err != nil {
		return pool.Result{Queue: waited}, e.explain(limited, inv.Timeout, err)
	}
	defer func() { <-e.turns }()
	r := runs.Get().(*run)
	defer runs.Put(r)
	if !e.begin(r, cancel) {
		return pool.Result{Queue: waited}, fault.Stopping
	}
	defer e.end(r)
	result, err := e.run(limited, r, job{module: m, work: work, invocation: inv})
	result.Queue = waited
	if err != nil {
		err = e.explain(limited, inv.Timeout, err)
	}
	return result, err
}

// await takes a turn, which the caller must give back.
func (e *Engine) await(ctx context.Context) error {
	select {
	case e.turns <- struct{}{}:
		return nil
	default:
	}
	e.mu.Lock()
	full := e.waiting >= e.opt.Queue
	if !full {
		e.waiting++
	}
	e.mu.Unlock()
	if full {
		e.metrics.refused.Inc()
		return fault.Busy("too many calls of this runtime are waiting")
	}
	since := time.Now()
	defer func() {
		e.metrics.queueWait.Observe(time.Since(since).Seconds())
		e.mu.Lock()
		e.waiting--
		e.mu.Unlock()
	}()
	select {
	case e.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin lists a call, so that Serve can end it.
func (e *Engine) begin(r *run, cancel context.CancelFunc) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.calls[r] = cancel
	e.tasks.Add(1)
	return true
}

func (e *Engine) end(r *run) {
	e.mu.Lock()
	delete(e.calls, r)
	e.mu.Unlock()
	e.tasks.Done()
}

// explain makes what a caller is told of an error that may be the end of its context.
func (e *Engine) explain(ctx context.Context, timeout time.Duration, err error) error {
	if ctx.Err() == nil || !isContextError(err) {
		return err
	}
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	switch {
	case closed:
		return fault.Stopping
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Timeout(timeout)
	}
	return fault.GoneAway(ctx)
}

// Stats counts modules as workers: loaded ones, and those being loaded.
func (e *Engine) Stats() pool.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	stats := pool.Stats{Version: version(), Starting: e.loading, Calls: len(e.calls), Waiting: e.waiting}
	for _, m := range e.modules.Values() {
		if m.size > 0 {
			stats.Loaded++
		}
	}
	return stats
}

// version is wazero's, as the binary was built with it.
var version = sync.OnceValue(func() string {
	const path = "github.com/tetratelabs/wazero"
	info, _ := debug.ReadBuildInfo()
	for i := 0; info != nil && i < len(info.Deps); i++ {
		if info.Deps[i].Path == path {
			return "wazero " + info.Deps[i].Version
		}
	}
	return "wazero"
})
