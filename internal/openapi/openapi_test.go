package openapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"envoke/internal/openapi"
)

const here = "envoke:///openapi.json"

// TestSchemas compiles every schema, and holds the examples beside it against it.
func TestSchemas(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapi.Document()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(here, document); err != nil {
		t.Fatal(err)
	}
	schemas, examples := 0, 0
	walk(document, "", func(at string, node map[string]any) {
		if _, ok := node["schema"]; !ok || strings.HasSuffix(at, "/properties") || strings.HasSuffix(at, "/value") {
			return
		}
		schema, err := compiler.Compile(here + "#" + at + "/schema")
		if err != nil {
			t.Errorf("%s: %v", at, err)
			return
		}
		schemas++
		for name, example := range examplesOf(node) {
			if err := schema.Validate(example); err != nil {
				t.Errorf("%s: example %s: %v", at, name, err)
			}
			examples++
		}
	})
	if schemas < 50 || examples < 10 {
		t.Errorf("found %d schemas and %d examples only", schemas, examples)
	}
}

func examplesOf(node map[string]any) map[string]any {
	found := map[string]any{}
	if example, ok := node["example"]; ok {
		found["example"] = example
	}
	named, _ := node["examples"].(map[string]any)
	for name, example := range named {
		found[name] = example.(map[string]any)["value"]
	}
	return found
}

// TestReferences: what refers to a part of the document finds it, and no part is left
// that nothing refers to.
func TestReferences(t *testing.T) {
	var document map[string]any
	if err := json.Unmarshal(openapi.Document(), &document); err != nil {
		t.Fatal(err)
	}
	unused := map[string]bool{}
	for kind, parts := range document["components"].(map[string]any) {
		for name := range parts.(map[string]any) {
			unused[fmt.Sprintf("#/components/%s/%s", kind, name)] = true
		}
	}
	known := maps.Clone(unused)
	operations := map[string]string{}
	var links []string
	walk(document, "", func(at string, node map[string]any) {
		if ref, ok := node["$ref"].(string); ok {
			if !known[ref] {
				t.Errorf("%s refers to %s, which is not there", at, ref)
			}
			delete(unused, ref)
		}
		schemes, _ := node["security"].([]any) // who calls, by the schemes' names
		for _, scheme := range schemes {
			for name := range scheme.(map[string]any) {
				delete(unused, "#/components/securitySchemes/"+name)
			}
		}
		id, ok := node["operationId"].(string)
		switch {
		case !ok:
		case strings.Contains(at, "/links/"):
			links = append(links, id)
		case operations[id] != "":
			t.Errorf("%s and %s are both called %s", operations[id], at, id)
		default:
			operations[id] = at
		}
	})
	for _, id := range links {
		if operations[id] == "" {
			t.Errorf("a link leads to %s, which is no operation", id)
		}
	}
	if len(unused) > 0 {
		t.Errorf("nothing refers to %v", slices.Sorted(maps.Keys(unused)))
	}
}

// walk visits all objects of a JSON document with the pointers to them.
func walk(value any, at string, visit func(at string, node map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(at, value)
		for name, child := range value {
			walk(child, at+"/"+escape.Replace(name), visit)
		}
	case []any:
		for i, child := range value {
			walk(child, fmt.Sprint(at, "/", i), visit)
		}
	}
}

// escape writes a name as a part of a JSON Pointer in a URL's fragment.
var escape = strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
