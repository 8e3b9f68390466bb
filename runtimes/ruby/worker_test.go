package ruby

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/conformance"
	"envoke/runtimes/frame"
	"envoke/runtimes/interpreter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWorkerConforms(t *testing.T) {
	command := prepare(t)
	conformance.Run(t, faas.Ruby, func(t *testing.T) conformance.Worker {
		return conformance.Start(t, command.Argv, command.Env)
	})
}

func TestFrames(t *testing.T) { conformance.RunFrames(t, programs(t)) }

func BenchmarkInvoke(b *testing.B) {
	conformance.Benchmark(b, programs(b), map[string]string{
		"fragment": "{ sum: params['a'] + params['b'] }",
		"handle":   "def handle(params) = { sum: params['a'] + params['b'] }",
		"log":      "puts 'hello'; 1",
	})
}

func programs(t testing.TB) conformance.Programs {
	t.Helper()
	return conformance.Programs{
		Command: prepare(t), Filename: "function.rb",
		Echo:    map[string]string{"fragment": "params", "handle": "def handle(params) = params"},
		Throw:   `raise 'é' * 1000000`,
		NotJSON: []string{strings.Repeat("[", 1e5)},
	}
}

func prepare(t testing.TB) interpreter.Command {
	t.Helper()
	found, err := Kind.Find(t.Context(), testrig.Ruby(t))
	if err != nil {
		t.Fatal(err)
	}
	command, err := Prepare(t.Context(), t.TempDir(), found)
	if err != nil {
		t.Fatal(err)
	}
	return command
}

// Numbers come back as they went, integers with all their digits.
func TestNumbersSurvive(t *testing.T) {
	w := load(t, "params")
	for _, number := range []string{"9007199254740993", "-" + strings.Repeat("1234567890", 1000), "1.5", "-0.0", "1.0e+100", "0.1"} {
		if got := w.Invoke(t, json.RawMessage(`{"params":`+number+`}`), 0); string(got.Result) != number {
			t.Errorf("got %.60s, want %.60s", got, number)
		}
	}
}

func TestLogLimits(t *testing.T) {
	w := load(t, "if params == 'long' then puts 'é' * 1000000 else 5000.times { puts 'x' * 1000 } end")
	got := w.Invoke(t, json.RawMessage(`{"params":"long"}`), 0)
	if len(got.Logs) != 1 || got.Logs[0].Text != strings.Repeat("é", 4<<10) {
		t.Errorf("a long entry: got %d entries", len(got.Logs))
	}
	for range 2 { // each call has a budget of its own
		got = w.Invoke(t, json.RawMessage(`{"params":"many"}`), 0)
		last := got.Logs[len(got.Logs)-1]
		if len(got.Logs) != 1+1<<20/1016 || last.Level != "warn" || !strings.HasSuffix(last.Text, "more characters were not logged") {
			t.Errorf("many entries: got %d, the last one %+v", len(got.Logs), last)
		}
	}
}

// What a thread does that its call left behind is no later call's: it prints and exits.
func TestThreadsLeftBehind(t *testing.T) {
	w := load(t, `
GO = Queue.new
def handle(params)
  case params
  when 'leave' then Thread.new { puts 'during'; GO.pop; puts 'after'; exit }.then { |thread| Thread.pass until thread.stop? }
  when 'go' then (GO << 1; nil)
  end
end`)
	invoke := func(params string) conformance.Outcome {
		return w.Invoke(t, json.RawMessage(`{"params":"`+params+`"}`), 0)
	}
	if got := invoke("leave"); fmt.Sprint(got.Logs) != "[{info during}]" || got.Result == nil {
		t.Errorf("%s, %v", got, got.Logs)
	}
	var logged []string
	for params := "go"; len(logged) < 2; params = "" {
		got := invoke(params)
		if string(got.Result) != "null" {
			t.Fatal(got)
		}
		for _, entry := range got.Logs {
			logged = append(logged, entry.Text)
		}
	}
	if diff := cmp.Diff([]string{"after", "uncaught: SystemExit: exit"}, logged); diff != "" {
		t.Error(diff)
	}
}

// Many threads print while calls are answered: no frame is written into another.
func TestThreadsDoNotCorruptFrames(t *testing.T) {
	w := load(t, `
def handle(params)
  threads = 4.times.map { Thread.new { 200.times { puts 'x' * 5000 } } }
  puts 'y' * 5000
  threads.each(&:join) if params == 1
  'z' * 300000
end`)
	for i := range 4 {
		got := w.Invoke(t, fmt.Appendf(nil, `{"params":%d}`, i%2), 0)
		if want := `"` + strings.Repeat("z", 300000) + `"`; string(got.Result) != want {
			t.Fatalf("got %.60s", got)
		}
	}
}

// Check leaves nothing behind: the same worker takes any number of them, and then a Load
// of other code.
func TestCheckRunsNothing(t *testing.T) {
	w := conformance.Start(t, prepare(t).Argv, interpreter.Env())
	for _, source := range []string{
		"$ran = true", "$ran = true\ndef handler(context) = 1", "def handle(a = $ran = true) = 1",
		"if a = 1 then 'warns' end", "((((", strings.Repeat("(", 1e4), "a\x00b", "\xff",
	} {
		if got := w.Check(t, frame.Code{Filename: "function.rb", Source: source}); len(got.Logs) > 0 || got.Exited {
			t.Errorf("%.40q: %s, %v", source, got, got.Logs)
		}
	}
	w.Load(t, frame.Code{Filename: "function.rb", Source: "$ran.nil?"})
	if got := w.Invoke(t, json.RawMessage(`{}`), 0); string(got.Result) != "true" {
		t.Fatal(got)
	}
}

// load starts a worker with the given code.
func load(t *testing.T, source string) *conformance.Process {
	t.Helper()
	w := conformance.Start(t, prepare(t).Argv, interpreter.Env())
	if got := w.Load(t, frame.Code{Filename: "function.rb", Source: source, MaxResult: 8 << 20}); got.Form == nil {
		t.Fatal(got)
	}
	return w
}
