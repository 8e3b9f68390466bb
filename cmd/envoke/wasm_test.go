package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/migrations"
	"envoke/runtimes/pool"
)

// The settings' engine runs the seed, and says what it takes to compile Rust source.
func TestWasmEngine(t *testing.T) {
	var log bytes.Buffer
	config := &Config{Rustc: "/no/such/rustc", CacheDir: t.TempDir(), MaxModuleSize: 1 << 20, WASMCompileTimeoutSeconds: 10, WorkerMemoryMB: 16, WorkerConcurrency: 1}
	engine, err := openRust(t.Context(), &environment{config: config, logger: slog.New(slog.NewTextHandler(&log, nil)), metrics: prometheus.NewRegistry()}, testrig.Connect(t, "unix:/no/such/control"))
	if err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, engine.Serve)
	for _, seed := range migrations.Seeds() {
		if seed.Name.Language != faas.Rust {
			continue
		}
		result, err := engine.Invoke(t.Context(), pool.Work{Script: seed.Script}, pool.Invocation{
			Deadline: time.Now().Add(10 * time.Second), Params: []byte(`{"data":{},"rules":{}}`),
		})
		if want := `{"errors":[],"valid":true}`; err != nil || string(result.JSON) != want {
			t.Errorf("%s: %s, %v; want %s", seed.Name, result.JSON, err, want)
		}
	}
	_, err = engine.Check(t.Context(), faas.NewScript(faas.Rust, "1 + 1", nil))
	if e := faas.AsError(err); e.Code != faas.InitializationError || strings.Contains(e.Message, "/no/such") || !strings.Contains(e.Message, "rustup target add") {
		t.Errorf("without a compiler: %v", err)
	}
	if !strings.Contains(log.String(), "/no/such/rustc") {
		t.Errorf("the log does not say which compiler was not there: %s", &log)
	}
}
