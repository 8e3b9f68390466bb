package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
	"envoke/runtimes/rust"
	"envoke/runtimes/wasm"
)

// noCompiler is what callers are told of a compiler that was not found: why is the operator's
// to know, since it may hold folders of the machine and what a rustup there says.
const noCompiler = "there is no Rust compiler that makes WebAssembly, and the log of the runtime host says why: " + rust.HowToInstall

// openRust opens what runs WebAssembly modules, with its machine code in the cache folder,
// and what makes them of Rust source, where there is a compiler.
func openRust(ctx context.Context, e *environment, control *grpc.ClientConn) (engine, error) {
	c := e.config
	options := wasm.Options{
		CacheDir:  filepath.Join(c.CacheDir, "wasm"),
		MaxModule: c.MaxModuleSize, MaxSource: c.MaxScriptSize, MaxMemory: c.WorkerMemoryMB << 20, MaxResult: maxResult,
		Concurrency:    c.WorkerConcurrency,
		CompileTimeout: time.Duration(c.WASMCompileTimeoutSeconds) * time.Second,
		Logger:         e.logger, Registerer: e.metrics,
		Log: e.logLine,
	}
	found, err := rust.Find(ctx, c.Rustc)
	if err != nil {
		e.logger.Info("Rust source cannot be compiled here; WebAssembly modules run", "reason", err.Error())
		options.NoBuilder = noCompiler
		return wasm.Open(options)
	}
	e.logger.Debug("Rust source is compiled", "rustc", found.Rustc, "version", found.Version, "target", found.Target)
	builder, err := openBuilder(e, found, bundle.NewModules(control))
	if err != nil {
		return nil, err
	}
	options.Builder = builder
	runner, err := wasm.Open(options)
	if err != nil {
		return nil, err
	}
	return &rustEngine{Engine: runner, builder: builder}, nil
}

// openBuilder opens what compiles Rust source, behind the walls that workers have.
func openBuilder(e *environment, found rust.Toolchain, shared rust.Modules) (*rust.Builder, error) {
	c := e.config
	crates := filepath.Join(e.workers, "rust-crates")
	if err := os.Mkdir(crates, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the crates' folder: %w", err)
	}
	walls, err := e.walls(faas.Rust, rust.Files(found, crates))
	if err != nil {
		return nil, err
	}
	return rust.Open(rust.Options{
		Toolchain: found, CacheDir: filepath.Join(c.CacheDir, "rust"), CratesDir: crates, Sandbox: walls,
		Timeout: time.Duration(c.WASMCompileTimeoutSeconds) * time.Second, MaxModule: c.MaxModuleSize,
		Modules: shared, Logger: e.logger, Registerer: e.metrics,
	})
}

// rustEngine is the engine of modules with the builder that it stands on.
type rustEngine struct {
	*wasm.Engine
	builder *rust.Builder
}

// Serve serves both.
func (r *rustEngine) Serve(ctx context.Context) error {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return r.builder.Serve(ctx) })
	both.Go(func() error { return r.Engine.Serve(ctx) })
	return both.Wait()
}
