package wasm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"envoke/runtimes/fault"
)

// tier is how a program is run.
type tier string

const (
	interpreter tier = "interpreter"
	compiler    tier = "compiler"
)

// program is a module in one tier, ready to be instantiated. It has a runtime of its
// own: a runtime remembers every type of function that it has seen, and only so do
// those of hostile modules go with them.
type program struct {
	tier     tier
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	memory   uint64 // bytes that an instance may have
	users    int    // guarded by the engine's mutex; the module is one
}

func (p *program) close() {
	if p == nil {
		return
	}
	ctx := context.Background()
	// Neither has anything to flush.
	_ = p.runtime.Close(ctx)
	if p.compiled != nil {
		_ = p.compiled.Close(ctx)
	}
}

// newRuntime makes a runtime that has WASI and no module yet.
func newRuntime(t tier, cache wazero.CompilationCache) (wazero.Runtime, error) {
	config := wazero.NewRuntimeConfigInterpreter()
	if t == compiler {
		config = wazero.NewRuntimeConfig() // the interpreter where it has no compiler
	}
	config = config.WithDebugInfoEnabled(false).WithCloseOnContextDone(true).WithCompilationCache(cache)
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, config)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		_ = r.Close(ctx)
		return nil, err
	}
	return r, nil
}

// newProgram decodes and validates a module and lowers it to the tier's code, in a runtime
// of that tier, which it closes where it fails. The error is a *faas.Error in the tier of
// the interpreter.
func newProgram(s source, t tier, r wazero.Runtime) (*program, error) {
	p := &program{tier: t, runtime: r, memory: s.memory, users: 1}
	var err error
	if p.compiled, err = r.CompileModule(context.Background(), s.wasm); err != nil {
		err = invalid("the module is not valid WebAssembly: " + err.Error())
	} else {
		err = p.check()
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// spareRuntime is a runtime for the next new module, with WASI in it, made while nobody
// waits for it.
func (e *Engine) spareRuntime() (wazero.Runtime, error) {
	select {
	case r := <-e.spare:
		return r, nil
	default:
		return newRuntime(interpreter, e.cache)
	}
}

// refill makes a spare runtime where there is none.
func (e *Engine) refill() {
	if len(e.spare) == cap(e.spare) {
		return
	}
	r, err := newRuntime(interpreter, e.cache)
	if err != nil {
		e.opt.Logger.Warn("make a runtime for the next module", "error", err)
		return
	}
	select {
	case e.spare <- r:
	default:
		_ = r.Close(context.Background()) // somebody else was faster
	}
}

// check refuses what is no WASI command, and what would fail in every call.
func (p *program) check() error {
	if err := checkImports(p.compiled, p.runtime.Module(wasi_snapshot_preview1.ModuleName)); err != nil {
		return err
	}
	exports := p.compiled.ExportedFunctions()
	start, isCommand := exports["_start"]
	switch {
	case !isCommand && exports["_initialize"] != nil:
		return invalid("the module is a WASI reactor (it exports _initialize): build a command, which exports _start")
	case !isCommand:
		return invalid("the module exports no function _start: build a WASI command, such as a program with a main function")
	case len(start.ParamTypes())+len(start.ResultTypes()) > 0:
		return invalid("_start has parameters or results: in a WASI command it has neither")
	}
	memory, ok := p.compiled.ExportedMemories()["memory"]
	if !ok {
		return invalid(`the module exports no memory called "memory", as a WASI command does`)
	}
	if least := uint64(memory.Min()) << pageBits; least > p.memory {
		return invalid(fmt.Sprintf("the module needs %d bytes of memory from the start: it may have %d", least, p.memory))
	}
	return nil
}

// checkImports names the first import that does not exist here.
func checkImports(compiled wazero.CompiledModule, wasi api.Module) error {
	known := wasi.ExportedFunctionDefinitions()
	for _, f := range compiled.ImportedFunctions() {
		from, name, _ := f.Import()
		have, ok := known[name]
		switch {
		case from != wasi_snapshot_preview1.ModuleName || !ok:
			return invalid(fmt.Sprintf("the module imports the function %.100q of %.100q, which does not exist here: only %s does",
				name, from, wasi_snapshot_preview1.ModuleName))
		case !slices.Equal(f.ParamTypes(), have.ParamTypes()) || !slices.Equal(f.ResultTypes(), have.ResultTypes()):
			return invalid(fmt.Sprintf("the module imports %s with another signature than it has", name))
		}
	}
	for _, m := range compiled.ImportedMemories() {
		from, name, _ := m.Import()
		return invalid(fmt.Sprintf("the module imports the memory %.100q of %.100q: a WASI command has its own", name, from))
	}
	return nil
}

// tryTimeout bounds what a module may do while it is instantiated: its start section.
const tryTimeout = 5 * time.Second

// try makes an instance and does not start it, which shows what else would fail in
// every call: imported tables and globals, data outside the memory.
func (e *Engine) try(p *program) error {
	limit := min(tryTimeout, e.opt.CompileTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	memory, err := e.memories.take(p.memory)
	if err != nil {
		return err
	}
	defer e.memories.give(memory)
	instance, err := p.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, memory), p.compiled,
		wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if instance != nil {
		_ = instance.Close(ctx)
	}
	var exit *sys.ExitError
	switch {
	case ctx.Err() != nil:
		return fault.LoadTimeout(limit)
	case errors.As(err, &exit): // of a start section, which runs with each instance
		return nil
	case err != nil:
		return invalid("the module cannot be instantiated: " + trapOf(err).text)
	}
	return nil
}
