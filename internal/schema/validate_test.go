package schema_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/schema"
)

func compile(t testing.TB, raw string) *schema.Schema {
	t.Helper()
	s, err := schema.Compile([]byte(raw))
	if err != nil {
		t.Fatalf("%.200s: %v", raw, err)
	}
	return s
}

const order = `{
	"type": "object",
	"properties": {
		"id": {"type": "integer", "minimum": 1},
		"lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
		"note": {"type": ["string", "null"], "maxLength": 5, "pattern": "^[a-z]*$"},
		"pay": {"oneOf": [{"const": "cash"}, {"type": "object", "required": ["card"]}]}
	},
	"required": ["id"],
	"additionalProperties": false,
	"$defs": {"line": {"type": "object", "properties": {"a/b": {"enum": ["x", "y"]}}, "required": ["a/b"]}}
}`

func TestValidate(t *testing.T) {
	s := compile(t, order)
	for _, value := range []string{
		`{"id":1}`, ` {"id": 1.0, "note": null, "lines": [], "pay": "cash"} `,
		`{"id":` + strings.Repeat("9", 4096) + `,"lines":[{"a/b":"x"},{"a/b":"y","more":1}],"pay":{"card":1}}`,
	} {
		if err := s.Validate([]byte(value)); err != nil {
			t.Errorf("%.100s: %v", value, err)
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	s := compile(t, order)
	for _, test := range []struct {
		value string
		want  schema.Fault
	}{
		{`1`, schema.Fault{Path: "", Keyword: "type", Reason: "got number, want object"}},
		{`null`, schema.Fault{Path: "", Keyword: "type", Reason: "got null, want object"}},
		{`{}`, schema.Fault{Path: "", Keyword: "required", Reason: "missing property 'id'"}},
		{`{"id":"7"}`, schema.Fault{Path: "/id", Keyword: "type", Reason: "got string, want integer"}},
		{`{"id":1.5}`, schema.Fault{Path: "/id", Keyword: "type", Reason: "got number, want integer"}},
		{`{"id":0}`, schema.Fault{Path: "/id", Keyword: "minimum", Reason: "minimum: got 0, want 1"}},
		{`{"id":1,"x":2}`, schema.Fault{Path: "", Keyword: "additionalProperties", Reason: "additional properties 'x' not allowed"}},
		{`{"id":1,"lines":[{"a/b":"x"},{"a/b":"z"}]}`, schema.Fault{Path: "/lines/1/a~1b", Keyword: "enum", Reason: "value must be one of 'x', 'y'"}},
		{`{"id":1,"pay":{}}`, schema.Fault{Path: "/pay", Keyword: "oneOf", Reason: "fits none of the schemas in oneOf"}},
		// Of several, the first by path.
		{`{"note":"TOO LONG","id":"","lines":3}`, schema.Fault{Path: "/id", Keyword: "type", Reason: "got string, want integer"}},
		{`{"id":1e1000}`, schema.Fault{Path: "/id", Reason: "the number is too long, too large or too small to be checked"}},
		{`{"id":1,"lines":[` + strings.Repeat("1", 4097) + `]}`, schema.Fault{Path: "/lines/0", Reason: "the number is too long, too large or too small to be checked"}},
		{`{"id":`, schema.Fault{Reason: "is not valid JSON"}},
	} {
		var fault *schema.Fault
		if err := s.Validate([]byte(test.value)); !errors.As(err, &fault) {
			t.Errorf("%.100s: %v", test.value, err)
		} else if diff := cmp.Diff(test.want, *fault); diff != "" {
			t.Errorf("%.100s (-want +got)\n%s", test.value, diff)
		}
	}
}

func TestLongReason(t *testing.T) {
	s := compile(t, `{"maxLength": 1, "pattern": "^a", "additionalProperties": false}`)
	err := s.Validate([]byte(`{"` + strings.Repeat("é", 9999) + `":1}`))
	var fault *schema.Fault
	if !errors.As(err, &fault) || len(fault.Reason) > 520 || !strings.HasSuffix(fault.Reason, "…") {
		t.Errorf("%.1000v", err)
	}
}

// What would take the library hours, or gigabytes, is given up.
func TestValidateIsBounded(t *testing.T) {
	twice := `{"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]`
	for name, test := range map[string]struct{ schema, value string }{
		"by powers of two":          {twice + `}`, nested(40)},
		"by powers of two, failing": {twice + `, "minProperties": 1}`, nested(40)},
		"where nobody asks why":     {`{"not": {"anyOf": [{"properties": {"a": {"$ref": "#/not"}}}, {"properties": {"a": {"$ref": "#/not"}}}], "minProperties": 1}}`, nested(40)},
		"by powers of two, in 7":    {`{"$schema": "http://json-schema.org/draft-07/schema#", "allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}`, nested(40)},
		"many values":               {`{"items": {"type": "string"}}`, `[` + strings.Repeat("1,", 300_000) + `1]`},
		"many schemas":              {`{"allOf": [` + strings.Repeat(`{"items": {"type": "string"}},`, 900) + `true]}`, `[` + strings.Repeat("1,", 10_000) + `1]`},
		"many looks at a text":      {`{"allOf": [` + strings.Repeat(`{"pattern": "^b"},`, 1900) + `true]}`, `"` + strings.Repeat("ab", 500_000) + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := compile(t, test.schema)
			var fault *schema.Fault
			if err := s.Validate([]byte(test.value)); !errors.As(err, &fault) || !strings.Contains(fault.Reason, "too many steps") {
				t.Errorf("%v", err)
			}
			if err := s.Validate([]byte(`{"a":{}}`)); err != nil && strings.Contains(err.Error(), "steps") {
				t.Errorf("the next value has no steps of its own: %v", err)
			}
		})
	}
}

func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth) + `{}` + strings.Repeat(`}`, depth)
}

