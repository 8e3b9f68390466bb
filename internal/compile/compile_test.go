package compile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/compile"
	"envoke/internal/faas"
)

const name = "context.compile_options"

func TestParse(t *testing.T) {
	level, target, memory, network := "release", "x", 128, "egress"
	for raw, want := range map[string]compile.Options{
		"":     {},
		"null": {},
		"{}":   {},
		`{"optimization_level":"release","features":["a"],"target":"x","memory_limit_mb":128}`: {
			OptimizationLevel: &level, Features: []string{"a"}, Target: &target, MemoryLimitMB: &memory,
		},
		`{"optimization_level":null,"features":null,"target":null,"memory_limit_mb":null}`: {},
		`{"network":"egress"}`:       {Network: &network},
		`{"memory_limit_mb":128.0}`:  {MemoryLimitMB: &memory},
		`{"memory_limit_mb":1.28e2}`: {MemoryLimitMB: &memory},
	} {
		got, err := compile.Parse([]byte(raw), name, 128)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", raw, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		whole = "must be a whole number"
		limit = "must be a whole number from 1 to 128, the operator's limit"
	)
	for _, test := range []struct{ raw, member, reason string }{
		{`[]`, "", "must be an object"},
		{`"x"`, "", "must be an object"},
		{`{"x":1}`, ".x", "is not known here: the members are optimization_level, features, target, memory_limit_mb, network"},
		{`{"memory_limit":1}`, ".memory_limit", "is not known here: the members are optimization_level, features, target, memory_limit_mb, network"},
		{`{"target":"a","target":"b"}`, ".target", "is given twice"},
		{`{"target":1}`, ".target", "must be a string"},
		{`{"target":"` + strings.Repeat("x", 257) + `"}`, ".target", "is longer than 256 bytes"},
		{`{"optimization_level":"fast"}`, ".optimization_level", "must be debug or release"},
		{`{"features":"a"}`, ".features", "must be a list"},
		{`{"features":["a",1]}`, ".features.1", "must be a string"},
		{`{"features":[""]}`, ".features", "may hold 64 names of 1 to 256 bytes"},
		{`{"features":["a"` + strings.Repeat(`,"a"`, 64) + `]}`, ".features", "may hold 64 names of 1 to 256 bytes"},
		{`{"network":"all"}`, ".network", "must be none or egress"},
		{`{"network":true}`, ".network", "must be a string"},
		{`{"memory_limit_mb":0}`, ".memory_limit_mb", limit},
		{`{"memory_limit_mb":-1}`, ".memory_limit_mb", limit},
		{`{"memory_limit_mb":129}`, ".memory_limit_mb", limit},
		{`{"memory_limit_mb":64.5}`, ".memory_limit_mb", whole},
		{`{"memory_limit_mb":"64"}`, ".memory_limit_mb", whole},
		{`{"memory_limit_mb":true}`, ".memory_limit_mb", whole},
		{`{"memory_limit_mb":[64]}`, ".memory_limit_mb", whole},
		{`{"memory_limit_mb":99999999999999999999}`, ".memory_limit_mb", whole},
	} {
		_, err := compile.Parse([]byte(test.raw), name, 128)
		got := faas.AsError(err)
		want := &faas.Error{
			Code: faas.InvalidRequest, Message: name + test.member + " " + test.reason,
			Details: map[string]any{"member": name + test.member},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", test.raw, diff)
		}
	}
}

// What is accepted is within the bounds, and each refusal is the caller's to read.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `{"optimization_level":"debug","features":["a"],"target":"x","memory_limit_mb":1e2}`,
		`{"features":{"0":1}}`, `{"memory_limit_mb":1e999}`, `{"target":"\ud800"}`, "{\"\xff\":1}", `{"a":{"b":[`, `{} {}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := compile.Parse(raw, name, 128)
		switch {
		case err != nil && faas.AsError(err).Code != faas.InvalidRequest:
			t.Error(err)
		case err == nil && o.MemoryLimitMB != nil && (*o.MemoryLimitMB < 1 || *o.MemoryLimitMB > 128),
			err == nil && o.OptimizationLevel != nil && *o.OptimizationLevel != "debug" && *o.OptimizationLevel != "release":
			t.Errorf("%q is accepted as %+v", raw, o)
		}
	})
}
