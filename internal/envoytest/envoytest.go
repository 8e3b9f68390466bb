// Package envoytest runs the pinned Envoy for tests: fetched once, on a port that
// the system chooses, in a short temporary folder, with its log printed when the
// test fails. Envoy is no optional tool: where it cannot be had, the test fails.
package envoytest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"envoke/envoy"
	"envoke/internal/testrig"
)

const (
	fetchTimeout = 5 * time.Minute
	startTimeout = 30 * time.Second
)

// Envoy is a running Envoy.
type Envoy struct {
	*envoy.Process
	Addr string // host:port of the listener
	Dir  string // its folder, which ends with the test
}

// Options says which Envoy a test wants.
type Options struct {
	Control  string // Unix socket of the ADS server
	Listener string // name of the listener whose address is wanted
	NodeID   string // empty: "test"
}

var binary = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	if own := os.Getenv("ENVOY"); own != "" {
		return own, envoy.Check(ctx, own)
	}
	dir, err := testrig.CacheDir()
	if err != nil {
		return "", err
	}
	return envoy.Fetch(ctx, dir, os.Getenv("PYTHON"))
})

// Binary returns the pinned Envoy, which it fetches into ENVOKE_CACHE_DIR, else
// into the repository's .envoke/cache. ENVOY names another binary.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatalf("tests need Envoy: %v", err)
	}
	return path
}

// Start runs Envoy until the test ends and waits until it serves.
func Start(t testing.TB, o Options) *Envoy {
	t.Helper()
	dir := testrig.Dir(t)
	log := new(testrig.Text)
	if o.NodeID == "" {
		o.NodeID = "test"
	}
	process := envoy.New(envoy.Options{
		Binary:      Binary(t),
		Dir:         dir,
		Concurrency: 1,
		Logger:      slog.New(slog.NewTextHandler(log, nil)),
		Bootstrap: envoy.Bootstrap{
			NodeID:        o.NodeID,
			ControlSocket: o.Control,
			AdminSocket:   filepath.Join(dir, "admin.sock"),
		},
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Envoy's log:\n%s", log)
		}
	})
	testrig.Serve(t, process.Serve)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := process.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	addr, err := process.ListenerAddr(ctx, o.Listener)
	if err != nil {
		t.Fatal(err)
	}
	return &Envoy{Process: process, Addr: addr, Dir: dir}
}
