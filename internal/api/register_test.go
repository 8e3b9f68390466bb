package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/api"
	"envoke/internal/faas"
)

const functions = "/api/v1/functions"

// item is the JSON of a function as lists and writes show it.
func (r *rig) item(ref, description, tags string) string {
	r.Helper()
	parsed, err := faas.ParseRef(ref)
	if err != nil {
		r.Fatal(err)
	}
	f, err := r.store.FindFunction(r.Context(), parsed)
	if err != nil {
		r.Fatal(err)
	}
	created, _ := json.Marshal(f.CreatedAt)
	updated, _ := json.Marshal(f.UpdatedAt)
	return fmt.Sprintf(`{"language": %q, "title": %q, "language_title": %q, "description": %q, "type": "predefined", "user_id": null,
		"version": %d, "tags": %s, "created_at": %s, "last_updated_at": %s}`,
		f.Name.Language, f.Name.Title, f.Name, description, f.Version, tags, created, updated)
}

// wantFunction checks a write's reply against the function as it is stored now.
func (r *rig) wantFunction(method, path, content string, status int, ref string, described ...string) {
	r.Helper()
	gotStatus, got, _ := r.send(method, path, content)
	if gotStatus != status {
		r.Fatalf("%s %s: %d %v", method, path, gotStatus, got)
	}
	var want any
	if err := json.Unmarshal([]byte(r.item(ref, described[0], described[1])), &want); err != nil {
		r.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.Errorf("%s %s (-want +got):\n%s", method, path, diff)
	}
}

func (r *rig) wantChanged(want ...string) {
	r.Helper()
	if diff := cmp.Diff(want, r.changed); diff != "" {
		r.Errorf("hosts were told of (-want +got):\n%s", diff)
	}
	r.changed = nil
}

func TestRegister(t *testing.T) {
	r := newRig(t)
	var checked []string
	r.options.Check = func(_ context.Context, id string, f faas.Function, _ *faas.Resolved) error {
		checked = append(checked, fmt.Sprint(id, " ", f.Name, " ", f.Script.Source, " ", string(f.Script.CompileOptions), f.Network))
		return nil
	}
	r.wantFunction("POST", functions, `{"language": "nodejs", "title": "f", "description": "the <first>", "script_content": "return 1",
		"schema": {"type": "object"}, "examples": [{"params": {}}], "tags": ["a", "b"], "timeout_ms": 1500.0, "memory_limit_mb": 64,
		"cache_ttl_seconds": 60, "network": false, "compile_options": {"optimization_level": "release", "features": ["x"], "target": "t", "memory_limit_mb": 1}}`,
		201, "nodejs-f", "the <first>", `["a", "b"]`)
	r.wantChanged("nodejs-f")
	// A version replaces all of the one before.
	r.wantFunction("PUT", functions+"/nodejs-f", `{"script_content": "return 2"}`, 200, "nodejs-f@2", "", "[]")
	r.wantFunction("PUT", functions+"/nodejs-f", `{"script_content": "return 3", "language": "nodejs", "title": "f", "schema": null, "tags": null, "compile_options": {"memory_limit_mb": 32, "network": "egress"}}`,
		200, "nodejs-f@3", "", "[]")
	r.wantChanged("nodejs-f", "nodejs-f")
	want := []string{
		`rid nodejs-f return 1 {"optimization_level": "release", "features": ["x"], "target": "t", "memory_limit_mb": 1}none`,
		"rid nodejs-f return 2 none", `rid nodejs-f return 3 {"memory_limit_mb": 32, "network": "egress"}egress`,
	}
	if diff := cmp.Diff(want, checked); diff != "" {
		t.Errorf("checked (-want +got):\n%s", diff)
	}
	for ref, want := range map[string][]any{
		"nodejs-f@1": {"return 1", 1500.0, 64.0, 60.0, "none"}, "nodejs-f%401": {"return 1", 1500.0, 64.0, 60.0, "none"},
		"nodejs-f@2": {"return 2", nil, nil, nil, "none"}, "nodejs-f": {"return 3", nil, 32.0, nil, "egress"},
	} {
		_, body, _ := r.request("GET", functions+"/"+ref)
		got := body.(map[string]any)
		shown := []any{got["script_content"], got["timeout_ms"], got["memory_limit_mb"], got["cache_ttl_seconds"], got["network"]}
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ref, diff)
		}
	}
	r.wantErrorTo("POST", functions, `{"language": "nodejs", "title": "f", "script_content": "return 4"}`, faas.Conflict, "PUT")
	r.wantErrorTo("PUT", functions+"/nodejs-g", `{"script_content": "return 4"}`, faas.NotFound, "nodejs-g")
	r.wantReply("DELETE", functions+"/nodejs-f", 204, "")
	r.wantChanged("nodejs-f")
	r.wantError("DELETE", functions+"/nodejs-f", faas.NotFound, "nodejs-f")
	for _, ref := range []string{"nodejs-f", "nodejs-f@1"} {
		r.wantError("GET", functions+"/"+ref, faas.NotFound, ref)
	}
	if len(checked) != 3 {
		t.Errorf("checked %d times: names are looked up first", len(checked))
	}
	r.wantChanged()
}

