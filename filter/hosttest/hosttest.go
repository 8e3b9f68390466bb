// Package hosttest runs a compiled filter as Envoy does, with a host.Fake for Envoy.
package hosttest

import (
	"context"
	"os"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Filter is a module that Envoy would have loaded.
type Filter struct {
	t      testing.TB
	module api.Module
}

// Load starts a module, until the test ends.
func Load(t testing.TB, code []byte) *Filter {
	t.Helper()
	ctx := context.Background() // the test's own ends before its cleanup
	// Compiling all of Go's runtime takes longer than a test runs in it.
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { _ = runtime.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, runtime)
	env := runtime.NewHostModuleBuilder("env")
	for name, call := range calls() {
		env.NewFunctionBuilder().WithFunc(call).Export(name)
	}
	if _, err := env.Instantiate(ctx); err != nil {
		t.Fatalf("offer Envoy's functions: %v", err)
	}
	// Envoy has Go's random numbers, clock and standard error too.
	config := wazero.NewModuleConfig().WithStartFunctions("_initialize").WithStderr(os.Stderr)
	module, err := runtime.InstantiateWithConfig(ctx, code, config)
	if err != nil {
		t.Fatalf("load the filter: %v", err)
	}
	return &Filter{t: t, module: module}
}

// Exports are the names of what Envoy can call.
func (f *Filter) Exports() (names []string) {
	for name := range f.module.ExportedFunctionDefinitions() {
		names = append(names, name)
	}
	return names
}

// Call calls a callback, such as proxy_on_request_headers with the stream's id, the
// number of headers, and whether the request ends with them.
func (f *Filter) Call(callback string, params ...uint64) uint64 {
	f.t.Helper()
	results, err := f.module.ExportedFunction(callback).Call(context.Background(), params...)
	if err != nil {
		f.t.Fatalf("%s: %v", callback, err)
	}
	if len(results) == 0 {
		return 0
	}
	return results[0]
}
