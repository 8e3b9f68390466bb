package rust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"envoke/internal/compile"
	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
	"envoke/runtimes/wasm"
)

// What is compiled can read the toolchain, and no file of anybody's. It sees nothing of the
// host's environment.
func TestBuildsSeeNothing(t *testing.T) {
	b := serve(t, Options{})
	t.Setenv("ENVOKE_TEST_SECRET", "a secret of the host's")
	secret := filepath.Join(testrig.OpenDir(t), "secret")
	if err := os.WriteFile(secret, []byte("a secret of the host's"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{
		"a file of the system's":      `include_str!("/etc/passwd")`,
		"its shadow":                  `include_bytes!("/etc/shadow")`,
		"a file that all may read":    fmt.Sprintf(`include_str!(%q)`, secret),
		"code":                        fmt.Sprintf(`include!(%q)`, secret),
		"a module":                    "#[path = \"/etc/passwd\"]\nmod m;\nfn main() {}",
		"processes":                   `include_str!("/proc/self/environ")`,
		"the host's process":          fmt.Sprintf(`include_str!("/proc/%d/environ")`, os.Getpid()),
		"the host's environment":      `env!("ENVOKE_TEST_SECRET")`,
		"the crate's manifest":        `env!("CARGO_MANIFEST_DIR")`,
		"the name of the host's user": `env!("USER")`,
		"a folder above its own":      `include_str!("../../../../../../../etc/passwd")`,
		"a library for the linker":    "#[link(name = \"secret\", kind = \"static\")]\nextern \"C\" {}\nfn main() {}",
	} {
		_, err := build(t, b, source)
		f := wantFault(t, err, faas.InitializationError)
		if text := string(f.Body(faas.InRuntime, "r")); strings.Contains(text, "a secret") || strings.Contains(text, "root:") {
			t.Errorf("%s: the caller sees %s", name, text)
		}
		wantNoFolders(t, b, name, f)
	}
	if _, err := build(t, b, `option_env!("ENVOKE_TEST_SECRET").is_none() as u8`); err != nil {
		t.Error(err)
	}
}

func wantNoFolders(t *testing.T, b *Builder, name string, f *faas.Error) {
	t.Helper()
	text := string(f.Body(faas.InRuntime, "r"))
	for _, own := range []string{b.opt.CratesDir, b.opt.CacheDir, b.cratesCache, b.opt.Toolchain.Sysroot, filepath.Dir(b.opt.Toolchain.Linker), b.opt.Sandbox.Scratch} {
		if own != "/usr" && strings.Contains(text, own) {
			t.Errorf("%s: the caller sees the host's folder %s: %s", name, own, text)
		}
	}
}

// An error that shows what the crates and the standard library say names the user's line, and
// none of the host's folders.
func TestErrorsOfLibrariesNameNoFolders(t *testing.T) {
	b := serve(t, Options{})
	for name, c := range map[string]struct {
		source string
		line   int
	}{
		"a trait of serde":        {"struct S;\nserde_json::to_string(&S).unwrap()", 2},
		"a function of serde's":   {"let n = 1;\nserde_json::from_str::<u8>(n, n).unwrap()", 2},
		"of the standard library": {"let a: u8 = 1;\nlet v: Vec<u8> = \"x\".into_iter().collect();\nv", 2},
		"a macro of serde's":      {"let a = 1;\nserde_json::json!({ \"a\": b })", 2},
		"a private one":           {"let a = std::collections::HashMap::<u8, u8>::new();\na.base", 2},
	} {
		_, err := build(t, b, c.source)
		f := wantFault(t, err, faas.InitializationError)
		wantNoFolders(t, b, name, f)
		if f.Details["line"] != c.line {
			t.Errorf("%s: line %v, want %d: %v", name, f.Details["line"], c.line, f.Details["stack_trace"])
		}
	}
}

// What a build may take is bounded, and the next one works.
func TestBuildsAreBounded(t *testing.T) {
	b := serve(t, Options{Timeout: 20 * time.Second, MemoryMB: 256})
	for name, c := range map[string]struct{ source, want string }{
		"an endless constant": {
			"const fn f() -> u64 { let mut n = 0u64; loop { n = n.wrapping_add(1); if n == u64::MAX { return n } } }\nconst N: u64 = f();\nN", "",
		},
		"a macro that doubles itself": {
			"macro_rules! m { ($($t:tt)*) => { m!($($t)* $($t)*) } }\nm!(1 1 1 1)", "",
		},
		"memory":               {"static BIG: [u64; 1 << 30] = [7; 1 << 30];\nBIG[params.as_u64().unwrap() as usize]", ""},
		"types without an end": {"fn f<T>(t: T) -> u8 { f((t, 1)) }\nf(1)", "reached the recursion limit"},
	} {
		started := time.Now()
		_, err := build(t, b, c.source)
		f := wantFault(t, err, faas.InitializationError)
		t.Logf("%s: after %v: %.200s", name, time.Since(started), f.Message)
		if !strings.Contains(f.Message, c.want) {
			t.Errorf("%s: %s, want %s", name, f.Message, c.want)
		}
		if took := time.Since(started); took > 40*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
	}
	if _, err := build(t, b, "1"); err != nil {
		t.Error(err)
	}
}

// Equal sources are compiled once, at the same time and later, by this process and the next.
func TestEqualSourcesAreBuiltOnce(t *testing.T) {
	registry, cache := prometheus.NewRegistry(), t.TempDir()
	b := serve(t, Options{CacheDir: cache, Registerer: registry})
	modules := make([][]byte, 8)
	var calls sync.WaitGroup
	for i := range modules {
		calls.Go(func() {
			var err error
			if modules[i], err = build(t, b, "1 + 1"); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if _, err := build(t, b, "1 + 1"); err != nil {
		t.Error(err)
	}
	next := serve(t, Options{CacheDir: cache})
	if module, err := build(t, next, "1 + 1"); err != nil || string(module) != string(modules[7]) {
		t.Errorf("another module: %v", err)
	}
	if got := testutil.ToFloat64(b.metrics.builds.WithLabelValues("ok")); got != 1 {
		t.Errorf("%v builds", got)
	}
	if got := testutil.ToFloat64(next.metrics.hits); got != 1 {
		t.Errorf("the next process found %v in the cache", got)
	}
	for _, c := range []struct{ source, level string }{{"1 + 2", "release"}, {"1 + 1", "debug"}} {
		if _, _, err := b.Build(t.Context(), c.source, compile.Options{OptimizationLevel: &c.level}); err != nil {
			t.Error(err)
		}
	}
	if got := testutil.ToFloat64(b.metrics.builds.WithLabelValues("ok")); got != 3 {
		t.Errorf("%v builds", got)
	}
}

// The examples of docs/rust.md compile.
func TestDocumentedForms(t *testing.T) {
	text, err := os.ReadFile("../../docs/rust.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(text), "```rust\n")[1:]
	if len(examples) != 2 {
		t.Fatalf("%d examples", len(examples))
	}
	b := serve(t, Options{})
	for i, want := range []Form{Fragment, Handler} {
		source, _, _ := strings.Cut(examples[i], "```")
		_, form, err := b.Build(t.Context(), source, compile.Options{})
		if err != nil || form != string(want) {
			t.Errorf("%s: %s, %v", source, form, err)
		}
	}
}

// debug finds an overflow that release lets pass.
func TestOptimizationLevel(t *testing.T) {
	b := serve(t, Options{})
	e, err := wasm.Open(wasm.Options{Builder: b})
	if err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, e.Serve)
	for level, want := range map[string]string{"debug": "attempt to add with overflow", "release": ""} {
		options := json.RawMessage(`{"optimization_level":"` + level + `"}`)
		script := faas.NewScript(faas.Rust, "params.as_u64().unwrap() as u8 + 1", options)
		result, err := e.Invoke(t.Context(), pool.Work{Script: script}, pool.Invocation{Deadline: time.Now().Add(time.Minute), Params: []byte("255")})
		if want == "" {
			if err != nil || string(result.JSON) != "0" {
				t.Errorf("%s: %s, %v", level, result.JSON, err)
			}
			continue
		}
		if f := wantFault(t, err, faas.RuntimeError); f.Message != want {
			t.Errorf("%s: %v", level, f)
		}
	}
}

// The same source is the same module, wherever it is built.
func TestModulesAreReproducible(t *testing.T) {
	var modules []string
	for range 2 {
		module, err := build(t, serve(t, Options{}), `println!("{params}"); json!([1, context])`)
		if err != nil {
			t.Fatal(err)
		}
		modules = append(modules, string(module))
	}
	if modules[0] != modules[1] {
		t.Error("two builders made two modules")
	}
}

// The cache is bounded while it is used, and keeps what was asked for last.
func TestCacheIsBounded(t *testing.T) {
	b := open(t, Options{MaxCache: 1 << 10})
	for n := range 100 {
		b.keep(fmt.Sprint(n), make([]byte, 100))
	}
	var size int64
	files, err := os.ReadDir(b.modulesDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > b.opt.MaxCache*9/8 {
		t.Errorf("%d files of %d bytes", len(files), size)
	}
	if _, ok := b.cached("99"); !ok {
		t.Error("the newest is gone")
	}
}

// Who finds the queue full is told to come again.
func TestQueueIsBounded(t *testing.T) {
	b := serveEndless(t, Options{Builds: 1, Queue: 1})
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for n := range 2 {
		calls.Go(func() {
			_, _, err := b.Build(ctx, fmt.Sprint(n), compile.Options{})
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	testrig.Eventually(t, "one is built and one waits", func() bool { return len(b.turns) == 1 && b.waiting.Load() == 1 })
	_, err := build(t, b, "2")
	if f := wantFault(t, err, faas.RateLimited); f.Message != "too many builds are waiting" || f.Details["retry_after_seconds"] != 1 {
		t.Error(f, f.Details)
	}
	cancel()
	calls.Wait()
}

// A builder that ends while it builds kills the compiler.
func TestStops(t *testing.T) {
	stopped := make(chan error, 1)
	t.Cleanup(func() { // after Serve's end
		_ = wantFault(t, <-stopped, faas.Unavailable)
		if left := compilers(t); len(left) > 0 {
			t.Errorf("processes %v are left", left)
		}
	})
	b := serveEndless(t, Options{})
	go func() {
		_, _, err := b.Build(context.Background(), "1", compile.Options{})
		stopped <- err
	}()
	testrig.Eventually(t, "the compiler runs", func() bool { return len(compilers(t)) > 0 })
}

// compilers are this process's children.
func compilers(t *testing.T) []string {
	t.Helper()
	var all []string
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		children, _ := os.ReadFile(task) // a thread that ends has none
		all = append(all, strings.Fields(string(children))...)
	}
	return all
}

// A build that takes too long is killed.
func TestLateBuilds(t *testing.T) {
	b := serveEndless(t, Options{Timeout: 200 * time.Millisecond})
	_, err := build(t, b, "1")
	if f := wantFault(t, err, faas.InitializationError); f.Details["timeout_ms"] != int64(200) {
		t.Error(f, f.Details)
	}
	testrig.Eventually(t, "its turn is free again", func() bool { return len(b.turns) == 0 })
}

// A real compiler is killed, too, whatever it is at.
func TestLateCompiler(t *testing.T) {
	b := serve(t, Options{Timeout: 100 * time.Millisecond})
	testrig.Eventually(t, "the crates are there", b.ready)
	_, err := build(t, b, "json!([1, 2.5, params, context]).to_string()")
	_ = wantFault(t, err, faas.InitializationError)
}

func TestFeaturesAreRefused(t *testing.T) {
	b := &Builder{}
	_, _, err := b.Build(t.Context(), "1", compile.Options{Features: []string{"derive"}})
	if f := wantFault(t, err, faas.InitializationError); !strings.Contains(f.Message, "compile_options.features") {
		t.Error(f)
	}
}