func TestRegisterRefuses(t *testing.T) {
	r := newRig(t)
	r.options.Check = nil // a check would panic
	with := func(members string) string {
		return `{"language": "nodejs", "title": "f", "script_content": "return 1", ` + members + `}`
	}
	for content, names := range map[string]string{
		``:                          "JSON",
		`{`:                         "JSON",
		`[]`:                        "the body must be an object",
		`null`:                      "language is missing",
		"{\"title\": \"\xff\"}":     "UTF-8",
		`{} {}`:                     "JSON",
		`{}`:                        "language is missing",
		`{"language": "nodejs"}`:    "title is missing",
		`{"language": 1}`:           "language must be a string",
		with(`"parms": {}`):         "parms is not known here: the members are language, title,",
		with(`"Description": ""`):   "Description is not known",
		with(`"title": "g"`):        "title is given twice",
		with(`"description": 1`):    "description must be a string",
		with(`"tags": "a"`):         "tags must be a list",
		with(`"tags": [1]`):         "tags.0 must be a string",
		with(`"tags": [""]`):        "tags.0 must be text",
		with(`"tags": ["a", "a"]`):  "tags.1 is there twice",
		with(`"tags": ["a\u0000"]`): "tags.0 must be text",
		with(`"tags": [` + strings.Repeat(`"a",`, 32) + `"a"]`):         "tags may hold 32",
		with(`"description": "` + strings.Repeat("x", 4097) + `"`):      "description must be text of at most 4096",
		with(`"timeout_ms": 0`):                                         "timeout_ms must be a whole number from 1",
		with(`"timeout_ms": 1.5`):                                       "timeout_ms must be a whole number",
		with(`"timeout_ms": "1"`):                                       "timeout_ms must be a whole number",
		with(`"timeout_ms": 86400001`):                                  "timeout_ms",
		with(`"timeout_ms": 99999999999999999999`):                      "timeout_ms",
		with(`"memory_limit_mb": 1.5`):                                  "memory_limit_mb must be a whole number",
		with(`"cpu_limit_ms": 0`):                                       "cpu_limit_ms must be a whole number",
		with(`"output_limit_bytes": -1`):                                "output_limit_bytes must be a whole number",
		with(`"max_concurrency": 2147483648`):                           "max_concurrency must be a whole number",
		with(`"rate_per_minute": -1`):                                   "rate_per_minute must be a whole number from 0 to",
		with(`"memory_limit_mb": 0`):                                    "memory_limit_mb",
		with(`"memory_limit_mb": 65537`):                                "memory_limit_mb",
		with(`"cache_ttl_seconds": -1`):                                 "cache_ttl_seconds",
		with(`"cache_ttl_seconds": 86401`):                              "cache_ttl_seconds must be a whole number from 0 to 86400",
		with(`"network": "all"`):                                        "network must be none or egress",
		with(`"network": 1`):                                            "network must be none or egress",
		with(`"examples": {}`):                                          "examples must be a list",
		with(`"schema": {"type": "strng"}`):                             "schema is no JSON Schema: at /type",
		with(`"schema": {"$ref": "https://example.com/x"}`):             "nothing is fetched",
		with(`"schema": 1`):                                             "schema is no JSON Schema",
		`{"language": "cobol", "title": "f", "script_content": "x"}`:    "language must be nodejs",
		`{"language": "nodejs", "title": "", "script_content": "x"}`:    "title is empty",
		`{"language": "nodejs", "title": "a/b", "script_content": "x"}`: "title may hold",
		`{"language": "nodejs", "title": "a@1", "script_content": "x"}`: "title may hold",
		`{"language": "nodejs", "title": "f"}`:                          "script_content is missing",
		`{"language": "nodejs", "title": "f", "script_content": {}}`:    "script_content must be a string",
	} {
		r.wantErrorTo("POST", functions, content, faas.InvalidRequest, names)
	}
	for content, names := range map[string]string{
		`{"script_content": "x", "language": "python"}`: "language is not that of the path",
		`{"script_content": "x", "title": "g"}`:         "title is not that of the path",
	} {
		r.wantErrorTo("PUT", functions+"/nodejs-f", content, faas.InvalidRequest, names)
	}
	for _, name := range []string{"nodejs-f@1", "nodejs-f:prod", "f", "nodejs-"} {
		r.wantErrorTo("PUT", functions+"/"+name, `{"script_content": "x"}`, faas.InvalidRequest, "")
		r.wantError("DELETE", functions+"/"+name, faas.InvalidRequest, "")
	}
	for _, below := range []string{"", "/versions", "/aliases"} {
		r.wantError("GET", functions+"/f"+below, faas.InvalidRequest, "the function's name in the path must begin with")
		r.wantError("GET", functions+"/nodejs-a..b"+below, faas.InvalidRequest, "the title in the path must not contain")
	}
	r.wantChanged()
}

