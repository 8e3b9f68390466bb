package routing

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// only is a document of one route with that rule.
func only(rule string) string {
	return "upstreams: [{name: u}]\nroutes: [{name: r, rules: [" + rule + "]}]"
}

// faultsOf are the faults of a document, a line each.
func faultsOf(document string) string {
	_, faults := ParseAll(Checks{}, Text{Name: "f", Raw: []byte(document)})
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// TestParse: what is written wrongly is told with its place, all of it at once.
func TestParse(t *testing.T) {
	for name, test := range map[string]struct{ document, want string }{
		"nothing":      {"", "f:1:1: is empty: write {} for a declaration of nothing"},
		"a comment":    {"# routes\n", "f:1:1: is empty: write {} for a declaration of nothing"},
		"no text":      {"\xff", "f: is not UTF-8"},
		"no object":    {"- a", "f:1:1: must be an object: fields with values"},
		"no YAML":      {"routes:\n- name: [a\n", "f:2:1: is no YAML: did not find expected ',' or ']'"},
		"no key":       {"a:\n  b: 1\n c: 2\n", "f:3:1: is no YAML: did not find expected key"},
		"no anchor":    {"api: {}\nroutes: *r\n", "f:2:9: is no YAML: unknown anchor 'r' referenced"},
		"two":          {"{}\n---\n{}", "f:2:1: is a second document: write one, or two files"},
		"misspelt":     {"routes:\n- name: a\n  hostname: [a.b]\n  rules: [{}]", "f:3:3: routes[0].hostname: is not known: did you mean hostnames?"},
		"unknown":      {"colour: red", "f:1:1: colour: is not known: the fields are api, listeners, upstreams, routes, defaults"},
		"doubled":      {"routes: []\nroutes: []", "f:2:1: routes: is there twice"},
		"merged":       {"routes:\n- <<: {name: a}\n  rules: [{}]", "f:2:3: routes[0].<<: is not known: the fields are name, hostnames, rules\nf:2:3: routes[0].name: is missing"},
		"a number":     {"routes: [{name: 7, rules: [{}]}]", "f:1:17: routes[0].name: must be text: write \"7\""},
		"no number":    {"listeners: [{name: a, protocol: HTTP, port: eighty}]", "f:1:45: listeners[0].port: must be a whole number"},
		"a fraction":   {"listeners: [{name: a, protocol: HTTP, port: 80.5}]", "f:1:45: listeners[0].port: must be a whole number"},
		"no bool":      {"listeners: [{name: a, protocol: HTTP, port: 80, http3: 1}]", "f:1:56: listeners[0].http3: must be true or false"},
		"no list":      {"routes: {}", "f:1:9: routes: must be a list"},
		"no duration":  {only("{timeouts: {request: 5}}"), "f:2:49: routes[0].rules[0].timeouts.request: \"5\" is no duration such as 500ms, 10s or 1h30m"},
		"an empty one": {"routes: [null]", "f:1:10: routes[0]: is empty"},
		"several": {
			"upstreams:\n- name: A\n  endpoints: [{host: 1.2.3.4}]\nroutes:\n- name: r\n  rules:\n  - matches:\n    - path: {value: shop}\n",
			"f:2:9: upstreams[0].name: \"A\" is no name: it has " + nameRule + "\n" +
				"f:3:15: upstreams[0].endpoints[0].port: is 0: it must be 1 to 65535\n" +
				"f:8:21: routes[0].rules[0].matches[0].path.value: must begin with /",
		},
		"an alias": {"upstreams:\n- &u {name: B}\n- *u\n", "f:2:3: upstreams[0].name: \"B\" is no name: it has " + nameRule + "\n" +
			"f:2:3: upstreams[1].name: \"B\" is no name: it has " + nameRule + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "an alias" { // places in what it stands for are those of the alias
				if got := faultsOf(test.document); strings.Count(got, "is no name") != 2 {
					t.Error(got)
				}
				return
			}
			if diff := cmp.Diff(test.want, faultsOf(test.document)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestJSON: JSON is read as YAML is, with tabs, escapes and all.
func TestJSON(t *testing.T) {
	const document = "{\n\t\"routes\": [\n\t\t{\"name\": \"r\", \"rules\": [{\"filters\": [{\"type\": \"RequestHeaderModifier\", \"requestHeaderModifier\":\n\t\t\t{\"set\": [{\"name\": \"a\", \"value\": \"\\/\\u00e9\\ud83d\\ude00\"}]}}]}]}\n\t]\n}\n"
	declared, faults := ParseAll(Checks{}, Text{Raw: []byte(document)})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if got := declared.Routes[0].Rules[0].Filters[0].RequestHeaderModifier.Set[0].Value; got != "/é😀" {
		t.Errorf("it is %q", got)
	}
	if got := faultsOf("{\n\t\"routes\": [\n\t\t{\"nam\": 1}]}"); !strings.HasPrefix(got, "f:3:3: routes[0].name: is missing\nf:3:3: routes[0].rules: is missing") {
		t.Error(got)
	}
}

// TestManyFaults: nobody reads thousands.
func TestManyFaults(t *testing.T) {
	_, faults := ParseAll(Checks{}, Text{Raw: []byte("routes: [" + strings.Repeat("{}, ", 500) + "]")})
	if last := faults[len(faults)-1]; len(faults) != MaxFaults+1 || !strings.Contains(last.Message, "more faults") {
		t.Errorf("%d faults, the last: %v", len(faults), last)
	}
}

// TestLargeDocuments: limits hold, and aliases do not make much of little.
func TestLargeDocuments(t *testing.T) {
	if _, faults := Parse("f", make([]byte, MaxDocument+1)); len(faults) != 1 || !strings.Contains(faults.Error(), "larger") {
		t.Error(faults)
	}
	if _, faults := ParseAll(Checks{}, Text{Name: "f", Raw: manyRoutes(maxRoutes + 1)}); len(faults) != 2 || !strings.Contains(faults.Error(), "routes: are more than 10000 in all") {
		t.Error(faults)
	}
	var text strings.Builder
	text.WriteString("routes:\n")
	for range 3000 {
		text.WriteString("- {name: a, hostnames: *h}\n")
	}
	document := "api: {hostnames: &h [" + strings.Repeat("a.b, ", 1000) + "]}\n" + text.String()
	if _, faults := Parse("f", []byte(document)); len(faults) != 1 || !strings.Contains(faults.Error(), "more than are taken") {
		t.Errorf("%.200s", faults.Error())
	}
	if got := faultsOf(document); strings.Count(got, "\n") != MaxFaults {
		t.Errorf("%d faults", strings.Count(got, "\n"))
	}
}

// TestFiles: a folder's files are one declaration, and names are theirs alone.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"b.yaml": "routes: [{name: r, rules: [{backendRefs: [{name: u}]}]}]", "a.json": `{"upstreams": [{"name": "u"}]}`,
		".hidden.yaml": "colour: red", "README": "no YAML: :",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts, err := ReadFiles(dir)
	if err != nil || len(texts) != 2 {
		t.Fatal(texts, err)
	}
	declared, faults := ParseAll(Checks{}, texts...)
	if len(faults) > 0 || len(declared.Routes) != 1 || len(declared.Upstreams) != 1 {
		t.Errorf("%v: %+v", faults, declared)
	}
	if err := os.WriteFile(filepath.Join(dir, "c.yml"), []byte("# twice\nupstreams:\n- name: u\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	texts, _ = ReadFiles(dir)
	_, faults = ParseAll(Checks{}, texts...)
	want := fmt.Sprintf("%s/c.yml:3:9: upstreams[0].name: \"u\" is there twice: the other is %s/a.json:1:25: upstreams[0].name", dir, dir)
	if diff := cmp.Diff(want, faults.Error()); diff != "" {
		t.Error(diff)
	}
	if _, err := ReadFiles(filepath.Join(dir, "none.yaml"), dir); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Error(err)
	}
}

// FuzzParse: whatever is written, it is read or refused with faults that have a place, and what
// has no faults means the same when it is written out and read again.
func FuzzParse(f *testing.F) {
	page, err := os.ReadFile(guide)
	if err != nil {
		f.Fatal(err)
	}
	for i, part := range strings.Split(string(page), "```") {
		if i%2 == 1 {
			f.Add([]byte(strings.TrimPrefix(part, "yaml\n")))
		}
	}
	for _, seed := range []string{"", "{}", "[]", "a: &a [*a]", "routes: &r [*r]", "<<: {}", "{\"a\":\t1}", "? [a]\n: b", "--- \n...\n---", "routes: [{name: 0x1f}]", "api: !!binary aGk="} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		declared, faults := ParseAll(Checks{}, Text{Name: "f", Raw: raw})
		for _, fault := range faults {
			if fault.Message == "" {
				t.Errorf("%+v says nothing", fault)
			}
		}
		if len(faults) > 0 {
			return
		}
		again, faults := ParseAll(Checks{}, Text{Raw: written(t, declared)})
		if len(faults) > 0 {
			t.Fatalf("what was read has faults when it is written: %v", faults)
		}
		if changes := Diff(declared, again); len(changes) > 0 {
			t.Errorf("it is read otherwise: %+v", changes)
		}
	})
}
