package main

import (
	"path/filepath"
	"time"

	"envoke/runtimes/pool"
	"envoke/runtimes/wasm"
)

// newWasmEngine opens what runs WebAssembly modules, with its machine code in the cache
// folder.
func newWasmEngine(e *environment) (*wasm.Engine, error) {
	c := e.config
	return wasm.Open(wasm.Options{
		CacheDir:  filepath.Join(c.CacheDir, "wasm"),
		MaxModule: c.MaxModuleSize, MaxMemory: c.WorkerMemoryMB << 20, MaxResult: maxResult,
		Concurrency:    c.WorkerConcurrency,
		CompileTimeout: time.Duration(c.WASMCompileTimeoutSeconds) * time.Second,
		Logger:         e.logger, Registerer: e.metrics,
		Log: func(line pool.LogLine) { logLine(e.logger, line) },
	})
}
