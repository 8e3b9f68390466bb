package migrations_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/migrations"
)

// invoke runs a CommonJS function in Node.js and prints its result, or the
// message of what it threw.
const invoke = `
const module_ = { exports: {} };
new Function('module', 'exports', 'require', process.argv[1])(module_, module_.exports, require);
module_.exports({ params: JSON.parse(process.argv[2]), context: {} }, {})
  .then((result) => console.log(JSON.stringify(result)), (error) => console.log(error.name + ': ' + error.message));`

func run(t *testing.T, source, params string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "node", "-e", invoke, source, params).CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestExamples runs the examples of the seeds in JavaScript; the others' are run by
// the tests of their runtimes.
func TestExamples(t *testing.T) {
	for _, seed := range migrations.Seeds() {
		if _, err := faas.ParseName(seed.Name.String()); err != nil || !json.Valid(seed.Schema) {
			t.Errorf("%s: name %v, schema valid: %v", seed.Name, err, json.Valid(seed.Schema))
		}
		if seed.Name.Language != faas.NodeJS {
			continue
		}
		var examples []struct {
			Params json.RawMessage `json:"params"`
			Result any             `json:"result"`
		}
		if err := json.Unmarshal(seed.Examples, &examples); err != nil || len(examples) == 0 {
			t.Fatalf("%s has %d examples (error %v)", seed.Name, len(examples), err)
		}
		for _, example := range examples {
			var got any
			out := run(t, seed.Script.Source, string(example.Params))
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Errorf("%s of %s: %s", seed.Name, example.Params, out)
			}
			if diff := cmp.Diff(example.Result, got); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", seed.Name, example.Params, diff)
			}
		}
	}
}

func TestCalculatorRefuses(t *testing.T) {
	source := migrations.Seeds()[0].Script.Source
	for params, want := range map[string]string{
		`{"operation": "divide", "a": 1, "b": 0}`:           "RangeError: division by zero",
		`{"operation": "divide", "a": 1, "b": -0.0}`:        "RangeError: division by zero",
		`{"operation": "toString", "a": 1, "b": 2}`:         "TypeError: operation must be one of add, subtract, multiply, divide",
		`{"operation": "add", "a": "1", "b": 2}`:            "TypeError: a and b must be finite numbers",
		`{"operation": "multiply", "a": 1e308, "b": 1e308}`: "RangeError: the result is too large for a number",
		`null`: "TypeError: operation must be one of add, subtract, multiply, divide",
	} {
		if got := run(t, source, params); got != want {
			t.Errorf("%s: %s, want %s", params, got, want)
		}
	}
}
