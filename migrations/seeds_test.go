package migrations_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/migrations"
)

// interpreters run a function of their language: argv[1] is its source, argv[2] the
// params. They print its result, or the name and message of what it threw.
var interpreters = map[faas.Language][]string{
	faas.NodeJS: {"node", "-e", `
const module_ = { exports: {} };
new Function('module', 'exports', 'require', process.argv[1])(module_, module_.exports, require);
module_.exports({ params: JSON.parse(process.argv[2]), context: {} }, {})
  .then((result) => console.log(JSON.stringify(result)), (error) => console.log(error.name + ': ' + error.message));`},
	faas.Python: {"python3", "-c", `
import json, sys
names = {}
exec(sys.argv[1], names)
try: print(json.dumps(names['handle'](json.loads(sys.argv[2]))))
except Exception as error: print(f'{type(error).__name__}: {error}')`},
}

func run(t *testing.T, script faas.Script, params string) string {
	t.Helper()
	argv := append(slices.Clone(interpreters[script.Language]), script.Source, params)
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", argv[0], err, out)
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
			out := run(t, seed.Script, string(example.Params))
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Errorf("%s of %s: %s", seed.Name, example.Params, out)
			}
			if diff := cmp.Diff(example.Result, got); diff != "" {
				t.Errorf("%s of %s (-want +got):\n%s", seed.Name, example.Params, diff)
			}
		}
	}
}

func TestSeedsRefuse(t *testing.T) {
	tests := []struct{ title, params, want string }{
		{"calculator", `{"operation": "divide", "a": 1, "b": 0}`, "RangeError: division by zero"},
		{"calculator", `{"operation": "divide", "a": 1, "b": -0.0}`, "RangeError: division by zero"},
		{"calculator", `{"operation": "toString", "a": 1, "b": 2}`, "TypeError: operation must be one of add, subtract, multiply, divide"},
		{"calculator", `{"operation": "add", "a": "1", "b": 2}`, "TypeError: a and b must be finite numbers"},
		{"calculator", `{"operation": "multiply", "a": 1e308, "b": 1e308}`, "RangeError: the result is too large for a number"},
		{"calculator", `null`, "TypeError: operation must be one of add, subtract, multiply, divide"},
		{"text_processor", `{"action": "upper", "text": "a"}`, "ValueError: action must be one of uppercase, lowercase, title, reverse, count"},
		{"text_processor", `{"action": "reverse", "text": 1}`, "TypeError: text must be a string"},
		{"text_processor", `null`, "ValueError: action must be one of uppercase, lowercase, title, reverse, count"},
	}
	scripts := map[string]faas.Script{}
	for _, seed := range migrations.Seeds() {
		scripts[seed.Name.Title] = seed.Script
	}
	for _, test := range tests {
		if got := run(t, scripts[test.title], test.params); got != test.want {
			t.Errorf("%s of %s: %s, want %s", test.title, test.params, got, test.want)
		}
	}
}
