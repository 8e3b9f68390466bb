package python

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/runtimes/conformance"
	"envoke/runtimes/frame"
	"envoke/runtimes/interpreter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWorkerConforms(t *testing.T) {
	command := prepare(t)
	conformance.Run(t, faas.Python, func(t *testing.T) conformance.Worker { return start(t, command) })
}

// findPython finds the Python under test once: PYTHON, else the one on PATH.
var findPython = sync.OnceValues(func() (interpreter.Interpreter, error) {
	return Find(context.Background(), os.Getenv("PYTHON"))
})

func prepare(t testing.TB) interpreter.Command {
	t.Helper()
	found, err := findPython()
	if err != nil {
		t.Fatal(err)
	}
	command, err := Prepare(t.Context(), t.TempDir(), found)
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
	w := start(t, prepare(t))
	if got := w.Load(t, frame.Code{Filename: "function.py", Source: source, MaxResult: 8 << 20}); got.Form == nil {
		t.Fatal(got)
	}
	return w
}

func TestAsyncCallsAreAnsweredInAnyOrder(t *testing.T) {
	w := load(t, `
import asyncio
async def handle(params):
    await asyncio.sleep(params / 1000)
    print(params)
    return params`)
	for _, delay := range []uint32{90, 45, 1} {
		w.Send(t, frame.Frame{Type: frame.Invoke, Call: delay, Payload: fmt.Appendf(nil, `{"params":%d}`, delay)})
	}
	for _, delay := range []uint32{1, 45, 90} {
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
	for name, source := range map[string]string{
		"serial":     "result = [params, 'é' * (params % 2000)]",
		"concurrent": "async def handle(params): return [params, 'é' * (params % 2000)]",
	} {
		t.Run(name, func(t *testing.T) {
			w := load(t, source)
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
		})
	}
}

// A frame may be cut anywhere between two reads.
func TestFramesInPieces(t *testing.T) {
	w := load(t, `result = params`)
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
	w := load(t, `result = params + '!'`)
	body := strings.Repeat("é", 3<<20)
	got := w.Invoke(t, json.RawMessage(`{"params":"`+body+`"}`))
	if want := `"` + body + `!"`; string(got.Result) != want {
		t.Fatalf("got %d bytes (%.50s), want %d", len(got.Result), got, len(want))
	}
}

// Numbers come back as they went, integers with all their digits.
func TestNumbersSurvive(t *testing.T) {
	w := load(t, `result = params`)
	digits := strings.Repeat("1234567890", 1000)
	for _, number := range []string{"9007199254740993", "-123456789012345678901234567890", digits, "1.5", "-0.0", "1e+100", "0.1"} {
		if got := w.Invoke(t, json.RawMessage(`{"params":`+number+`}`)); string(got.Result) != number {
			t.Errorf("got %.60s, want %.60s", got, number)
		}
	}
}

func TestEventThatIsNoJSON(t *testing.T) {
	w := load(t, `result = 1`)
	for _, event := range []string{``, `{"params":`, `{"params":NaN}`, `{"params":1} 2`, "{\"params\":\"\xff\"}", strings.Repeat("[", 1e5)} {
		if got := w.Invoke(t, json.RawMessage(event)); got.Failure == nil || got.Failure.Kind != frame.ParamsFailure {
			t.Errorf("%.20q: got %s, want a failure of kind params", event, got)
		}
	}
	if got := w.Invoke(t, json.RawMessage(`{}`)); string(got.Result) != "1" {
		t.Errorf("the next call: %s", got)
	}
}

func TestLogLimits(t *testing.T) {
	w := load(t, `
if params == 'long': print('é' * 1000000)
else:
    for i in range(5000): print('x' * 1000)`)
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
func TestThreadsLeftBehindBelongToTheirCall(t *testing.T) {
	w := load(t, `
import threading
go = threading.Event()
def handle(params):
    if params == 'leave':
        threading.Thread(target=lambda: (print('during'), go.wait(), print('after'))).start()
    else:
        go.set()
        for thread in threading.enumerate():
            if thread is not threading.current_thread(): thread.join()
    print(params)`)
	got := w.Invoke(t, json.RawMessage(`{"params":"leave"}`))
	want := []conformance.Entry{{Level: "info", Text: "during"}, {Level: "info", Text: "leave"}}
	if fmt.Sprint(got.Logs) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got.Logs, want)
	}
	w.Send(t, frame.Frame{Type: frame.Invoke, Call: 77, Payload: []byte(`{"params":"join"}`)})
	for _, want := range []frame.Frame{
		{Type: frame.Log, Call: 0, Payload: []byte("\x01after")},
		{Type: frame.Log, Call: 77, Payload: []byte("\x01join")},
		{Type: frame.Result, Call: 77, Payload: []byte("null")},
	} {
		if f := w.Receive(t); f.Type != want.Type || f.Call != want.Call || string(f.Payload) != string(want.Payload) {
			t.Errorf("got %+v, want %+v", f, want)
		}
	}
}

