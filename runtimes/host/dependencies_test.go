package host

import (
	"context"
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// noLayers are layers that nothing can be installed in.
type noLayers struct{}

func (noLayers) Use(context.Context, map[string]string) (string, func(), error) {
	return "", nil, &faas.Error{Code: faas.InitializationError, Message: "it cannot be installed", Details: map[string]any{"component": faas.InRuntime, "output": "E404"}}
}

func TestDependencies(t *testing.T) {
	r := newRig(t, pool.Options{Layers: noLayers{}})
	for name, test := range map[string]struct {
		refused, body string
		status        int
		want          string
	}{
		"of no script":    {"", `{"dependencies":{"a":"b"}}`, 400, "dependencies are those of script_content, which is missing"},
		"of another kind": {"", `{"script_content":"return 1","dependencies":["a"]}`, 400, "dependencies must be an object of the files"},
		"no texts":        {"", `{"script_content":"return 1","dependencies":{"a":1}}`, 400, "dependencies must be an object of the files"},
		"too many":        {"", `{"script_content":"return 1","dependencies":{"a":"` + strings.Repeat("x", MaxDependencies) + `"}}`, 413, "dependencies is larger than 2097152 bytes"},
		"not here":        {"not here", `{"script_content":"return 1","dependencies":{"a":"b"}}`, 400, "dependencies are not installed here: not here"},
		"none":            {"not here", `{"script_content":"return 1","dependencies":null}`, 200, "initialized"},
		"not to be had":   {"", `{"script_content":"return 1","dependencies":{"a":"b"}}`, 422, `"output":"E404"`},
	} {
		t.Run(name, func(t *testing.T) {
			r.NoDependencies = test.refused
			if _, got := r.tryInitialize(t, "nodejs-x", test.body); got.Status != test.status || !strings.Contains(got.Body, test.want) {
				t.Errorf("got %d %.300s, want %d %q", got.Status, got.Body, test.status, test.want)
			}
		})
	}
}
