package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"envoke/internal/faas"
)

func newFunction(title, source string) faas.Function {
	return faas.Function{
		Name:   faas.Name{Language: faas.NodeJS, Title: title},
		Script: faas.NewScript(faas.NodeJS, source, nil),
	}
}

func testFunctions(t *testing.T, open Open) {
	place := t.TempDir()
	store := open(t, place)
	full := faas.Function{
		Name:        faas.Name{Language: faas.Python, Title: "Text.pro-cessor_1"},
		Description: "häß 日本語 'quoted'",
		Script:      faas.NewScript(faas.Python, "result = 1", json.RawMessage(`{"optimization_level": "release"}`)).With(json.RawMessage(`{"requirements.txt": "left==1.0"}`)),
		Schema:      json.RawMessage(`{"type": "object"}`),
		Examples:    json.RawMessage(`[1, 2]`),
		Tags:        []string{"a", "ü,'"},
		UserID:      "ada",
		Timeout:     2500 * time.Millisecond,
		CacheTTL:    time.Minute,
		MemoryMB:    256,
		Network:     faas.Egress,
		Environment: faas.Environment{"MODE": {Text: "\"é\"\n"}, "EMPTY": {}, "DB": {Secret: "DB_URL"}},
		Limits:      faas.Limits{CPU: 700 * time.Millisecond, Output: 1 << 20, Concurrency: 3, Rate: 30},
	}
	bare := newFunction("bare", "")
	before := time.Now().Truncate(time.Microsecond)
	stored := map[faas.Name]faas.Function{full.Name: mustPut(t, store, full), bare.Name: mustPut(t, store, bare)}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, place)
	defer store.Close()
	for _, want := range []faas.Function{full, bare} {
		got, err := store.FindFunction(t.Context(), faas.Ref{Name: want.Name})
		wantCode(t, "find function", err, "")
		equal(t, "what was returned when it was put", got, stored[want.Name])
		if got.CreatedAt.Before(before) || time.Now().Before(got.CreatedAt) || !got.UpdatedAt.Equal(got.CreatedAt) {
			t.Errorf("%s: created %v, updated %v", want.Name, got.CreatedAt, got.UpdatedAt)
		}
		want.Version = 1
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), ignoreTimes); diff != "" {
			t.Errorf("function (-want +got):\n%s", diff)
		}
	}
	for _, name := range []faas.Name{{}, {Language: faas.NodeJS, Title: full.Name.Title}, {Language: faas.NodeJS, Title: "BARE"}} {
		_, err := store.FindFunction(t.Context(), faas.Ref{Name: name})
		wantCode(t, "find "+name.String(), err, faas.NotFound)
	}
}

var ignoreTimes = cmpopts.IgnoreFields(faas.Function{}, "CreatedAt", "UpdatedAt")

func testListFunctions(t *testing.T, open Open) {
	store := fresh(t, open)
	tagged := newFunction("tagged", "return 1")
	tagged.Tags, tagged.UserID, tagged.Description = []string{"math", "x"}, "ada", "described"
	mustPut(t, store, tagged)
	mustPut(t, store, faas.Function{Name: faas.Name{Language: faas.Python, Title: "plain"}, Script: faas.NewScript(faas.Python, "x", nil)})
	own, script := newSession("own", "return 'own'")
	own.UserID = "ada"
	mustCreate(t, store, own, script)
	twin, _ := newSession("own", "return 'own'") // names of sessions' scripts are not unique
	twin.CreatedAt = own.CreatedAt.Add(time.Second)
	mustCreate(t, store, twin, script)
	expired, _ := newSession("expired", "return 'own'")
	expired.CreatedAt, expired.ExpiresAt = epoch, epoch.Add(time.Hour)
	mustCreate(t, store, expired, script)
	ofFunction, _ := newSession("tagged", "return 1")
	ofFunction.Version = 1
	mustCreate(t, store, ofFunction, nil)

	for name, test := range map[string]struct {
		query faas.FunctionQuery
		want  []string // newest first
	}{
		"all":          {want: []string{"nodejs-own", "nodejs-own", "python-plain", "nodejs-tagged"}},
		"predefined":   {query: faas.FunctionQuery{Type: faas.Predefined}, want: []string{"python-plain", "nodejs-tagged"}},
		"dynamic":      {query: faas.FunctionQuery{Type: faas.Dynamic}, want: []string{"nodejs-own", "nodejs-own"}},
		"language":     {query: faas.FunctionQuery{Language: faas.Python}, want: []string{"python-plain"}},
		"no rust":      {query: faas.FunctionQuery{Language: faas.Rust}},
		"user":         {query: faas.FunctionQuery{UserID: "ada"}, want: []string{"nodejs-own", "nodejs-tagged"}},
		"tag":          {query: faas.FunctionQuery{Tag: "x"}, want: []string{"nodejs-tagged"}},
		"part of tag":  {query: faas.FunctionQuery{Tag: "mat"}},
		"dynamic user": {query: faas.FunctionQuery{Type: faas.Dynamic, UserID: "ada"}, want: []string{"nodejs-own"}},
	} {
		test.query.Page, test.query.PerPage = 1, 100
		functions, total, err := store.ListFunctions(t.Context(), test.query)
		wantCode(t, name, err, "")
		equal(t, name, names(functions), test.want)
		equal(t, name+": total", total, len(test.want))
		for _, f := range functions {
			if f.Script.Source != "" {
				t.Errorf("%s: the listing of %s has its source", name, f.Name)
			}
		}
	}
	functions, _, err := store.ListFunctions(t.Context(), faas.FunctionQuery{Tag: "math", Page: 1, PerPage: 1})
	wantCode(t, "list", err, "")
	want := tagged
	want.Version, want.Script = 1, faas.Script{Language: faas.NodeJS}
	if diff := cmp.Diff([]faas.Function{want}, functions, cmpopts.EquateEmpty(), ignoreTimes); diff != "" {
		t.Errorf("item (-want +got):\n%s", diff)
	}
}

func testListPages(t *testing.T, open Open) {
	store := fresh(t, open)
	var want []string
	for i := range 7 {
		mustPut(t, store, newFunction(fmt.Sprint("f", i), fmt.Sprint(i)))
		want = append(want, fmt.Sprint("nodejs-f", i))
	}
	slices.Reverse(want)
	var got []string
	for page := 1; page <= 4; page++ {
		functions, total, err := store.ListFunctions(t.Context(), faas.FunctionQuery{Page: page, PerPage: 3})
		wantCode(t, "list", err, "")
		equal(t, "total", total, 7)
		got = append(got, names(functions)...)
	}
	equal(t, "all pages", got, want)
}

func names(functions []faas.Function) []string {
	var all []string
	for _, f := range functions {
		all = append(all, f.Name.String())
	}
	return all
}
