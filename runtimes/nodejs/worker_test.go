package nodejs

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
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

func TestCallsAreAnsweredInAnyOrder(t *testing.T) {
	w := load(t, `await new Promise((resolve) => setTimeout(resolve, params)); console.log(params); return params`)
	for _, delay := range []uint32{60, 30, 1} {
		w.Send(t, frame.Frame{Type: frame.Invoke, Call: delay, Payload: fmt.Appendf(nil, `{"params":%d}`, delay)})
	}
	for _, delay := range []uint32{1, 30, 60} {
		log, result := w.Receive(t), w.Receive(t)
		if log.Type != frame.Log || log.Call != delay || string(log.Payload[1:]) != fmt.Sprint(delay) {
			t.Errorf("got frame %+v, want the log of call %d", log, delay)
		}
		if result.Type != frame.Result || result.Call != delay {
			t.Errorf("got frame %+v, want the result of call %d", result, delay)
		}
	}
}

func TestManyCallsInOneWrite(t *testing.T) {
	w := load(t, `return [params, 'é'.repeat(params % 2000)]`)
	const calls = 1000
	var stream []byte
	for i := range uint32(calls) {
		stream = frame.Append(stream, frame.Frame{Type: frame.Invoke, Call: i, Payload: fmt.Appendf(nil, `{"params":%d}`, i)})
	}
	go func() { _, _ = w.Conn.Write(stream) }() // an error shows as a missing answer
	for i := range uint32(calls) {
		f := w.Receive(t)
		want := fmt.Sprintf(`[%d,"%s"]`, i, strings.Repeat("é", int(i)))
		if f.Type != frame.Result || f.Call != i || string(f.Payload) != want {
			t.Fatalf("got type %d, call %d, payload %.50q; want %.50q", f.Type, f.Call, f.Payload, want)
		}
	}
}

