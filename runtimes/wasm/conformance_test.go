package wasm

import (
	"testing"

	"envoke/internal/faas"
	"envoke/runtimes/conformance"
	"envoke/runtimes/pool"
)

// What is promised of every language holds in both tiers: the first call of a module is
// interpreted, and the suite's second mostly is not.
func TestConforms(t *testing.T) {
	conformance.RunEngine(t, faas.Rust, func(maxResult int, log func(pool.LogLine), _ pool.Layers) conformance.Engine {
		return serve(t, Options{MaxResult: maxResult, Log: log})
	})
}
