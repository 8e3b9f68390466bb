package rust

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plant lays down what looks like a toolchain, and returns its compiler.
func plant(t *testing.T, release string, files ...string) string {
	t.Helper()
	root := t.TempDir()
	rustc := filepath.Join(root, "bin", "rustc")
	for _, file := range append(files, "bin/rustc") {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		script := "#!/bin/sh\ncase $1 in --print) echo " + root + ";; -vV) printf 'rustc\\nhost: a-host\\nrelease: " + release + "\\n';; *) exit 1;; esac\n"
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return rustc
}

const (
	newStd = "lib/rustlib/wasm32-wasip1/lib/libstd-1.rlib"
	oldStd = "lib/rustlib/wasm32-wasi/lib/libstd-1.rlib"
	ownLLD = "lib/rustlib/a-host/bin/rust-lld"
)

func TestFind(t *testing.T) {
	t.Setenv("PATH", "/bin:/usr/bin")
	for name, c := range map[string]struct {
		rustc          string
		target, linker string
	}{
		"of rustup":          {plant(t, "1.95.0", newStd, oldStd, ownLLD), "wasm32-wasip1", ownLLD},
		"of a distribution":  {plant(t, "1.63.0", oldStd, "bin/wasm-ld-14"), "wasm32-wasi", "bin/wasm-ld-14"},
		"with LLVM's folder": {plant(t, "1.63.0", oldStd, "lib/llvm-14/bin/wasm-ld"), "wasm32-wasi", "lib/llvm-14/bin/wasm-ld"},
	} {
		root := filepath.Dir(filepath.Dir(c.rustc))
		// A shim elsewhere leads to it.
		shim := filepath.Join(t.TempDir(), "rustc")
		if err := os.WriteFile(shim, []byte("#!/bin/sh\nexec "+c.rustc+" \"$@\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, asked := range []string{c.rustc, shim} {
			found, err := Find(t.Context(), asked)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			got := []string{found.Rustc, found.Target, found.Linker, found.Sysroot}
			if diff := cmp.Diff([]string{c.rustc, c.target, filepath.Join(root, c.linker), root}, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

// TestNotFound: each is one line that says what to do.
func TestNotFound(t *testing.T) {
	empty := t.TempDir()
	t.Setenv("PATH", empty)
	broken := filepath.Join(empty, "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho it is broken >&2; exit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ asked, want string }{
		{"", "no rustc on PATH"},
		{"/no/such/rustc", `RUSTC is "/no/such/rustc", where there is no program`},
		{broken, "does not run as a Rust compiler (exit status 1: it is broken)"},
		{plant(t, "1.62.1", newStd, ownLLD), "is Rust 1.62.1"},
		{plant(t, "1.95.0", ownLLD), "(Rust 1.95.0) has no target wasm32-wasip1"},
		{plant(t, "1.95.0", newStd), "(Rust 1.95.0) has no linker for WebAssembly"},
	} {
		_, err := Find(t.Context(), c.asked)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "rustup target add") {
			t.Errorf("%q: %v, want %s", c.asked, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than a line: %v", err)
		}
	}
}

// Crates of one compiler are of no use to another.
func TestIdentity(t *testing.T) {
	seen := map[string]bool{}
	rustc := plant(t, "1.63.0", newStd, ownLLD)
	for _, change := range []string{"", "# patched\n"} {
		file, err := os.OpenFile(rustc, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteString(change)
		_ = file.Close()
		if err != nil {
			t.Fatal(err)
		}
		found, err := Find(t.Context(), rustc)
		if err != nil {
			t.Fatal(err)
		}
		seen[found.identity] = true
	}
	if len(seen) != 2 {
		t.Errorf("two compilers are called %v", seen)
	}
}