// A frame may be cut anywhere between two reads.
func TestFramesInPieces(t *testing.T) {
	w := load(t, `return params`)
	stream := frame.Append(nil, frame.Frame{Type: frame.Invoke, Call: 1, Payload: []byte(`{"params":"héllo"}`)})
	stream = frame.Append(stream, frame.Frame{Type: frame.Invoke, Call: 2, Payload: []byte(`{"params":2}`)})
	for i := range stream {
		if _, err := w.Conn.Write(stream[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{`"héllo"`, `2`} {
		if f := w.Receive(t); string(f.Payload) != want {
			t.Errorf("got %q, want %q", f.Payload, want)
		}
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	w := load(t, `return params + '!'`)
	body := strings.Repeat("é", 3<<20)
	got := w.Invoke(t, json.RawMessage(`{"params":"`+body+`"}`))
	if want := `"` + body + `!"`; string(got.Result) != want {
		t.Fatalf("got %d bytes (%.50s), want %d", len(got.Result), got, len(want))
	}
}

func TestEventThatIsNoJSON(t *testing.T) {
	w := load(t, `return 1`)
	for _, event := range []string{``, `{"params":`, `{"params":NaN}`} {
		if got := w.Invoke(t, json.RawMessage(event)); got.Failure == nil || got.Failure.Kind != frame.ParamsFailure {
			t.Errorf("%q: got %s, want a failure of kind params", event, got)
		}
	}
	if got := w.Invoke(t, json.RawMessage(`{}`)); string(got.Result) != "1" {
		t.Errorf("the next call: %s", got)
	}
}

func TestLogLimits(t *testing.T) {
	w := load(t, `
		if (params === 'long') console.log('é'.repeat(1e6))
		else for (let i = 0; i < 5000; i++) console.log('x'.repeat(1000))`)
	got := w.Invoke(t, json.RawMessage(`{"params":"long"}`))
	if len(got.Logs) != 1 || got.Logs[0].Text != strings.Repeat("é", 4<<10) {
		t.Errorf("a long entry: got %d entries, the first of %d bytes", len(got.Logs), len(got.Logs[0].Text))
	}
	for range 2 { // each call has a budget of its own
		got = w.Invoke(t, json.RawMessage(`{"params":"many"}`))
		last := got.Logs[len(got.Logs)-1]
		if len(got.Logs) != 1+1<<20/1016 || last.Level != "warn" || !strings.HasSuffix(last.Text, "more characters were not logged") {
			t.Errorf("many entries: got %d, the last one %+v", len(got.Logs), last)
		}
	}
}

// What a function leaves behind does not touch the calls that come after it.
func TestErrorsAfterTheAnswerAreLogged(t *testing.T) {
	w := load(t, `setTimeout(() => { throw new Error('too late') }); return 1`)
	if got := w.Invoke(t, json.RawMessage(`{}`)); string(got.Result) != "1" {
		t.Fatal(got)
	}
	f := w.Receive(t)
	if want := "uncaught: Error: too late\n    at Timeout._onTimeout (function.js:1:26)"; f.Type != frame.Log || f.Call != 0 || string(f.Payload[1:]) != want {
		t.Errorf("got %d %d %q, want %q", f.Type, f.Call, f.Payload, want)
	}
	if got := w.Invoke(t, json.RawMessage(`{}`)); string(got.Result) != "1" {
		t.Fatal(got)
	}
}

func TestHugeErrorIsCut(t *testing.T) {
	w := load(t, `throw new Error('é'.repeat(1e6))`)
	got := w.Invoke(t, json.RawMessage(`{}`))
	if got.Failure == nil || len(got.Failure.Message) != 8<<10 || len(got.Failure.Stack) > 16<<10 {
		t.Fatalf("got %.100s", got)
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
	if got := w.Invoke(t, json.RawMessage(`{}`)); string(got.Result) != "true" {
		t.Fatal(got)
	}
}

func TestWorkerExits(t *testing.T) {
	tests := []struct {
		name string
		end  func(*testing.T, *conformance.Process)
	}{
		{"at the end of the stream", func(t *testing.T, w *conformance.Process) {
			if err := w.Conn.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}},
		{"at a frame of unknown type", func(t *testing.T, w *conformance.Process) { w.Send(t, frame.Frame{Type: 99}) }},
		{"at a frame without a header", func(_ *testing.T, w *conformance.Process) { _, _ = w.Conn.Write([]byte{0, 0, 0, 1, 3}) }},
		{"at an invocation before the load", func(t *testing.T, w *conformance.Process) { w.Send(t, frame.Frame{Type: frame.Invoke}) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := start(t, prepare(t, 0))
			test.end(t, w)
			if f := w.Receive(t); f.Type != 0 {
				t.Fatalf("got frame %+v, want the end of the stream", f)
			}
		})
	}
}

func TestHeapIsBounded(t *testing.T) {
	w := start(t, prepare(t, 64))
	w.Load(t, frame.Code{Filename: "function.js", Source: `return require('v8').getHeapStatistics().heap_size_limit`})
	got := w.Invoke(t, json.RawMessage(`{}`))
	var limit int
	const young = 192 << 20 // what Node.js 24 adds for young objects
	if err := json.Unmarshal(got.Result, &limit); err != nil || limit > 64<<20+young {
		t.Fatalf("heap limit %d, %v", limit, err)
	}
}

// BenchmarkInvoke is what a call costs without a host: 64 are under way at once.
func BenchmarkInvoke(b *testing.B) {
	sources := map[string]string{
		"fragment": `return {sum: params.a + params.b}`,
		"commonjs": `module.exports = (event) => ({sum: event.params.a + event.params.b})`,
		"log":      `console.log('hello'); return 1`,
	}
	for name, source := range sources {
		b.Run(name, func(b *testing.B) { benchmarkInvoke(b, source) })
	}
}

func benchmarkInvoke(b *testing.B, source string) {
	w := start(b, prepare(b, 0))
	code, err := json.Marshal(frame.Code{Filename: "function.js", Source: source})
	if err != nil {
		b.Fatal(err)
	}
	w.Send(b, frame.Frame{Type: frame.Load, Payload: code})
	w.Receive(b)
	const window = 64
	question := frame.Append(nil, frame.Frame{Type: frame.Invoke, Payload: []byte(`{"params":{"a":1,"b":2},"context":{"user":"u"}}`)})
	batch := strings.Repeat(string(question), window/2)
	b.ResetTimer()
	sent := 0
	for answered := 0; answered < b.N; {
		for sent < b.N && sent-answered <= window/2 {
			if _, err := w.Conn.Write([]byte(batch)); err != nil {
				b.Fatal(err)
			}
			sent += window / 2
		}
		if w.Receive(b).Type == frame.Result {
			answered++
		}
	}
}
