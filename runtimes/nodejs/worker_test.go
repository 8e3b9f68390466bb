package nodejs

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/runtimes/conformance"
	"envoke/runtimes/frame"
	"envoke/runtimes/interpreter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWorkerConforms(t *testing.T) {
	command := prepare(t, 0)
	conformance.Run(t, faas.NodeJS, func(t *testing.T) conformance.Worker { return start(t, command) })
}

func TestFrames(t *testing.T) { conformance.RunFrames(t, programs(t)) }

func BenchmarkInvoke(b *testing.B) {
	conformance.Benchmark(b, programs(b), map[string]string{
		"fragment": `return {sum: params.a + params.b}`,
		"commonjs": `module.exports = (event) => ({sum: event.params.a + event.params.b})`,
		"log":      `console.log('hello'); return 1`,
	})
}

func programs(t testing.TB) conformance.Programs {
	t.Helper()
	return conformance.Programs{
		Command: prepare(t, 0), Filename: "function.js",
		Echo:  map[string]string{"concurrent": `return params`},
		Delay: `await new Promise((resolve) => setTimeout(resolve, params)); console.log(params); return params`,
		Throw: `throw new Error('é'.repeat(1e6))`,
	}
}

// findNode finds the Node.js under test once: NODE, else the one on PATH.
var findNode = sync.OnceValues(func() (interpreter.Interpreter, error) {
	return Find(context.Background(), os.Getenv("NODE"))
})

func prepare(t testing.TB, memoryMB int) interpreter.Command {
	t.Helper()
	node, err := findNode()
	if err != nil {
		t.Fatal(err)
	}
	command, err := Prepare(t.TempDir(), node, memoryMB)
	if err != nil {
		t.Fatal(err)
	}
	return command
}

func start(t testing.TB, command interpreter.Command) *conformance.Process {
	t.Helper()
	return conformance.Start(t, command.Argv, command.Env)
}

// load starts a worker with the given code.
func load(t *testing.T, source string) *conformance.Process {
	t.Helper()
	w := start(t, prepare(t, 0))
	if got := w.Load(t, frame.Code{Filename: "function.js", Source: source, MaxResult: 8 << 20}); got.Form == nil {
		t.Fatal(got)
	}
	return w
}

func TestLogLimits(t *testing.T) {
	w := load(t, `
		if (params === 'long') console.log('é'.repeat(1e6))
		else for (let i = 0; i < 5000; i++) console.log('x'.repeat(1000))`)
	got := w.Invoke(t, json.RawMessage(`{"params":"long"}`), 0)
	if len(got.Logs) != 1 || got.Logs[0].Text != strings.Repeat("é", 4<<10) {
		t.Errorf("a long entry: got %d entries, the first of %d bytes", len(got.Logs), len(got.Logs[0].Text))
	}
	for range 2 { // each call has a budget of its own
		got = w.Invoke(t, json.RawMessage(`{"params":"many"}`), 0)
		last := got.Logs[len(got.Logs)-1]
		if len(got.Logs) != 1+1<<20/1016 || last.Level != "warn" || !strings.HasSuffix(last.Text, "more characters were not logged") {
			t.Errorf("many entries: got %d, the last one %+v", len(got.Logs), last)
		}
	}
}

// What a function leaves behind does not touch the calls that come after it.
func TestErrorsAfterTheAnswerAreLogged(t *testing.T) {
	w := load(t, `setTimeout(() => { throw new Error('too late') }); return 1`)
	if got := w.Invoke(t, json.RawMessage(`{}`), 0); string(got.Result) != "1" {
		t.Fatal(got)
	}
	f := w.Receive(t)
	if want := "uncaught: Error: too late\n    at Timeout._onTimeout (function.js:1:26)"; f.Type != frame.Log || f.Call != 0 || string(f.Payload[1:]) != want {
		t.Errorf("got %d %d %q, want %q", f.Type, f.Call, f.Payload, want)
	}
	if got := w.Invoke(t, json.RawMessage(`{}`), 0); string(got.Result) != "1" {
		t.Fatal(got)
	}
}

// A parser that overflows says no place, and Node's own where the caller's should be.
func TestCodeNestedTooDeeply(t *testing.T) {
	w := start(t, prepare(t, 0))
	for _, source := range []string{"[", "module.exports = (", "export default {a: ["} {
		source = "let a\n" + source + strings.Repeat("[", 1e5)
		want := frame.Failure{
			Kind: frame.LoadFailure, Type: "SyntaxError", Message: "the code is nested too deeply",
			Line: 2, Column: len(source) - len("let a\n"),
		}
		got := w.Check(t, frame.Code{Filename: "function.js", Source: source})
		if got.Failure == nil {
			t.Fatal(got)
		}
		if stack := got.Failure.Stack; !strings.HasPrefix(stack, "function.js:2\n") || strings.Contains(stack, "node:") {
			t.Errorf("stack trace %.100q", stack)
		}
		got.Failure.Stack = ""
		if diff := cmp.Diff(want, *got.Failure); diff != "" {
			t.Errorf("%.30s: failure (-want +got):\n%s", source, diff)
		}
	}
}

// Check leaves nothing behind: the same worker takes any number of them, and then
// a Load of other code.
func TestCheckRunsNothing(t *testing.T) {
	w := start(t, prepare(t, 0))
	for _, source := range []string{
		`globalThis.ran = true; module.exports = () => 1`,
		`globalThis.ran = true; export default 1`,
		`import 'node:fs'; globalThis.ran = true; export default 1`,
		`globalThis.ran = true`,
		`}; globalThis.ran = true; async () => {`,
		`}, globalThis.ran = true, async () => {`,
		`*/ globalThis.ran = true /*`,
	} {
		w.Check(t, frame.Code{Filename: "function.js", Source: source})
	}
	w.Load(t, frame.Code{Filename: "function.js", Source: `return globalThis.ran === undefined`})
	if got := w.Invoke(t, json.RawMessage(`{}`), 0); string(got.Result) != "true" {
		t.Fatal(got)
	}
}

func TestHeapIsBounded(t *testing.T) {
	w := start(t, prepare(t, 64))
	w.Load(t, frame.Code{Filename: "function.js", Source: `return require('v8').getHeapStatistics().heap_size_limit`})
	got := w.Invoke(t, json.RawMessage(`{}`), 0)
	var limit int
	const young = 192 << 20 // what Node.js 24 adds for young objects
	if err := json.Unmarshal(got.Result, &limit); err != nil || limit > 64<<20+young {
		t.Fatalf("heap limit %d, %v", limit, err)
	}
}
