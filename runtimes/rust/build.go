package rust

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"envoke/internal/compile"
	"envoke/internal/faas"
	"envoke/runtimes/fault"
	"envoke/runtimes/sandbox"
)

// job is what one build compiles.
type job struct {
	source string
	form   Form
	debug  bool
}

// byteOrderMark is what the compiler skips in a file, at its beginning only.
const byteOrderMark = "\uFEFF"

// newJob reads what the options ask of a build; the memory limit is of a call.
func newJob(source string, options compile.Options) (job, error) {
	if len(options.Features) > 0 {
		return job{}, invalid("compile_options.features: Rust source is compiled as it is, without features to choose from")
	}
	source = strings.TrimPrefix(source, byteOrderMark)
	level := options.OptimizationLevel
	return job{source: source, form: FormOf(source), debug: level != nil && *level == "debug"}, nil
}

// invalid is an error of the source's.
func invalid(message string) *faas.Error {
	return &faas.Error{
		Code:    faas.InitializationError,
		Message: message,
		Details: map[string]any{"component": faas.InFunction},
	}
}

// buildArgs are what the compiler is told, but for the crate's root. One unit of code makes
// the same module of the same source, whatever the machine has of cores.
func buildArgs(t Toolchain, crates string, j job) []string {
	args := []string{
		"--sysroot", t.Sysroot, "--target", t.Target, "--crate-type", "bin", "--crate-name", "function", "--edition", "2021",
		"-C", "linker=" + t.Linker, "-C", "linker-flavor=wasm-ld", "-C", "strip=debuginfo", "-C", "codegen-units=1",
		"--error-format=json", "-A", "warnings", "-L", "dependency=" + crates, "-o", moduleFile,
	}
	if j.debug {
		args = append(args, "-C", "opt-level=0", "-C", "debug-assertions=on")
	} else {
		args = append(args, "-C", "opt-level=3")
	}
	return append(args, externs(crates, forFunctions)...)
}

// maxOutput is how much of what a compiler prints is read, in bytes: the rest is discarded.
const maxOutput = 1 << 20

// compile runs the compiler behind its walls until it has ended, at the latest when the
// context ends.
func (b *Builder) compile(ctx context.Context, j job) ([]byte, error) {
	files, root := wrapped(j.form, j.source)
	t := b.opt.Toolchain
	output, printed, err := os.Pipe()
	if err != nil {
		return nil, broken(err)
	}
	defer func() { _ = output.Close() }()
	process, err := b.spawner.Start(sandbox.Program{
		Argv: append(append([]string{t.Rustc}, buildArgs(t, b.opt.CratesDir, j)...), root), Env: t.env(),
		Output: printed, Input: files,
	})
	_ = printed.Close()
	if err != nil {
		return nil, broken(err)
	}
	left, err := b.await(ctx, process, output)
	switch {
	case b.isStopped():
		return nil, fault.Stopping
	case ctx.Err() != nil:
		return nil, errLate(b.opt.Timeout)
	case err != nil:
		return nil, broken(err)
	case !left.state.Success():
		return nil, b.explain(j, left)
	case len(left.module) > b.opt.MaxModule:
		return nil, invalid(fmt.Sprintf("the code compiles to a module of more than %d bytes", b.opt.MaxModule))
	case len(left.module) == 0:
		return nil, broken(fmt.Errorf("the compiler made no module: %.2000s", left.text))
	}
	return left.module, nil
}

// left is what a compiler leaves behind.
type left struct {
	text, module []byte
	state        *os.ProcessState
	starved      bool // the kernel has ended it for its memory
}

// await kills the process when the context ends, with all that it started.
func (b *Builder) await(ctx context.Context, p *sandbox.Process, output *os.File) (l left, err error) {
	exited := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-ctx.Done():
			_ = p.Kill()
		case <-exited:
		}
	})
	l.text, _ = io.ReadAll(io.LimitReader(output, maxOutput))
	_, _ = io.Copy(io.Discard, output)
	p.Exited()
	close(exited)
	watch.Wait()
	_ = p.Kill() // what it started and left, if anything
	module, missing := p.ReadFile(moduleFile, int64(b.opt.MaxModule)+1)
	l.module = module
	if l.state, err = p.Wait(); err == nil && l.state.Success() {
		err = missing
	}
	l.starved = p.OutOfMemory()
	return l, err
}

// broken says that the source was not compiled, for no fault of its own.
func broken(err error) *faas.Error {
	e := fault.Unavailable("the compiler could not be run; the log of the runtime host has the reason")
	e.Err = err
	return e
}

// how tells how a compiler ended that printed no error.
func how(state *os.ProcessState) string {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return "signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit code %d", state.ExitCode())
}

// relative takes what is the host's out of a compiler's words.
func (b *Builder) relative() []string {
	t := b.opt.Toolchain
	return []string{b.opt.CratesDir, "crates", filepath.Dir(t.Linker) + "/", "", t.Sysroot, "rust"}
}
