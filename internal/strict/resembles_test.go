package strict_test

import (
	"strings"
	"testing"

	"envoke/internal/strict"
)

func TestResembles(t *testing.T) {
	const script, params = "script_content", "params"
	for _, test := range []struct {
		name, known string
		want        bool
	}{
		{"param", params, true},
		{"parms", params, true},
		{"prams", params, true},
		{"Params", params, true},
		{"PARAMS", params, true},
		{"para", params, true},
		{"params ", params, true},
		{"pa", params, false},
		{"", params, false},
		{"parameters", params, false},
		{"input", params, false},
		{"script", script, true},
		{"scriptContent", script, true},
		{"script_contents", script, true},
		{"script-content", script, true},
		{"content", script, false},
		{"request_id", script, false},
		{strings.Repeat("x", 1<<20), script, false},
	} {
		if got := strict.Resembles(test.name, test.known); got != test.want {
			t.Errorf("Resembles(%.30q, %q) = %v", test.name, test.known, got)
		}
	}
}
