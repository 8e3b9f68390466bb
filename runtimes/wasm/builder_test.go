package wasm

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"envoke/internal/compile"
	"envoke/internal/faas"
	"envoke/runtimes/conformance"
	"envoke/runtimes/frame"
	"envoke/runtimes/pool"
)

// builderFunc is a Builder.
type builderFunc func(source string, options compile.Options) ([]byte, error)

func (f builderFunc) Build(_ context.Context, source string, options compile.Options) (module []byte, form string, err error) {
	module, err = f(source, options)
	return module, "handler", err
}

// Source is built once, for all who want it, and what was built runs as what was sent does.
func TestSourceIsBuilt(t *testing.T) {
	probe, err := base64.StdEncoding.DecodeString(conformance.Module(t, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	var built []string
	e := serve(t, Options{Builder: builderFunc(func(source string, options compile.Options) ([]byte, error) {
		built = append(built, source+" "+*options.OptimizationLevel)
		return probe, nil
	})})
	w := pool.Work{Script: faas.NewScript(faas.Rust, "fn handler() {}", json.RawMessage(`{"optimization_level":"debug","memory_limit_mb":2}`))}
	if form, err := e.Check(t.Context(), w.Script); err != nil || form != (frame.Form{Form: "handler"}) {
		t.Errorf("%v, %v", form, err)
	}
	if got, err := invoke(t, e, w, "print [1]"); err != nil || string(got.JSON) != "[1]" {
		t.Errorf("%s, %v", got.JSON, err)
	}
	_, err = invoke(t, e, w, "allocate 4")
	if f := wantFault(t, err, faas.ResourceExhausted); f.Details["limit_mb"] != 2 {
		t.Errorf("the memory's limit is not kept: %v", f.Details)
	}
	if len(built) != 1 || built[0] != "fn handler() {} debug" {
		t.Errorf("built %q", built)
	}
}

// What a builder refuses is what the caller is told, and what it makes is checked like any
// module.
func TestSourceThatIsRefused(t *testing.T) {
	refused := &faas.Error{Code: faas.InitializationError, Message: "it does not compile"}
	for name, c := range map[string]struct {
		source string
		module []byte
		err    error
		code   faas.Code
		want   string
	}{
		"by the builder": {"fn main() {", nil, refused, faas.InitializationError, "it does not compile"},
		"no module":      {"fn main() {}", []byte("x"), nil, faas.InitializationError, "this is no WebAssembly module"},
		"a large module": {"fn main() {}", make([]byte, 2000), nil, faas.PayloadTooLarge, "the module is larger than 1000 bytes"},
		"too long":       {strings.Repeat(" ", 101), nil, errors.New("built"), faas.PayloadTooLarge, "script_content is larger than 100 bytes"},
	} {
		e := serve(t, Options{MaxSource: 100, MaxModule: 1000, Builder: builderFunc(func(string, compile.Options) ([]byte, error) { return c.module, c.err })})
		_, err := e.Check(t.Context(), faas.NewScript(faas.Rust, c.source, nil))
		if f := wantFault(t, err, c.code); !strings.HasPrefix(f.Message, c.want) {
			t.Errorf("%s: %s, want %s", name, f.Message, c.want)
		}
		if got := e.Stats().Loaded; got != 0 {
			t.Errorf("%s: %d modules are held", name, got)
		}
	}
}

// A panic of a function that was built tells its place, wherever it was printed.
func TestPanics(t *testing.T) {
	for stderr, want := range map[string]bool{
		"panicked at function.rs:2:3:\nno":                                  true,
		"before\npanicked at function.rs:2:3:\nno":                          true,
		"panicked at function.rs:1:1:\na\npanicked at function.rs:2:3:\nno": true,
		"panicked at main.rs:2:3:\nno":                                      false,
		"not panicked at function.rs:2:3:\nno":                              false,
	} {
		if got := panicked.MatchString(stderr); got != want {
			t.Errorf("%q: %v", stderr, got)
			continue
		}
		if !want {
			continue
		}
		if f := thrownByPanic(stderr); f.Message != "no" || f.Details["line"] != 2 || f.Details["column"] != 3 || f.Details["type"] != "Panic" {
			t.Errorf("%q: %v %v", stderr, f, f.Details)
		}
	}
}