// A body may be as large as the largest code needs. What is too much for the code
// itself, its host says.
func TestRegisterLimits(t *testing.T) {
	r := newRig(t)
	script := `"` + strings.Repeat(`\u0061`, 1<<10) + `"` // as wasteful as JSON allows
	module := `"` + strings.Repeat("AAAA", 64<<10/3) + `"`
	for title, code := range map[string]string{"script": script, "module": module} {
		content := fmt.Sprintf(`{"language": "rust", "title": %q, "script_content": %s}`, title, code)
		if status, body, _ := r.send("POST", functions, content); status != 201 {
			t.Errorf("%s: %d %v", title, status, body)
		}
	}
	r.wantErrorTo("POST", functions, `{"language": "nodejs"`+strings.Repeat(" ", 3<<20)+`}`, faas.PayloadTooLarge, "the body is larger than")
	// Without a length, too.
	request := httptest.NewRequestWithContext(t.Context(), "POST", functions, endless{})
	request.ContentLength = -1
	recorder := httptest.NewRecorder()
	api.New(r.options).ServeHTTP(recorder, request)
	if recorder.Code != 413 {
		t.Errorf("an endless body: %d %s", recorder.Code, recorder.Body)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestRegisterRace: who loses the race for a name is told so, although it was free
// when it was looked up.
func TestRegisterRace(t *testing.T) {
	r := newRig(t)
	r.options.Check = func(ctx context.Context, _ string, f faas.Function, _ *faas.Resolved) error {
		_, err := r.store.CreateFunction(ctx, faas.Actor{}, faas.Function{Name: f.Name, Script: f.Script})
		return err
	}
	r.wantErrorTo("POST", functions, `{"language": "nodejs", "title": "f", "script_content": "x"}`, faas.Conflict, "PUT")
	r.wantChanged()
}

// TestUnclearChange: a store that failed may have made the change, so hosts ask.
func TestUnclearChange(t *testing.T) {
	r := newRig(t)
	r.options.Check = func(context.Context, string, faas.Function, *faas.Resolved) error {
		return errors.Join(r.store.Close(), nil)
	}
	if status, body, _ := r.send("POST", functions, `{"language": "nodejs", "title": "f", "script_content": "x"}`); status < 500 {
		t.Errorf("%d %v", status, body)
	}
	r.wantChanged("nodejs-f")
}

// TestNetwork: the network of a function has names, and the two values that it had before.
func TestNetwork(t *testing.T) {
	r := newRig(t)
	var checked []string
	r.options.Check = func(_ context.Context, _ string, f faas.Function, _ *faas.Resolved) error {
		checked = append(checked, f.Network.String())
		return nil
	}
	r.send("POST", functions, `{"language": "nodejs", "title": "f", "script_content": "x"}`)
	for _, members := range []string{
		`"network": "none"`, `"network": "egress"`, `"network": true`, `"network": false`, `"network": null`,
		`"compile_options": {"network": "egress"}`, `"network": "none", "compile_options": {"network": "egress"}`,
	} {
		if status, body, _ := r.send("PUT", functions+"/nodejs-f", `{"script_content": "x", `+members+`}`); status != 200 {
			t.Errorf("%s: %d %v", members, status, body)
		}
	}
	if diff := cmp.Diff([]string{"none", "none", "egress", "egress", "none", "none", "egress", "none"}, checked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzRegister(f *testing.F) {
	for _, seed := range []string{
		`{"language":"nodejs","title":"f","script_content":"x"}`, `{"compile_options":{"features":["a"]}}`, `{"tags":["a"]}`,
		`{"schema":{"$ref":"#"}}`, `{"timeout_ms":1e3}`, `{"examples":[]}`, `null`, `{"a":{"b":1}}`, "{\"\xff\":1}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		options := api.Options{
			Store: noStore{}, Changed: func(context.Context, faas.Name) {}, MaxScript: 1 << 10, MaxModule: 1 << 10,
			Select: faas.ParseRefIn, Failed: func(faas.Failure) {},
			Check: func(context.Context, string, faas.Function, *faas.Resolved) error { return errChecked },
		}
		recorder := httptest.NewRecorder()
		api.New(options).ServeHTTP(recorder, httptest.NewRequest("POST", functions, strings.NewReader(content)))
		if status := recorder.Code; status != 400 && status != 413 && status != 422 || !json.Valid(recorder.Body.Bytes()) {
			t.Errorf("%q: %d %s", content, status, recorder.Body)
		}
	})
}

var errChecked = &faas.Error{Code: faas.InitializationError, Message: "checked"}

// noStore knows no function.
type noStore struct{ api.Store }

func (noStore) FindFunction(context.Context, faas.Ref) (faas.Function, error) {
	return faas.Function{}, &faas.Error{Code: faas.NotFound}
}
