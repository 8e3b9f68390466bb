package routing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// words are what the source says of the types: comments of types and fields, and the constants
// of texts, by their types.
type words struct {
	types, fields map[string]string // of fields by Type.field
	enums         map[string][]string
}

func readWords(t *testing.T) words {
	t.Helper()
	w := words{types: map[string]string{}, fields: map[string]string{}, enums: map[string][]string{}}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if decl, ok := d.(*ast.GenDecl); ok {
				w.read(decl)
			}
		}
	}
	return w
}

func (w words) read(decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			w.types[spec.Name.Name] = told(decl.Doc)
			if object, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range object.Fields.List {
					for _, name := range f.Names {
						w.fields[spec.Name.Name+"."+name.Name] = told(f.Doc, f.Comment)
					}
				}
			}
		case *ast.ValueSpec:
			kind, ok := spec.Type.(*ast.Ident)
			if !ok || decl.Tok != token.CONST || len(spec.Values) != 1 {
				continue
			}
			if value, ok := spec.Values[0].(*ast.BasicLit); ok && value.Kind == token.STRING {
				text, _ := strconv.Unquote(value.Value)
				w.enums[kind.Name] = append(w.enums[kind.Name], text)
			}
		}
	}
}

// told is a comment as users of the schema read it, who know nothing of Go.
func told(comments ...*ast.CommentGroup) string {
	var parts []string
	for _, c := range comments {
		if c != nil {
			parts = append(parts, strings.Join(strings.Fields(c.Text()), " "))
		}
	}
	text := unset.ReplaceAllString(strings.Join(parts, " "), "${1}without it: ")
	return zero.ReplaceAllString(text, "An empty one")
}

// What comments say of fields that are not set, in Go's words.
var (
	unset = regexp.MustCompile(`(^|[;,] )(?:0|empty|nil): `)
	zero  = regexp.MustCompile(`The zero \w+`)
)

// bounds are what the types do not say of a field, as Check has it.
var bounds = map[string]map[string]any{
	"Routing.Routes":              {"maxItems": maxRoutes},
	"Routing.Upstreams":           {"maxItems": maxUpstreams},
	"Routing.Listeners":           {"maxItems": maxListeners},
	"Route.Name":                  {"pattern": dnsName.String(), "maxLength": maxName},
	"Upstream.Name":               {"pattern": dnsName.String(), "maxLength": maxName},
	"Listener.Name":               {"pattern": dnsName.String(), "maxLength": maxName},
	"Rule.Name":                   {"pattern": dnsName.String(), "maxLength": maxName},
	"Route.Rules":                 {"minItems": 1, "maxItems": maxRules},
	"Rule.Matches":                {"maxItems": maxMatches},
	"Rule.Filters":                {"maxItems": maxFilters},
	"Rule.BackendRefs":            {"maxItems": maxBackends},
	"Match.Method":                {"enum": methods},
	"Match.Headers":               {"maxItems": maxValueRefs},
	"Match.QueryParams":           {"maxItems": maxValueRefs},
	"ValueMatch.Type":             {"enum": []MatchType{Exact, RegularExpression}},
	"BackendRef.Weight":           {"minimum": 0, "maximum": maxWeight},
	"Mirror.Percent":              {"minimum": 0, "maximum": 100},
	"Listener.Port":               {"minimum": 1, "maximum": 65535},
	"UpstreamEndpoint.Port":       {"minimum": 1, "maximum": 65535},
	"Redirect.Scheme":             {"enum": []string{"http", "https"}},
	"Redirect.StatusCode":         {"enum": []int{301, 302, 303, 307, 308}},
	"Retry.Attempts":              {"minimum": 1, "maximum": 10},
	"Hook.Function":               {"pattern": "^[a-z]+-"},
	"UpstreamEndpoint.Weight":     {"minimum": 1, "maximum": 100_000},
	"Upstream.Endpoints":          {"maxItems": maxEndpoints},
	"HealthCheck.Path":            {"pattern": "^/"},
	"PathMatch.Value":             {"minLength": 1, "maxLength": maxPath},
	"UpstreamEndpoint.Path":       {"pattern": "^/", "maxLength": maxSocketPath},
	"PathRewrite.ReplaceFullPath": {"pattern": "^/"},
}

// schemaMaker makes the schema, and with it the list of all fields for people.
type schemaMaker struct {
	words
	definitions map[string]any
	order       []string // of definitions
	tables      map[string]string
}

func (m *schemaMaker) of(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[Duration]():
		return map[string]any{"type": "string", "pattern": `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`}
	case t.Kind() == reflect.Pointer:
		return m.of(t.Elem())
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "items": m.of(t.Elem())}
	case t.Kind() == reflect.Struct:
		m.define(t)
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case t.Kind() == reflect.Int:
		return map[string]any{"type": "integer"}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	}
	s := map[string]any{"type": "string"}
	if words := m.enums[t.Name()]; words != nil {
		s["enum"] = words
	}
	return s
}

func (m *schemaMaker) define(t reflect.Type) {
	if m.definitions[t.Name()] != nil {
		return
	}
	properties, required := map[string]any{}, []string{}
	definition := map[string]any{
		"type": "object", "additionalProperties": false, "description": m.types[t.Name()], "properties": properties,
	}
	m.definitions[t.Name()] = definition
	m.order = append(m.order, t.Name())
	var table strings.Builder
	for f := range t.Fields() {
		name, _, optional := strings.Cut(f.Tag.Get("json"), ",omit")
		key := t.Name() + "." + f.Name
		s := m.of(f.Type)
		if text := m.fields[key]; text != "" {
			s["description"] = text
		}
		maps.Copy(s, bounds[key])
		properties[name] = s
		must := ""
		if !optional {
			required, must = append(required, name), ", required"
		}
		fmt.Fprintf(&table, "| `%s` | %s%s | %s |\n", name, kindName(f.Type), must, m.meaning(key, f.Type, s))
	}
	if len(required) > 0 {
		definition["required"] = required
	}
	m.tables[t.Name()] = table.String()
}

// kindName is a field's type in the list for people.
func kindName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return "duration"
	case t.Kind() == reflect.Pointer:
		return kindName(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list of " + kindName(t.Elem())
	case t.Kind() == reflect.Struct:
		return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(t.Name()))
	case t.Kind() == reflect.Int:
		return "number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "text"
}

func (m *schemaMaker) meaning(key string, t reflect.Type, s map[string]any) string {
	text := m.fields[key]
	if s["enum"] != nil && t.Kind() == reflect.String {
		var all []string
		for i := range reflect.ValueOf(s["enum"]).Len() {
			all = append(all, fmt.Sprintf("`%v`", reflect.ValueOf(s["enum"]).Index(i)))
		}
		switch words := strings.Join(all, ", "); {
		case text == "":
			text = words
		case text[0] >= 'a': // no sentence
			text = words + "; " + text
		default:
			text = words + ". " + text
		}
	}
	return strings.ReplaceAll(text, "|", `\|`)
}

func makeSchema(t *testing.T) (raw []byte, fields string) {
	t.Helper()
	m := &schemaMaker{words: readWords(t), definitions: map[string]any{}, tables: map[string]string{}}
	root := reflect.TypeFor[Routing]()
	m.of(root)
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "envoke:routing.schema.json",
		"title": "Envoke: upstreams and routes", "$ref": "#/$defs/Routing", "$defs": m.definitions,
	})
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	for _, name := range m.order {
		fmt.Fprintf(&page, "### %s\n\n%s\n\n| field | | |\n|---|---|---|\n%s\n", name, m.types[name], m.tables[name])
	}
	return out.Bytes(), page.String()
}
