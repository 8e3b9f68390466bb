package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestFaultsOfADescription: each names the file, the line where it is known, the key
// and what is expected, in the words of YAML.
func TestFaultsOfADescription(t *testing.T) {
	const keys = "name, language, handler, description, schema, examples, tags, timeout_ms, memory_limit_mb, cpu_limit_ms, output_limit_bytes, max_concurrency, rate_per_minute, cache_ttl_seconds, network, environment"
	for name, test := range map[string]struct{ text, want string }{
		"an unknown key":            {"name: a\ncolour: x", "function.yaml:2: colour is not known here: the members are " + keys},
		"a key in braces":           {"{colour: x}", "function.yaml: colour is not known here: the members are " + keys},
		"a quoted key":              {"'colour' : x", "function.yaml:1: colour is not known here: the members are " + keys},
		"a text for a list":         {"name: a\n\ntags: x", "function.yaml:3: tags must be a list"},
		"a list of others":          {"tags:\n- {a: 1}", "function.yaml:1: tags.0 must be a string"},
		"a list for a text":         {"name: [1]", "function.yaml:1: name must be a string"},
		"a word for a number":       {"timeout_ms: soon", "function.yaml:1: timeout_ms must be a whole number"},
		"a part for a whole number": {"timeout_ms: 1.5", "function.yaml:1: timeout_ms must be a whole number"},
		"a list":                    {"- a", "function.yaml must be keys with values, such as 'handler: main.js'"},
		"a text":                    {"just text", "function.yaml must be keys with values, such as 'handler: main.js'"},
		"a key twice":               {"name: a\nname: b", `function.yaml:2: key "name" already set in map`},
		"no YAML":                   {"name: a\n  b: c: d", "function.yaml:2: mapping values are not allowed in this context"},
		"no YAML, nowhere":          {"\ta: 1", "function.yaml: it is no YAML: found character that cannot start any token"},
		"a schema that is no YAML":  {"schema: s.yaml", "s.yaml:1: did not find expected node content"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, "function.yaml", test.text, "s.yaml", "{", "a.js", "")
			_, _, err := define(dir, "")
			if err == nil {
				t.Fatal("no fault was found")
			}
			got := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")
			if strings.TrimPrefix(got, "schema: ") != test.want || ExitCode(err) != exitUsage {
				t.Errorf("exit code %d, %s\nwant %s", ExitCode(err), got, test.want)
			}
		})
	}
}
