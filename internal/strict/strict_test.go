package strict_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

type body struct {
	Title   string          `json:"title"`
	Version *int            `json:"version"`
	Network *bool           `json:"network"`
	Tags    []string        `json:"tags"`
	Weights map[int]int     `json:"weights"`
	Schema  json.RawMessage `json:"schema"`
}

func TestDecode(t *testing.T) {
	no := false
	for name, test := range map[string]struct {
		raw  string
		want body
	}{
		"nothing":              {`{}`, body{}},
		"all":                  {`{"title":"a","version":3,"network":false,"tags":["b"],"weights":{"2":10},"schema":{"x":[1]}}`, body{"a", new(3), &no, []string{"b"}, map[int]int{2: 10}, []byte(`{"x":[1]}`)}},
		"null is as if absent": {`{"title":null,"version":null,"network":null,"tags":null,"weights":null}`, body{}},
		"a whole number":       {`{"version":5.0}`, body{Version: new(5)}},
		"another one":          {`{"version":5e2}`, body{Version: new(500)}},
		"the largest":          {`{"version":2147483647}`, body{Version: new(1<<31 - 1)}},
		"raw JSON":             {`{"schema":12345678901234567890}`, body{Schema: []byte(`12345678901234567890`)}},
		"space around":         {" {\"title\" : \"a\"}\n", body{Title: "a"}},
	} {
		var got body
		if err := strict.Decode([]byte(test.raw), "", &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	const known = "is not known here: the members are title, version, network, tags, weights, schema"
	for name, test := range map[string]struct{ raw, below, member, message string }{
		"an unknown member":     {`{"titel":"a"}`, "", "titel", "titel " + known},
		"one below":             {`{"titel":"a"}`, "options", "options.titel", "options.titel " + known},
		"one of another case":   {`{"Title":"a"}`, "", "Title", "Title " + known},
		"a member twice":        {`{"title":"a","title":"b"}`, "", "title", "title is given twice"},
		"a number for a text":   {`{"title":1}`, "", "title", "title must be a string"},
		"a text for a number":   {`{"version":"1"}`, "", "version", "version must be a whole number"},
		"a part for a number":   {`{"version":1.5}`, "", "version", "version must be a whole number"},
		"beyond all bounds":     {`{"version":2147483648}`, "", "version", "version must be a whole number"},
		"far beyond":            {`{"version":1e999}`, "", "version", "version must be a whole number"},
		"a text for a bool":     {`{"network":"no"}`, "", "network", "network must be true or false"},
		"a text for a list":     {`{"tags":"a"}`, "", "tags", "tags must be a list"},
		"a number in a list":    {`{"tags":["a",1]}`, "", "tags.1", "tags.1 must be a string"},
		"a list for an object":  {`{"weights":[1]}`, "", "weights", "weights must be an object"},
		"a text in an object":   {`{"weights":{"2":"x"}}`, "", "weights.2", "weights.2 must be a whole number"},
		"a list for the body":   {`[]`, "", "", "the body must be an object"},
		"a list for what is in": {`[]`, "options", "options", "options must be an object"},
		"no JSON":               {`{"title":`, "", "", "the body is not valid JSON in UTF-8"},
		"two values":            {`{} {}`, "", "", "the body is not valid JSON in UTF-8"},
		"no UTF-8":              {"{\"title\":\"\xff\"}", "", "", "the body is not valid JSON in UTF-8"},
		"nothing":               {``, "", "", "the body is not valid JSON in UTF-8"},
	} {
		err := strict.Decode([]byte(test.raw), test.below, new(body))
		if err == nil {
			t.Errorf("%s: it is taken", name)
			continue
		}
		got := faas.AsError(err)
		member, _ := got.Details["member"].(string)
		if got.Code != faas.InvalidRequest || got.Message != test.message || member != test.member {
			t.Errorf("%s: %s %q of %q, want %q of %q", name, got.Code, got.Message, member, test.message, test.member)
		}
	}
}
