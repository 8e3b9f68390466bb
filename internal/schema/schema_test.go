package schema_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"envoke/internal/schema"
)

func TestCheck(t *testing.T) {
	for name, in := range map[string]string{
		"empty":       `{}`,
		"a boolean":   `true`,
		"usual":       `{"type": "object", "properties": {"a": {"type": "number", "minimum": -1.5e3}}, "required": ["a"], "additionalProperties": false}`,
		"2020-12":     `{"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [{"const": 1}]}`,
		"draft 7":     `{"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"x": {}}, "items": [{"$ref": "#/definitions/x"}]}`,
		"recursive":   `{"$defs": {"tree": {"properties": {"left": {"$ref": "#/$defs/tree"}}}}, "$ref": "#/$defs/tree"}`,
		"its own id":  `{"$id": "https://example.com/s", "$defs": {"a": {"$anchor": "x"}}, "$ref": "#x"}`,
		"unknown key": `{"x-mine": 1}`,
		"a pattern":   `{"pattern": "^[a-z]+$", "patternProperties": {"^x": {}}}`,
	} {
		if err := schema.Check([]byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, test := range map[string]struct{ in, path, reason string }{
		"no JSON":          {`{"type": }`, "", "not valid JSON"},
		"more than JSON":   {`{} {}`, "", "not valid JSON"},
		"a number":         {`1`, "", "want boolean or object"},
		"unknown type":     {`{"properties": {"a": {"type": "strng"}}}`, "/properties/a/type", "must be one of"},
		"wrong kind":       {`{"required": "a"}`, "/required", "want array"},
		"negative":         {`{"properties": {"a/b": {"minLength": -1}}}`, "/properties/a~1b/minLength", "minimum"},
		"remote":           {`{"$ref": "https://example.com/other.json"}`, "", "nothing is fetched"},
		"a file":           {`{"$ref": "file:///etc/passwd"}`, "", "nothing is fetched"},
		"beside":           {`{"$ref": "other.json"}`, "", "nothing is fetched"},
		"remote draft":     {`{"$schema": "https://example.com/mine"}`, "", "nothing is fetched"},
		"dangling":         {`{"$ref": "#/$defs/none"}`, "", `"/$defs/none"`},
		"dangling anchor":  {`{"$ref": "#none"}`, "", "none"},
		"look-ahead":       {`{"properties": {"a": {"pattern": "(?!x)"}}}`, "/properties/a/pattern", "regex"},
		"huge number":      {`{"maximum": 1e1000000}`, "/maximum", "too large"},
		"tiny number":      {`{"multipleOf": 1e-1000000}`, "/multipleOf", "too small"},
		"long number":      {`{"enum": [` + strings.Repeat("9", 65) + `]}`, "/enum/0", "too long"},
		"beyond a float":   {`{"maximum": 1e999}`, "/maximum", "too large"},
		"deep":             {strings.Repeat(`{"not":`, 65) + `{}` + strings.Repeat(`}`, 65), "", "deeper than 64"},
		"large":            {`{"description": "` + strings.Repeat("x", schema.MaxBytes) + `"}`, "", "larger than 65536"},
		"many parts":       {`{"allOf":[` + strings.Repeat(`true,`, schema.MaxParts) + `{}]}`, "", "more than 2000"},
		"duplicate member": {`{"type": "string", "type": "number"}`, "", "not valid JSON"},
	} {
		err := schema.Check([]byte(test.in))
		var fault *schema.Fault
		if !errors.As(err, &fault) || fault.Path != test.path && test.path != "" || !strings.Contains(fault.Reason, test.reason) {
			t.Errorf("%s: %#v, want %q at %q", name, err, test.reason, test.path)
			continue
		}
		if strings.Contains(err.Error(), "envoke:") {
			t.Errorf("%s: %v names what the author did not write", name, err)
		}
	}
}

// The schema of the most parts is compiled in time.
func TestCheckIsBounded(t *testing.T) {
	large := `{"allOf":[` + strings.Repeat(`true,`, schema.MaxParts-2) + `{}]}`
	start := time.Now()
	if err := schema.Check([]byte(large)); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		`{}`, `true`, `{"$ref":"#"}`, `{"$id":"a","$ref":"b"}`, `{"$dynamicRef":"#x","$dynamicAnchor":"x"}`, `{"$schema":"#"}`,
		`{"pattern":"["}`, `{"multipleOf":0}`, `{"$id":"envoke:///schema"}`, `{"$anchor":1}`, `{"enum":[1e400]}`, `{"$id":"%"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := schema.Check(raw)
		var fault *schema.Fault
		if err != nil && (!errors.As(err, &fault) || fault.Reason == "") {
			t.Fatalf("%q: %v", raw, err)
		}
	})
}
