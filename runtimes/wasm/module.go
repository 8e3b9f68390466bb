package wasm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
)

// hot is the call with which a module is compiled, and slow how long a call is
// interpreted until it is: compiling takes some fifty times as long as a short call in
// the interpreter, which one that is only called once should not cost.
const (
	hot  = 2
	slow = 3 * time.Millisecond
)

// module is what is held under a digest. Until it is loaded it has no programs; until
// it is compiled, none but the interpreted one.
type module struct {
	loaded   chan struct{} // closed when what follows and the interpreted program are there
	err      error         // why it could not be loaded
	form     string
	source   source
	compile  sync.Once
	compiled chan struct{} // closed when there is machine code, or there will be none

	// Guarded by the engine's mutex.
	uses        int   // how often use was asked; counted up to hot
	size        int64 // bytes of memory, estimated
	retired     bool  // it is not held any more
	interpreted *program
	machine     *program
}

// errElsewhere says that a module was put out of memory while it was loaded, and that another
// of the same digest is held.
var errElsewhere = errors.New("the module is held elsewhere")

// find returns the loaded module of a script, and loads it where it is not held. The
// error is the context's own or a *faas.Error.
func (e *Engine) find(ctx context.Context, script faas.Script) (*module, error) {
	for {
		if m, err := e.findOnce(ctx, script); !errors.Is(err, errElsewhere) {
			return m, err
		}
	}
}

