// Package envoytest runs the pinned Envoy for tests: fetched once, on a port that
// the system chooses, in a short temporary folder, with its log printed when the
// test fails. Envoy is no optional tool: where it cannot be had, the test fails.
package envoytest

import (
	"context"
	"errors"
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
	dir, err := cacheDir()
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

func cacheDir() (string, error) {
	if dir := os.Getenv("ENVOKE_CACHE_DIR"); dir != "" {
		// A relative one is relative to the repository: tests run in many folders.
		if filepath.IsAbs(dir) {
			return dir, nil
		}
		root, err := repository()
		return filepath.Join(root, dir), err
	}
	root, err := repository()
	return filepath.Join(root, ".envoke", "cache"), err
}

func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working folder: set ENVOKE_CACHE_DIR")
		}
		dir = filepath.Dir(dir)
	}
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