// Many threads print while calls are answered: no frame is written into another.
func TestThreadsDoNotCorruptFrames(t *testing.T) {
	w := load(t, `
import threading
def spin():
    for i in range(200): print('x' * 5000)
def handle(params):
    threads = [threading.Thread(target=spin) for _ in range(4)]
    for thread in threads: thread.start()
    print('y' * 5000)
    if params: [thread.join() for thread in threads]
    return 'z' * 300000`)
	for i := range 4 {
		got := w.Invoke(t, fmt.Appendf(nil, `{"params":%d}`, i%2))
		if want := `"` + strings.Repeat("z", 300000) + `"`; string(got.Result) != want {
			t.Fatalf("got %.60s", got)
		}
	}
}

// Python tells columns from 3.11 on, in bytes of UTF-8.
func TestColumnsCountCharacters(t *testing.T) {
	found, err := findPython()
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(found.Version, "3.10.") {
		t.Skip("Python 3.10 has no columns")
	}
	w := load(t, `a = '😀é'; b = 1 / 0`)
	if got := w.Invoke(t, json.RawMessage(`{}`)); got.Failure == nil || got.Failure.Column != 15 {
		t.Errorf("got %s, want column 15", got)
	}
}

func TestHugeErrorIsCut(t *testing.T) {
	w := load(t, `raise ValueError('é' * 1000000)`)
	got := w.Invoke(t, json.RawMessage(`{}`))
	if got.Failure == nil || len(got.Failure.Message) != 8<<10 || len(got.Failure.Stack) > 16<<10 {
		t.Fatalf("got %.100s", got)
	}
}

// Check leaves nothing behind: the same worker takes any number of them, and then
// a Load of other code.
func TestCheckRunsNothing(t *testing.T) {
	w := start(t, prepare(t))
	for _, source := range []string{
		"import builtins; builtins.ran = True",
		"import builtins; builtins.ran = True\ndef handler(context): pass",
		"import builtins\n@setattr(builtins, 'ran', True)\nasync def handle(a=setattr(builtins, 'ran', True)): pass",
		"x is 1", // the compiler warns, in silence
		"((((", strings.Repeat("(", 1e5), strings.Repeat("-", 1e5) + "1", "a\x00b",
	} {
		if got := w.Check(t, frame.Code{Filename: "function.py", Source: source}); len(got.Logs) > 0 || got.Exited {
			t.Errorf("%.40q: %s, %v", source, got, got.Logs)
		}
	}
	w.Load(t, frame.Code{Filename: "function.py", Source: "import builtins; result = not hasattr(builtins, 'ran')"})
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
		{"at a frame without a header", func(_ *testing.T, w *conformance.Process) {
			_, _ = w.Conn.Write([]byte{0, 0, 0, 1, 3, 0, 0, 0, 0})
		}},
		{"at an invocation before the load", func(t *testing.T, w *conformance.Process) { w.Send(t, frame.Frame{Type: frame.Invoke}) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := start(t, prepare(t))
			test.end(t, w)
			if f := w.Receive(t); f.Type != 0 {
				t.Fatalf("got frame %+v, want the end of the stream", f)
			}
		})
	}
}

// BenchmarkInvoke is what a call costs without a host: 64 are under way at once.
func BenchmarkInvoke(b *testing.B) {
	sources := map[string]string{
		"fragment": "result = {'sum': params['a'] + params['b']}",
		"handle":   "def handle(params): return {'sum': params['a'] + params['b']}",
		"async":    "async def handle(params): return {'sum': params['a'] + params['b']}",
		"log":      "print('hello'); result = 1",
	}
	for name, source := range sources {
		b.Run(name, func(b *testing.B) { benchmarkInvoke(b, source) })
	}
}

func benchmarkInvoke(b *testing.B, source string) {
	w := start(b, prepare(b))
	code, err := json.Marshal(frame.Code{Filename: "function.py", Source: source})
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
