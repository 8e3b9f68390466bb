package ruby

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/conformance"
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
