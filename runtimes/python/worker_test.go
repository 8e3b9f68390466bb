package python

import (
	"context"
	"encoding/json"
	"fmt"
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

func TestFrames(t *testing.T) { conformance.RunFrames(t, programs(t)) }

func BenchmarkInvoke(b *testing.B) {
	conformance.Benchmark(b, programs(b), map[string]string{
		"fragment": "result = {'sum': params['a'] + params['b']}",
		"handle":   "def handle(params): return {'sum': params['a'] + params['b']}",
		"async":    "async def handle(params): return {'sum': params['a'] + params['b']}",
		"log":      "print('hello'); result = 1",
	})
}

func programs(t testing.TB) conformance.Programs {
	t.Helper()
	return conformance.Programs{
		Command: prepare(t), Filename: "function.py",
		Echo: map[string]string{
			"serial":     "result = params",
			"concurrent": "async def handle(params): return params",
		},
		Delay: `
import asyncio
async def handle(params):
    await asyncio.sleep(params / 1000)
    print(params)
    return params`,
		Throw:   `raise ValueError('é' * 1000000)`,
		NotJSON: []string{"{\"params\":\"\xff\"}", strings.Repeat("[", 1e5)},
	}
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

// Numbers come back as they went, integers with all their digits.
func TestNumbersSurvive(t *testing.T) {
	w := load(t, `result = params`)
	digits := strings.Repeat("1234567890", 1000)
	for _, number := range []string{"9007199254740993", "-123456789012345678901234567890", digits, "1.5", "-0.0", "1e+100", "0.1"} {
		if got := w.Invoke(t, json.RawMessage(`{"params":`+number+`}`), 0); string(got.Result) != number {
			t.Errorf("got %.60s, want %.60s", got, number)
		}
	}
}

func TestLogLimits(t *testing.T) {
	w := load(t, `
if params == 'long': print('é' * 1000000)
else:
    for i in range(5000): print('x' * 1000)`)
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
	got := w.Invoke(t, json.RawMessage(`{"params":"leave"}`), 0)
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
		got := w.Invoke(t, fmt.Appendf(nil, `{"params":%d}`, i%2), 0)
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
	if got := w.Invoke(t, json.RawMessage(`{}`), 0); got.Failure == nil || got.Failure.Column != 15 {
		t.Errorf("got %s, want column 15", got)
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
	if got := w.Invoke(t, json.RawMessage(`{}`), 0); string(got.Result) != "true" {
		t.Fatal(got)
	}
}
