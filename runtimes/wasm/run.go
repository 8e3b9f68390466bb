package wasm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
	"envoke/runtimes/pool"
)

// job is one call.
type job struct {
	module     *module
	work       pool.Work
	invocation pool.Invocation
}

// run is what an instance is given of the world, and what it leaves behind. Runs are
// reused, since the configuration that ties an instance to one is expensive to make.
type run struct {
	stdin   bytes.Reader
	stdout  output
	stderr  printed
	limit   uint64          // bytes of linear memory that it may have
	used    uint64          // that it had
	refused bool            // it wanted more memory than it may have
	stop    <-chan struct{} // closed when the instance must end
	config  wazero.ModuleConfig
}

var runs = sync.Pool{New: func() any {
	r := &run{}
	r.config = wazero.NewModuleConfig().WithName("").WithArgs("function").
		WithStdin(&r.stdin).WithStdout(&r.stdout).WithStderr(&r.stderr).
		WithSysWalltime().WithSysNanotime().WithRandSource(rand.Reader).
		WithNanosleep(r.sleep).WithOsyield(runtime.Gosched)
	return r
}}

// sleep ends with the call, and the instance with it: wazero's own sleeps on after the
// deadline. A panic with an exit code is how a host function ends an instance.
func (r *run) sleep(nanoseconds int64) {
	timer := time.NewTimer(time.Duration(nanoseconds))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.stop:
		panic(sys.NewExitError(sys.ExitCodeContextCanceled))
	}
}

// run runs a call with the best code that the module has. Where that is interpreted, a
// success is the answer. Anything else may be the interpreter's own limits, or its
// slowness: the call begins again as soon as there is machine code.
func (e *Engine) run(ctx context.Context, r *run, j job) (pool.Result, error) {
	started := time.Now()
	p := e.use(j.module)
	for p == nil { // put out of memory while the call waited
		var err error
		if j.module, err = e.find(ctx, j.work.Script); err != nil {
			return pool.Result{}, err
		}
		p = e.use(j.module)
	}
	limited, cancel := limitCPU(ctx, j.work.CPU)
	defer cancel()
	p, err := e.runBest(limited, r, p, j)
	e.giveBack(p)
	took := time.Since(started)
	if errors.Is(context.Cause(limited), errCPU) && err != nil {
		err = fault.CPU(j.work.CPU, took)
	}
	e.log(r, j)
	result := pool.Result{Duration: took, MemoryBytes: int64(r.used)}
	if err == nil {
		result.JSON, err = r.stdout.json()
	}
	if err != nil {
		err = e.failure(ctx, r, err)
	}
	return result, err
}

var errCPU = errors.New("the limit of CPU time")

// limitCPU ends a call by its limit of CPU time, which is the time that it runs: it waits
// for nothing.
func limitCPU(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, limit, errCPU)
}

// runBest begins with the given program and returns the one that it ended with.
func (e *Engine) runBest(ctx context.Context, r *run, p *program, j job) (*program, error) {
	if p.tier == compiler {
		return p, e.once(ctx, r, p, j)
	}
	err := e.interpret(ctx, r, p, j)
	if ctx.Err() != nil || isAnswer(err) {
		return p, err
	}
	e.startCompiling(j.module)
	select {
	case <-j.module.compiled:
	case <-ctx.Done():
		return p, err
	}
	p = e.replace(p, j.module)
	if p.tier == compiler || isInterrupted(err) {
		e.metrics.reruns.Inc()
		err = e.once(ctx, r, p, j)
	}
	return p, err
}

// interpret runs a call until it is over or there is machine code.
func (e *Engine) interpret(ctx context.Context, r *run, p *program, j job) error {
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if e.awaitMachineCode(ctx, j.module) {
			cancel()
		}
	}()
	defer func() { cancel(); <-watched }()
	return e.once(ctx, r, p, j)
}

// awaitMachineCode tells whether there is machine code before the context ends. It has
// it made after a while.
func (e *Engine) awaitMachineCode(ctx context.Context, m *module) bool {
	timer := time.NewTimer(slow)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			e.startCompiling(m)
		case <-m.compiled:
			return e.hasMachineCode(m)
		case <-ctx.Done():
			return false
		}
	}
}

// isAnswer tells whether machine code would have come to the same end as the
// interpreter, whose stack is smaller.
func isAnswer(err error) bool {
	var exit *sys.ExitError
	return err == nil || errors.As(err, &exit) && !isInterrupted(err)
}

func isInterrupted(err error) bool {
	var exit *sys.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == sys.ExitCodeContextCanceled
}

func (e *Engine) hasMachineCode(m *module) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return m.machine != nil
}

// replace gives a program back for the one that the module has by now. A module that
// was retired meanwhile keeps the old one for this call.
func (e *Engine) replace(old *program, m *module) *program {
	p := e.use(m)
	if p == nil {
		return old
	}
	e.giveBack(old)
	return p
}

func (e *Engine) giveBack(p *program) {
	e.mu.Lock()
	e.drop(p)
	e.mu.Unlock()
}

// once makes an instance and runs it to its end. The error is wazero's, or a
// *faas.Error where the function was not to blame.
func (e *Engine) once(ctx context.Context, r *run, p *program, j job) (err error) {
	r.limit = p.memory
	if own := uint64(j.work.MemoryMB) << 20; own > 0 {
		r.limit = min(r.limit, own)
	}
	memory, err := e.memories.take(r.limit)
	if err != nil {
		unavailable := fault.Unavailable("there is no memory for another instance")
		unavailable.Err = err
		return unavailable
	}
	defer func() {
		r.used, r.refused = memory.used, memory.refused
		e.memories.give(memory)
		r.stdin.Reset(nil)
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.stop = ctx.Done()
	r.stdin.Reset(or(j.invocation.Params, jsonNull))
	r.stdout.reset(e.opt.MaxResult, cancel)
	r.stderr.reset()
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("instantiate: %v", caught)
		}
	}()
	config := environ(r.config, j.work.Environment).WithEnv("ENVOKE_CONTEXT", string(or(j.invocation.Context, jsonEmpty)))
	instance, err := p.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, memory), p.compiled, config)
	if instance != nil {
		err = errors.Join(err, instance.Close(ctx))
	}
	return err
}

// environ adds what the function finds in its environment.
func environ(config wazero.ModuleConfig, environment *faas.Resolved) wazero.ModuleConfig {
	values := environment.Values()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		config = config.WithEnv(name, values[name])
	}
	return config
}

var (
	jsonNull  = []byte(`null`)
	jsonEmpty = []byte(`{}`)
)

func or(b, otherwise []byte) []byte {
	if len(b) == 0 {
		return otherwise
	}
	return b
}
