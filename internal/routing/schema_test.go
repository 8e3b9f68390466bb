package routing

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "rewrite the schema and the fields in docs/routing.md")

const (
	schemaCopy = "../../docs/routing.schema.json"
	guide      = "../../docs/routing.md"
)

var fieldsInGuide = regexp.MustCompile(`(?s)(<!-- fields: made by go test \./internal/routing -run TestSchema -update -->\n).*(<!-- end of fields -->)`)

// TestSchema: the schema, its copy for editors and the guide have every field of the types.
func TestSchema(t *testing.T) {
	made, fields := makeSchema(t)
	page, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	if !fieldsInGuide.Match(page) {
		t.Fatal("the guide has no place for the fields")
	}
	told := fieldsInGuide.ReplaceAllString(string(page), "${1}\n"+strings.ReplaceAll(fields, "$", "$$")+"${2}")
	if *update {
		for path, content := range map[string]string{"schema.json": string(made), schemaCopy: string(made), guide: told} {
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	kept, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := os.ReadFile(schemaCopy)
	if err != nil {
		t.Fatal(err)
	}
	const how = "go test ./internal/routing -run TestSchema -update"
	if diff := cmp.Diff(string(made), string(kept)); diff != "" {
		t.Errorf("schema.json (%s):\n%s", how, diff)
	}
	if !bytes.Equal(kept, shared) || !*update && string(page) != told {
		t.Errorf("docs/routing.schema.json and docs/routing.md do not have the fields of the types: %s", how)
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource("envoke:routing.schema.json", value); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("envoke:routing.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// values are a document as the schema's library has it.
func values(t *testing.T, document string) any {
	t.Helper()
	doc, faults := Parse("", []byte(document))
	if len(faults) > 0 {
		t.Fatalf("%v in\n%s", faults, document)
	}
	var plain any
	if err := doc.root.Decode(&plain); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestExamples: what the guide shows has no faults, and the schema takes it; together the
// examples have every field.
func TestExamples(t *testing.T) {
	page, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	compiled := compiledSchema(t)
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) < 3 {
		t.Fatalf("the guide has %d examples", len(examples))
	}
	shown := map[string]bool{}
	for _, example := range examples {
		declared, faults := ParseAll(Checks{}, Text{Name: "routing.md", Raw: []byte(example[1])})
		if len(faults) > 0 {
			t.Errorf("%v in\n%s", faults, example[1])
			continue
		}
		if err := compiled.Validate(values(t, example[1])); err != nil {
			t.Errorf("%v in\n%s", err, example[1])
		}
		noteFields(shown, reflect.ValueOf(declared))
	}
	shown["Listener.HTTP3"] = true // which is a fault in this version
	var missing []string
	for name := range readWords(t).fields {
		if field, known := reachable()[name]; known && !shown[field] {
			missing = append(missing, field)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("no example has %v", missing)
	}
}

// noteFields takes down which fields are set.
func noteFields(shown map[string]bool, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			noteFields(shown, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			noteFields(shown, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				shown[v.Type().Name()+"."+v.Type().Field(i).Name] = true
				noteFields(shown, v.Field(i))
			}
		}
	}
}

// reachable are the fields of a declaration.
func reachable() map[string]string {
	found := map[string]string{}
	var visit func(reflect.Type)
	visit = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice:
			visit(t.Elem())
		case reflect.Struct:
			for f := range t.Fields() {
				key := t.Name() + "." + f.Name
				if found[key] == "" {
					found[key] = key
					visit(f.Type)
				}
			}
		}
	}
	visit(reflect.TypeFor[Routing]())
	return found
}

// TestSchemaRefuses: what cannot be meant is seen by editors.
func TestSchemaRefuses(t *testing.T) {
	compiled := compiledSchema(t)
	for _, document := range []string{
		`{"route":[]}`, `{"routes":[{"name":"a"}]}`, `{"routes":[{"rules":[{}]}]}`, `{"routes":[{"name":"A b","rules":[{}]}]}`,
		`{"routes":[{"name":"a","rules":[{"hooks":{"request":{"function":"nodejs-a","deadline":"1s"}}}]}]}`,
		`{"routes":[{"name":"a","rules":[{"timeouts":{"request":5}}]}]}`,
		`{"routes":[{"name":"a","rules":[{"matches":[{"method":"get"}]}]}]}`,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		if compiled.Validate(value) == nil {
			t.Errorf("the schema takes %s", document)
		}
	}
}
