package rust

import (
	"testing"

	"envoke/internal/testrig"
	"envoke/runtimes/conformance"
	"envoke/runtimes/pool"
	"envoke/runtimes/wasm"
)

// What is promised of every language holds for Rust source, compiled by a real compiler.
func TestConforms(t *testing.T) {
	b := serve(t, Options{})
	conformance.RunEngine(t, conformance.RustSource, func(maxResult int, log func(pool.LogLine), _ pool.Layers) conformance.Engine {
		e, err := wasm.Open(wasm.Options{MaxResult: maxResult, Log: log, Builder: b})
		if err != nil {
			t.Fatal(err)
		}
		testrig.Serve(t, e.Serve)
		return e
	})
}