// What is looked for while checking would not be counted.
func TestDynamicReferences(t *testing.T) {
	for _, raw := range []string{
		`{"$defs": {"x": {"$dynamicAnchor": "x"}}, "items": {"$dynamicRef": "#x"}}`,
		`{"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": true, "items": {"$recursiveRef": "#"}}`,
	} {
		if _, err := schema.Compile([]byte(raw)); err == nil || !strings.Contains(err.Error(), "use $ref") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestFormats(t *testing.T) {
	for raw, valid := range map[string]bool{
		`{"format": "ipv4"}`: true, // an annotation since 2019
		`{"$schema": "http://json-schema.org/draft-07/schema#", "format": "ipv4"}`: false,
	} {
		if err := compile(t, raw).Validate([]byte(`"x"`)); (err == nil) != valid {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestValidateAtOnce(t *testing.T) {
	s := compile(t, order)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if err := s.Validate([]byte(`{"id":1,"lines":[{"a/b":"x"}]}`)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func FuzzValidate(f *testing.F) {
	for _, seed := range [][2]string{
		{order, `{"id":1,"pay":{"card":1}}`},
		{`{"$ref":"#"}`, `1`},
		{`false`, `null`},
		{`{"uniqueItems":true}`, `[1,1.0,1e0]`},
		{`{"multipleOf":0.1}`, `1e999`},
		{`{"contains":{"const":1},"unevaluatedItems":false}`, `[1,2]`},
		{`{"not":{}}`, `"\ud800"`},
		{`{"$schema":"http://json-schema.org/draft-04/schema#","dependencies":{"a":["b"]}}`, `{"a":1}`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, raw, value []byte) {
		s, err := schema.Compile(raw)
		if err != nil {
			return
		}
		var fault *schema.Fault
		if err := s.Validate(value); err != nil && (!errors.As(err, &fault) || fault.Reason == "") {
			t.Fatalf("%q by %q: %v", value, raw, err)
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	s := compile(b, order)
	for b.Loop() {
		if err := s.Validate([]byte(`{"id":1,"lines":[{"a/b":"x"},{"a/b":"y"}],"note":"abc"}`)); err != nil {
			b.Fatal(err)
		}
	}
}

// What a schema reads of long texts counts too, not only how often it looks.
func TestLongTextsCount(t *testing.T) {
	var lengths strings.Builder
	lengths.WriteString(`{"$ref":"#/$defs/d0","$defs":{"d24":{"minLength":1}`)
	for i := range 24 {
		fmt.Fprintf(&lengths, `,"d%d":{"anyOf":[{"type":"null","$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i, i+1, i+1)
	}
	lengths.WriteString("}}")
	for name, test := range map[string]struct {
		schema  string
		text    int // bytes
		tooMuch bool
	}{
		"lengths, again and again": {lengths.String(), 1 << 20, true},
		"a large pattern":          {`{"pattern":"` + strings.Repeat("a?", 3000) + strings.Repeat("a", 3000) + `"}`, 50_000, true},
		"a large pattern of names": {`{"patternProperties":{"` + strings.Repeat("a?", 3000) + `b":true}}`, -50_000, true},
		"a pattern":                {`{"pattern":"^[a-z ]{1,20}|x$"}`, 1 << 20, false},
		"a length":                 {`{"maxLength":9000000}`, 6 << 20, false},
	} {
		compiled, err := schema.Compile([]byte(test.schema))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		value := `"` + strings.Repeat("a", max(test.text, -test.text)) + `"`
		if test.text < 0 {
			value = `{` + value + `:1}`
		}
		err = compiled.Validate([]byte(value))
		if tooMuch := err != nil && strings.Contains(err.Error(), "too many steps"); tooMuch != test.tooMuch {
			t.Errorf("%s: %.100v", name, err)
		}
	}
	for _, pattern := range []string{strings.Repeat("a?", 15_000), "(((a{10}){10}){10}){9}b{1000}"} {
		if _, err := schema.Compile([]byte(`{"pattern":"` + pattern + `"}`)); err == nil {
			t.Errorf("the pattern %.20s… is accepted", pattern)
		}
	}
}
