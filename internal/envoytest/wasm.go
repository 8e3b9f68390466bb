package envoytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Wasm compiles a filter, the main package in a folder, as `make filter` does.
func Wasm(t testing.TB, dir string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "filter.wasm")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-buildmode=c-shared", "-o", out, ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", dir, err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return module
}
