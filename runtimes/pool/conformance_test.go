package pool_test

import (
	"testing"

	"envoke/internal/testrig"
	"envoke/runtimes/conformance"
	"envoke/runtimes/pool"
)

// What a worker promises holds through the pool and in the sandbox too. The suite knows
// pools, so that it cannot be run from within their package.
func TestPoolConforms(t *testing.T) {
	for language, open := range pool.Runtimes {
		t.Run(string(language), func(t *testing.T) {
			runtime := open(t)
			conformance.RunEngine(t, runtime.Language, func(maxResult int, log func(pool.LogLine), layers pool.Layers) conformance.Engine {
				p := pool.New(pool.Options{Runtime: runtime, Idle: 2, MaxWorkers: 8, MaxResult: maxResult, Log: log, Layers: layers})
				testrig.Serve(t, p.Serve)
				return p
			})
		})
	}
}
