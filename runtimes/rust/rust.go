// Package rust compiles Rust source to WebAssembly modules, which runtimes/wasm runs. A
// source has one of three forms (FormOf). It is one crate, compiled by one call of rustc
// against crates that were compiled before: serde_json, what that needs, and crate/envoke.rs.
//
// A compiler reads what it is told to, by include! and its like, and computes what it is told
// to, by macros and constants. So it runs in the sandbox that workers run in, where it sees
// the toolchain, the crates and a scratch folder, with limits on its time, memory and output.
// Its only children are linkers.
package rust

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"envoke/internal/compile"
	"envoke/runtimes/disk"
	"envoke/runtimes/fault"
	"envoke/runtimes/interpreter"
	"envoke/runtimes/sandbox"
)

// Options configures a Builder. A zero field means its default, where one is named.
type Options struct {
	Toolchain Toolchain
	CacheDir  string // of crates, and of modules that were built
	// CratesDir is an empty folder of this process's for the crates that builds read: users
	// of their own may not get into the cache.
	CratesDir string
	Sandbox   sandbox.Config // its limits are ours to set
	Timeout   time.Duration  // of one build; 60 s
	MaxModule int            // bytes of a module; 32 MiB
	Builds    int            // at once; half as many as there are cores
	Queue     int            // builds waiting for their turn; 16
	MemoryMB  int            // of each process of a build, in MiB; 1024
	MaxCache  int64          // bytes of modules kept on disk; 256 MiB
	Modules   Modules        // that other hosts have built; nil: none

	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// Modules are a store of modules that hosts share. Its errors are *faas.Error of NOT_FOUND
// where that applies.
type Modules interface {
	Find(ctx context.Context, digest string) ([]byte, error)
	Keep(ctx context.Context, digest string, wasm []byte) error
}

// Builder compiles Rust source.
type Builder struct {
	opt    Options
	recipe string
	// cratesCache is where crates are kept from one process to the next.
	cratesCache string
	spawner     *sandbox.Spawner
	metrics     *metrics
	flights     singleflight.Group
	turns       chan struct{} // a place for each build under way
	waiting     atomic.Int64  // builds
	written     atomic.Int64  // bytes of modules since the cache was swept

	crates   sync.Mutex // held while they are prepared
	prepared bool

	mu      sync.Mutex
	stopped bool
	tasks   sync.WaitGroup
	stop    chan struct{} // closed when builds must end
}

// Open makes a builder, and what crates its builds may read when Serve prepares them. It
// clears the cache of what is too much.
func Open(opt Options) (*Builder, error) {
	setDefault(&opt.Timeout, time.Minute)
	setDefault(&opt.MaxModule, 32<<20)
	setDefault(&opt.Builds, min(64, max(1, runtime.NumCPU()/2))) // of the users that there are for builds, some 200
	setDefault(&opt.Queue, 16)
	setDefault(&opt.MemoryMB, 1024)
	setDefault(&opt.MaxCache, 256<<20)
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Builder{
		opt: opt, recipe: recipe(), cratesCache: opt.CacheDir, turns: make(chan struct{}, opt.Builds), stop: make(chan struct{}),
	}
	if err := disk.Sweep(b.modulesDir(), opt.MaxCache); err != nil {
		return nil, fmt.Errorf("clear the cache of modules built from source: %w", err)
	}
	b.spawner = sandbox.NewSpawner(b.walls())
	b.metrics = newMetrics(opt.Registerer, func() float64 { return float64(b.waiting.Load()) })
	return b, nil
}

func setDefault[T int | int64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// The limits of a build that are nobody's to set.
const (
	maxTasks        = 64       // a compiler has some twenty threads, and a linker one for each core
	maxAddressSpace = 16 << 30 // bytes; of which LLVM and the crates' files reserve a part
	maxFile         = 64 << 20 // bytes of a file that it writes
)

// walls are the sandbox of builds.
func (b *Builder) walls() sandbox.Config {
	c := b.opt.Sandbox
	c.Children, c.Tasks = true, maxTasks
	c.Memory, c.AddressSpace, c.FileSize = uint64(b.opt.MemoryMB)<<20, maxAddressSpace, maxFile
	c.Beside = c.Memory + maxFile // the compiler waits for its linker
	c.CPU = uint64(b.opt.Timeout/time.Second+1) * uint64(runtime.NumCPU())
	return c
}

// Files are what the sandbox lets builds see.
func Files(t Toolchain, cratesDir string) sandbox.Files {
	return sandbox.Files{
		Programs: []string{t.Rustc, t.Linker},
		Read:     append([]string{filepath.Join(t.Sysroot, "lib"), cratesDir}, t.libraries...),
	}
}

// Serve prepares the crates and lets Build build until the context ends. Builds under way are
// killed then.
func (b *Builder) Serve(ctx context.Context) error {
	walls, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	fell := make(chan error, 1)
	go func() { fell <- b.spawner.Serve(walls) }()
	b.tasks.Go(func() {
		if err := b.prepare(ctx); err != nil && ctx.Err() == nil {
			b.opt.Logger.Warn("Rust source cannot be compiled until its crates are there: each build tries again", "error", err)
		}
	})
	select {
	case err := <-fell:
		b.end()
		return err
	case <-ctx.Done():
		b.end()
		end()
		return <-fell
	}
}

// end stops the builds and waits for them.
func (b *Builder) end() {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	close(b.stop)
	b.tasks.Wait()
}

// prepare makes sure that the crates are there for builds to read.
func (b *Builder) prepare(ctx context.Context) error {
	b.crates.Lock()
	defer b.crates.Unlock()
	if b.prepared {
		return nil
	}
	cached := filepath.Join(b.cratesCache, cratesPrefix+b.opt.Toolchain.identity+"-"+b.recipe)
	if err := b.opt.Toolchain.prepareCrates(ctx, filepath.Join(b.cratesCache, "packed"), cached); err != nil {
		return err
	}
	if err := copyFiles(cached, b.opt.CratesDir); err != nil {
		return fmt.Errorf("copy the crates: %w", err)
	}
	if err := removeOldCrates(b.cratesCache, cached); err != nil {
		b.opt.Logger.Warn("remove crates that nobody uses", "error", err)
	}
	b.prepared = true
	return nil
}

// copyFiles copies the files of a folder that holds nothing else.
func copyFiles(from, to string) error {
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(from, file.Name()))
		if err == nil {
			err = interpreter.Write(filepath.Join(to, file.Name()), content)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Build compiles a source, or finds the module that it was compiled to. The error is the
// context's own or a *faas.Error: INITIALIZATION_ERROR (422) where the source does not compile
// within the limits, RATE_LIMITED (429) where too many builds wait, UNAVAILABLE (503).
//
// Equal sources are compiled once. A build outlives callers that go away: what it makes is
// kept.
func (b *Builder) Build(ctx context.Context, source string, options compile.Options) (module []byte, form string, err error) {
	j, err := newJob(source, options)
	if err != nil {
		return nil, "", err
	}
	digest := b.digest(j)
	if module, ok := b.cached(digest); ok {
		return module, string(j.form), nil
	}
	answer := b.flights.DoChan(digest, func() (any, error) { return b.make(j, digest) })
	select {
	case a := <-answer:
		module, _ := a.Val.([]byte)
		return module, string(j.form), a.Err
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
}

// make compiles a source and keeps the module.
func (b *Builder) make(j job, digest string) ([]byte, error) {
	if !b.begin() {
		return nil, fault.Stopping
	}
	defer b.tasks.Done()
	if module, ok := b.cached(digest); ok { // another flight has just ended
		return module, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer b.untilStopped(cancel)()
	if module, ok := b.shared(ctx, digest); ok {
		return module, nil
	}
	leave, err := b.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, late := context.WithTimeout(ctx, b.opt.Timeout)
	defer late()
	if err := b.awaitCrates(ctx); err != nil {
		return nil, err
	}
	started := time.Now()
	module, err := b.compile(ctx, j)
	b.metrics.observe(started, err)
	if err == nil {
		b.keep(digest, module)
		b.share(digest, module)
	}
	return module, err
}

// begin counts a build, so that Serve waits for it.
func (b *Builder) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return false
	}
	b.tasks.Add(1)
	return true
}

// untilStopped calls f when the builder stops, unless the function returned was called
// before.
func (b *Builder) untilStopped(f func()) (ended func()) {
	over := make(chan struct{})
	go func() {
		select {
		case <-b.stop:
			f()
		case <-over:
		}
	}()
	return func() { close(over) }
}

// enter takes a turn, and waits for one where it must, at most as long as a build may take.
func (b *Builder) enter() (leave func(), err error) {
	leave = func() { <-b.turns }
	select {
	case b.turns <- struct{}{}:
		return leave, nil
	default:
	}
	defer b.waiting.Add(-1)
	if int(b.waiting.Add(1)) > b.opt.Queue {
		b.metrics.refused.Inc()
		return nil, fault.Busy("too many builds are waiting")
	}
	timer := time.NewTimer(b.opt.Timeout)
	defer timer.Stop()
	select {
	case b.turns <- struct{}{}:
		return leave, nil
	case <-timer.C:
		b.metrics.refused.Inc()
		return nil, fault.Busy("other builds took too long")
	case <-b.stop:
		return nil, fault.Stopping
	}
}

// awaitCrates tries to prepare the crates where they are not yet.
func (b *Builder) awaitCrates(ctx context.Context) error {
	done := make(chan error, 1)
	b.tasks.Go(func() { done <- b.prepare(ctx) })
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	switch {
	case err == nil:
		return nil
	case b.isStopped():
		return fault.Stopping
	}
	unavailable := fault.Unavailable("the crates that Rust functions are compiled with are not there yet; the log of the runtime host has the reason")
	unavailable.Err = err
	return unavailable
}

func (b *Builder) isStopped() bool {
	select {
	case <-b.stop:
		return true
	default:
		return false
	}
}
