package testrig

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// CacheDir is where tests find what is fetched: ENVOKE_CACHE_DIR, else the repository's
// .envoke/cache.
func CacheDir() (string, error) {
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

// Rustc is the Rust compiler for tests: RUSTC, or the pinned one that `make rust` fetches.
// Where there is none the test is skipped; under CI it fails.
func Rustc(t testing.TB) string {
	t.Helper()
	if asked := os.Getenv("RUSTC"); asked != "" {
		path, err := exec.LookPath(asked)
		if err != nil {
			t.Fatalf("RUSTC: %v", err)
		}
		return path
	}
	dir, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "rust-1.63.0", "usr", "bin", "rustc")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	const missing = "no Rust compiler that makes WebAssembly: `make rust` fetches one where apt-get has Debian 12's packages; or set RUSTC"
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
