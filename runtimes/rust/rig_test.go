package rust

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"envoke/internal/compile"
	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/sandbox"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "--sysroot" { // it is called as a compiler
		<-time.NewTimer(time.Hour).C
		return
	}
	goleak.VerifyTestMain(m)
}

// toolchain is the one that tests compile with.
func toolchain(t testing.TB) Toolchain {
	t.Helper()
	found, err := Find(t.Context(), testrig.Rustc(t))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// cacheDir keeps the crates from one run of the tests to the next.
func cacheDir(t testing.TB) string {
	t.Helper()
	dir, err := testrig.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "rust")
}

// serve opens a builder that finds its crates in the tests' cache, and no modules.
func serve(t testing.TB, opt Options) *Builder {
	t.Helper()
	opt.Toolchain = toolchain(t)
	b := open(t, opt)
	b.cratesCache = cacheDir(t)
	if err := os.MkdirAll(b.cratesCache, 0o755); err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, b.Serve)
	return b
}

// serveEndless opens a builder whose compiler does not come to an end. It is this binary,
// whoever may see its folder.
func serveEndless(t testing.TB, opt Options) *Builder {
	t.Helper()
	const itself = "/proc/self/exe"
	opt.Toolchain = Toolchain{Rustc: itself, Linker: itself, Sysroot: "/nowhere"}
	b := open(t, opt)
	b.prepared = true
	testrig.Serve(t, b.Serve)
	return b
}

func open(t testing.TB, opt Options) *Builder {
	t.Helper()
	if opt.CacheDir == "" {
		opt.CacheDir = t.TempDir()
	}
	dir := testrig.OpenDir(t) // a build may have a user of its own, who must get to its folders
	opt.CratesDir = filepath.Join(dir, "crates")
	scratch := filepath.Join(dir, "scratch")
	for _, folder := range []string{opt.CratesDir, scratch} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	opt.Sandbox = sandbox.Config{Files: Files(opt.Toolchain, opt.CratesDir), Scratch: scratch}
	if opt.Sandbox.NoUsers() == "" {
		opt.Sandbox.Users = 65280
	}
	b, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ready tells whether the crates are there.
func (b *Builder) ready() bool {
	b.crates.Lock()
	defer b.crates.Unlock()
	return b.prepared
}

// build is given a minute, like callers.
func build(t testing.TB, b *Builder, source string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	module, _, err := b.Build(ctx, source, compile.Options{})
	return module, err
}

func wantFault(t testing.TB, err error, code faas.Code) *faas.Error {
	t.Helper()
	var e *faas.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want a %s", err, code)
	}
	return e
}
