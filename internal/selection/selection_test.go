package selection

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
)

func TestSelect(t *testing.T) {
	m, err := parse([]byte(`[
		{"pattern": "image", "runtime_type": "python"},
		{"pattern": "^(js|node)-", "runtime_type": "nodejs", "is_regex": true},
		{"pattern": "thumb", "runtime_type": "rust", "is_regex": false},
		{"pattern": "-pre$", "runtime_type": "nodejs", "is_regex": true}
	]`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"image-resize":              "python-image-resize",
		"python-image-resize":       "python-image-resize",
		"my-image":                  "python-my-image",
		"js-image":                  "python-js-image", // the first wins
		"nodejs-image":              "python-nodejs-image",
		"js-hello@12":               "nodejs-js-hello@12",
		"thumb:prod":                "rust-thumb:prod",
		"x:image":                   "", // an alias is no part of the name
		"say-pre":                   "nodejs-say-pre",
		"say-pre@1":                 "nodejs-say-pre@1",
		"IMAGE":                     "",
		"nodejs-hello":              "",
		"hello":                     "",
		"":                          "",
		"image/../x":                "",
		"image@0":                   "",
		strings.Repeat("image", 99): "",
	} {
		got, err := m.Select(faas.InPath, name)
		if err != nil {
			if want != "" || faas.AsError(err).Code != faas.InvalidRequest {
				t.Errorf("%.50s: %v, want %q", name, err, want)
			}
			continue
		}
		if got.String() != want {
			t.Errorf("%.50s is %s, want %q", name, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"no JSON":         {`[{"pattern"}]`, []string{"must be a JSON list"}},
		"an object":       {`{"pattern": "a"}`, []string{"must be a JSON list"}},
		"a misspelt name": {`[{"pattern": "a", "runtime": "python"}]`, []string{"must be a JSON list", "runtime"}},
		"nothing":         {`[]`, []string{"no entries"}},
		"all faults": {
			`[{"pattern": "a", "runtime_type": "python"}, {"pattern": "(", "is_regex": true, "runtime_type": "go"}, {"runtime_type": "rust"}]`,
			[]string{"entry 2: runtime_type \"go\" is none of [nodejs python rust ruby]", "pattern: error parsing regexp", "entry 3: pattern is missing"},
		},
	} {
		path := filepath.Join(t.TempDir(), "mappings.json")
		if err := os.WriteFile(path, []byte(test.file), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		for _, want := range append(test.want, path) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	if _, err := Open("/nowhere/mappings.json"); err == nil || !strings.Contains(err.Error(), "/nowhere/mappings.json") {
		t.Errorf("no file: %v", err)
	}
}

// Whatever is in the file and in a header, what is selected is a well-formed name of
// a language that a mapping names.
func FuzzSelect(f *testing.F) {
	f.Add([]byte(`[{"pattern":"a","runtime_type":"python"}]`), "a@1")
	f.Add([]byte(`[{"pattern":"(?i)^x+$","runtime_type":"rust","is_regex":true}]`), "rust-X:y")
	f.Fuzz(func(t *testing.T, file []byte, name string) {
		m, err := parse(file)
		if err != nil {
			return
		}
		ref, err := m.Select(faas.InPath, name)
		if err != nil {
			return
		}
		again, err := faas.ParseRef(ref.String())
		if diff := cmp.Diff(ref, again); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", name, err, diff)
		}
		if !strings.HasSuffix(ref.String(), name) {
			t.Errorf("%q became %s", name, ref)
		}
	})
}