func (e *Engine) findOnce(ctx context.Context, script faas.Script) (*module, error) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, fault.Stopping
	}
	m, ok := e.modules.Get(script.Digest)
	if !ok {
		m = &module{loaded: make(chan struct{}), compiled: make(chan struct{})}
		e.modules.Add(script.Digest, m)
		e.loading++
		e.tasks.Go(func() { e.prepare(m, script) })
	}
	e.mu.Unlock()
	select {
	case <-m.loaded:
		return m, m.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// prepare loads a module for all who want it, so that no single caller's context ends
// it.
func (e *Engine) prepare(m *module, script faas.Script) {
	defer close(m.loaded)
	var interpreted *program
	source, form, err := e.open(script)
	if err == nil {
		source, interpreted, err = e.loadInTime(source)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loading--
	switch {
	case err != nil:
		m.err = err
		if held, _ := e.modules.Peek(script.Digest); held == m {
			e.modules.Remove(script.Digest)
		}
	case e.closed:
		e.drop(interpreted)
		m.err = fault.Stopping
	case m.retired && e.modules.Contains(script.Digest):
		e.drop(interpreted)
		m.err = errElsewhere
	default:
		m.form, m.source, m.interpreted = form, source, interpreted
		if m.retired { // but somebody waits for it
			m.retired = false
			e.modules.Add(script.Digest, m)
		}
		e.resize(m, interpretedBytes)
	}
}

// What a module takes in memory, as a multiple of its own size (measured with modules
// of Rust). What the interpreter runs, 27 times the module, is full of pointers that
// each garbage collection follows, so it counts four times: a crowd of modules that are
// called once must not make every other start slower.
const (
	interpretedBytes = 4 * 27
	machineBytes     = 8
)

// resize counts what a module takes and makes room for it, with the lock held. Those that are
// being loaded take nothing yet.
func (e *Engine) resize(m *module, multiple int64) {
	size := multiple * int64(len(m.source.wasm))
	e.bytes += size - m.size
	m.size = size
	if e.bytes <= e.opt.MaxBytes {
		return
	}
	for _, digest := range e.modules.Keys() { // the oldest first
		other, _ := e.modules.Peek(digest)
		if other == m || other.size == 0 {
			continue
		}
		if e.modules.Remove(digest); e.bytes <= e.opt.MaxBytes {
			return
		}
	}
}

// loadInTime answers at the deadline, even though nothing stops the load itself: it
// keeps its place among the few that may run at once until it ends.
func (e *Engine) loadInTime(s source) (source, *program, error) {
	type loaded struct {
		source  source
		program *program
		err     error
	}
	deadline := time.NewTimer(e.opt.CompileTimeout)
	defer deadline.Stop()
	select {
	case e.loaders <- struct{}{}:
	case <-deadline.C:
		return source{}, nil, fault.Unavailable("too many modules are being loaded")
	}
	answer := make(chan loaded)
	late := make(chan struct{})
	e.tasks.Go(func() {
		defer func() { <-e.loaders }()
		var l loaded
		l.source, l.program, l.err = e.load(s)
		select {
		case answer <- l:
		case <-late:
			l.program.close()
		}
		e.refill()
	})
	select {
	case l := <-answer:
		return l.source, l.program, l.err
	case <-deadline.C:
		close(late)
		e.metrics.compiles.WithLabelValues("late").Inc()
		return source{}, nil, fault.LoadTimeout(e.opt.CompileTimeout)
	}
}

// load makes the program that the interpreter runs, after every check there is.
func (e *Engine) load(s source) (_ source, p *program, err error) {
	if s, err = e.decode(s); err != nil {
		return source{}, nil, err
	}
	started := time.Now()
	defer func() {
		if caught := recover(); caught != nil { // of wazero, by what it did not expect
			fault := invalid("the module could not be loaded")
			fault.Err = fmt.Errorf("load a module: %v", caught)
			err = fault
		}
		e.metrics.observe(interpreter, started, err)
	}()
	r, err := e.spareRuntime()
	if err != nil {
		return source{}, nil, err
	}
	if p, err = newProgram(s, interpreter, r); err != nil {
		return source{}, nil, err
	}
	if err = e.try(p); err != nil {
		p.close()
		return source{}, nil, err
	}
	return s, p, nil
}

// startCompiling makes machine code of a module that turned out to be worth it, once.
// It may be called during a call only, since Serve waits for calls.
func (e *Engine) startCompiling(m *module) {
	m.compile.Do(func() {
		e.tasks.Go(func() {
			defer close(m.compiled)
			e.compile(m)
		})
	})
}

// compile makes the program of machine code, after which the interpreted one is not
// needed. A module that does not compile stays interpreted.
func (e *Engine) compile(m *module) {
	e.compilers <- struct{}{}
	defer func() { <-e.compilers }()
	e.mu.Lock()
	wanted := !m.retired
	e.mu.Unlock()
	if !wanted {
		return
	}
	started := time.Now()
	p, err := e.machineCode(m.source)
	e.metrics.observe(compiler, started, err)
	if err != nil {
		e.opt.Logger.Warn("a module runs without machine code", "error", err)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.retired {
		e.drop(p)
		return
	}
	interpreted := m.interpreted
	m.machine, m.interpreted = p, nil
	e.drop(interpreted)
	e.resize(m, machineBytes)
}

// machineCode tries again without the disk, which may be full or hold what is broken.
func (e *Engine) machineCode(s source) (p *program, err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("compile: %v", caught)
		}
	}()
	if p, err = newMachineCode(s, e.cache); err == nil {
		return p, nil
	}
	e.opt.Logger.Warn("compile a module", "error", err)
	return newMachineCode(s, wazero.NewCompilationCache())
}

func newMachineCode(s source, cache wazero.CompilationCache) (*program, error) {
	r, err := newRuntime(compiler, cache)
	if err != nil {
		return nil, err
	}
	return newProgram(s, compiler, r)
}

// use takes the module's best program, for drop to give back. It is nil where the
// module was retired.
func (e *Engine) use(m *module) *program {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := m.machine
	if p == nil {
		p = m.interpreted
		m.uses++
		if m.uses == hot {
			e.startCompiling(m)
		}
	}
	if p != nil {
		p.users++
	}
	return p
}

// retire lets go of a module that is not held any more, with the lock held.
func (e *Engine) retire(m *module) {
	m.retired = true
	e.bytes -= m.size
	e.drop(m.interpreted)
	e.drop(m.machine)
	m.interpreted, m.machine = nil, nil
}

// drop gives a program back, with the lock held. Its last user closes it.
func (e *Engine) drop(p *program) {
	if p == nil {
		return
	}
	if p.users--; p.users == 0 {
		p.close()
	}
}
