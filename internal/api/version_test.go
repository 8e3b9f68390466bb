package api_test

import (
	"fmt"
	"strings"
	"testing"

	"envoke/internal/faas"
)

// newVersionedRig has a function nodejs-f of three versions.
func newVersionedRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	for i := range 3 {
		put := r.store.AddVersion
		if i == 0 {
			put = r.store.CreateFunction
		}
		name := faas.Name{Language: faas.NodeJS, Title: "f"}
		f := faas.Function{Name: name, Description: fmt.Sprint("number ", i+1), Script: faas.NewScript(faas.NodeJS, fmt.Sprint("return ", i+1), nil)}
		if _, err := put(t.Context(), faas.Actor{}, f); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// versions is what matters of the versions listed: number, current, aliases.
func (r *rig) versions() string {
	r.Helper()
	_, body, _ := r.request("GET", functions+"/nodejs-f/versions")
	var shown []string
	for _, v := range body.(map[string]any)["versions"].([]any) {
		version := v.(map[string]any)
		if len(version["digest"].(string)) != 64 || version["created_at"] == "" || version["created_by"] != nil || len(version) != 6 {
			r.Errorf("a version is %v", version)
		}
		shown = append(shown, fmt.Sprint(version["version"], version["is_current"], version["aliases"]))
	}
	return strings.Join(shown, ", ")
}

func (r *rig) wantVersions(want string) {
	r.Helper()
	if got := r.versions(); got != want {
		r.Errorf("versions are %s, want %s", got, want)
	}
}

func TestRollback(t *testing.T) {
	r := newVersionedRig(t)
	r.wantVersions("3 true [], 2 false [], 1 false []")
	r.wantFunction("POST", functions+"/nodejs-f/rollback", `{"version": 1}`, 200, "nodejs-f", "number 1", "[]")
	r.wantChanged("nodejs-f")
	r.wantVersions("3 false [], 2 false [], 1 true []")
	r.wantFunction("PUT", functions+"/nodejs-f", `{"script_content": "return 4"}`, 200, "nodejs-f@4", "", "[]")
	r.changed = nil
	for content, test := range map[string]struct {
		code  faas.Code
		names string
	}{
		`{"version": 9}`:            {faas.NotFound, "no version 9"},
		`{}`:                        {faas.InvalidRequest, "version is missing"},
		`{"version": 0}`:            {faas.InvalidRequest, "version must be a whole number"},
		`{"version": "1"}`:          {faas.InvalidRequest, "version must be a whole number"},
		`{"version": 1, "force":1}`: {faas.InvalidRequest, "force is not known here: the members are version"},
		``:                          {faas.InvalidRequest, "JSON"},
	} {
		r.wantErrorTo("POST", functions+"/nodejs-f/rollback", content, test.code, test.names)
	}
	r.wantErrorTo("POST", functions+"/nodejs-g/rollback", `{"version": 1}`, faas.NotFound, "nodejs-g")
	r.wantErrorTo("POST", functions+"/nodejs-f@1/rollback", `{"version": 1}`, faas.InvalidRequest, "nodejs-f")
	r.wantError("GET", functions+"/nodejs-g/versions", faas.NotFound, "nodejs-g")
	r.wantChanged()
}

func TestAliases(t *testing.T) {
	r := newVersionedRig(t)
	aliases := functions + "/nodejs-f/aliases"
	r.wantReply("GET", aliases, 200, `{"aliases": []}`)
	status, body, _ := r.send("PUT", aliases+"/prod", `{"version": 2, "weights": {"3": 10}}`)
	prod := body.(map[string]any)
	if fmt.Sprint([]any{status, prod["alias"], prod["version"], prod["weights"], prod["updated_by"]}) != "[200 prod 2 map[3:10] <nil>]" || prod["created_at"] != prod["updated_at"] {
		t.Errorf("%d %v", status, prod)
	}
	r.wantVersions("3 true [], 2 false [prod], 1 false []")
	_, body, _ = r.request("GET", functions+"/nodejs-f:prod")
	if f := body.(map[string]any); f["script_content"] != "return 2" || f["version"] != 2.0 {
		t.Errorf("by alias: %v", f)
	}
	if status, body, _ := r.send("PUT", aliases+"/prod", `{"version": 3}`); status != 200 || fmt.Sprint(body.(map[string]any)["weights"]) != "map[]" {
		t.Errorf("moved: %d %v", status, body)
	}
	_, body, _ = r.request("GET", aliases)
	if list := body.(map[string]any)["aliases"].([]any); len(list) != 1 || list[0].(map[string]any)["version"] != 3.0 {
		t.Errorf("aliases are %v", list)
	}
	r.wantReply("DELETE", aliases+"/prod", 204, "")
	r.wantChanged("nodejs-f", "nodejs-f", "nodejs-f")
	r.wantError("DELETE", aliases+"/prod", faas.NotFound, "prod")
	r.wantError("GET", functions+"/nodejs-f:prod", faas.NotFound, "nodejs-f:prod")
	r.wantError("GET", functions+"/nodejs-g/aliases", faas.NotFound, "nodejs-g")
	r.wantChanged()
}

func TestAliasesRefuse(t *testing.T) {
	r := newVersionedRig(t)
	for content, names := range map[string]string{
		`{}`:                                         "version is missing",
		`{"version": 1.5}`:                           "version must be a whole number",
		`{"version": 1, "weights": {"1": 10}}`:       "weights.1 is the alias' own version",
		`{"version": 1, "weights": {"2": 0}}`:        "weights.2 must be a whole number from 1 to 100",
		`{"version": 1, "weights": {"2": 101}}`:      "weights.2",
		`{"version": 1, "weights": {"2":60,"3":60}}`: "weights sum up to 120",
		`{"version": 1, "weights": {"x": 10}}`:       "weights.x must be a whole number",
		`{"version": 1, "weights": {"0": 10}}`:       "weights.0 must be a whole number from 1",
		`{"version": 1, "weights": {"2": 0.5}}`:      "weights.2 must be a whole number",
		`{"version": 1, "weights": [10]}`:            "weights must be an object",
		`{"version": 1, "weight": {"2": 10}}`:        "weight is not known here: the members are version, weights",
	} {
		r.wantErrorTo("PUT", functions+"/nodejs-f/aliases/prod", content, faas.InvalidRequest, names)
	}
	for _, alias := range []string{"1", ".a", "a@1", "a:b", "a%2Fb", "%00"} {
		r.wantErrorTo("PUT", functions+"/nodejs-f/aliases/"+alias, `{"version": 1}`, faas.InvalidRequest, "alias")
	}
	for content, names := range map[string]string{
		`{"version": 9}`: "no version 9", `{"version": 1, "weights": {"8": 1}}`: "no version 8",
	} {
		r.wantErrorTo("PUT", functions+"/nodejs-f/aliases/prod", content, faas.NotFound, names)
	}
	r.wantChanged()
}
