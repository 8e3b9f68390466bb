package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/testrig"
)

const web = `module.exports = ({params, context: {http}}) => {
	switch (http.path) {
	case '/none': return null
	case '/throw': throw new RangeError('no')
	case '/echo': return {statusCode: 200, body: params, isBase64Encoded: http.is_base64, headers: {'content-type': http.headers['content-type']}}
	case '/made': return {statusCode: 201, body: 'made', headers: {
		location: '/x/7', 'set-cookie': ['a=1', 'b=2'], 'x-mine': 'é', 'x-request-id': 'mine',
		'x-envoke-session': 'x', 'x-envoy-immediate-health-check-fail': '1', 'x-envoy-overloaded': '1'}}
	case '/split': return {statusCode: 200, headers: {'x-a': 'b\r\nx-c: d'}}
	}
	return [http.method, http.path, params, http.headers['x-user-id'] ?? null, http.headers['x-envoke-function'] ?? null]
}`

// TestPlainHTTP calls a registered function as a browser or a webhook would.
func TestPlainHTTP(t *testing.T) {
	i := shared(t)
	title := unused("web")
	i.must(t, 201, http.MethodPost, functionsPath, define(t, title, web))
	defer i.must(t, 204, http.MethodDelete, functionsPath+"/nodejs-"+title, "")
	path := "/function/nodejs-" + title
	for _, test := range []struct {
		name, method, path, body, contentType string
		status                                int
		kind, want                            string
	}{
		{"a query", "GET", "/a/b?x=1&y=2&x=3", "", "", 200, "application/json", `["GET","/a/b",{"x":["1","3"],"y":"2"},null,null]`},
		{"JSON", "POST", "", `{"n":1}`, "application/json", 200, "application/json", `["POST","/",{"n":1},null,null]`},
		{"another method", "PROPFIND", "/", "", "", 200, "application/json", `["PROPFIND","/",null,null,null]`},
		{"text", "PUT", "/echo", "grüße", "text/plain; charset=utf-8", 200, "text/plain; charset=utf-8", "grüße"},
		{"bytes", "POST", "/echo", "\xff\x00\r\n", "image/png", 200, "image/png", "\xff\x00\r\n"},
		{"nothing", "POST", "/none", "", "", 204, "", ""},
		{"a status", "POST", "/made", "", "", 201, "text/plain; charset=utf-8", "made"},
		{"headers only", "HEAD", "/made", "", "", 201, "text/plain; charset=utf-8", ""},
		{"by version", "GET", "@1/none", "", "", 204, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := i.send(t, test.method, path+test.path, test.body, "Content-Type", test.contentType,
				"X-User-ID", "root", "X-Envoke-Function", "nodejs-calculator", "X-Request-ID", "r-1")
			if r.status != test.status || string(r.body) != test.want || r.header.Get("Content-Type") != test.kind {
				t.Errorf("got %d, %q: %.500s", r.status, r.header.Get("Content-Type"), r.body)
			}
			if id := r.header.Get("X-Request-ID"); id != "r-1" {
				t.Errorf("X-Request-ID is %q", id)
			}
			for name := range r.header {
				if strings.HasPrefix(name, "X-Envo") {
					t.Errorf("the caller got %s", name)
				}
			}
		})
	}
	made := i.send(t, http.MethodPost, path+"/made", "").header
	want := http.Header{"Location": {"/x/7"}, "Set-Cookie": {"a=1", "b=2"}, "X-Mine": {"é"}}
	got := http.Header{"Location": made["Location"], "Set-Cookie": made["Set-Cookie"], "X-Mine": made["X-Mine"]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got)\n%s", diff)
	}
	i.send(t, http.MethodGet, path+"/throw", "").isError(t, 500, "RUNTIME_ERROR", "function")
	i.send(t, http.MethodGet, path+"/split", "").isError(t, 500, "RUNTIME_ERROR", "function")
	i.send(t, http.MethodPost, path, "{", "Content-Type", "application/json").isError(t, 400, "INVALID_REQUEST", "runtime")
	i.send(t, http.MethodGet, path+"er", "").isError(t, 404, "NOT_FOUND", "runtime")
	i.send(t, http.MethodGet, "/function/cobol-web", "").isError(t, 404, "NOT_FOUND", "envoy")
}

// TestInvokeByPath calls registered functions without a session.
func TestInvokeByPath(t *testing.T) {
	i := shared(t)
	const path = "/runtime/nodejs/calculator"
	r := i.send(t, http.MethodPost, path, `{"params":{"operation":"add","a":1,"b":2}}`)
	if got := r.result(t); got != `{"operation":"add","a":1,"b":2,"result":3}` || !strings.Contains(string(r.body), `"request_id":null`) {
		t.Errorf("got %s", r.body)
	}
	bad := i.send(t, http.MethodPost, path, `{"params":{"operation":"add","a":1,"b":"2"}}`).isError(t, 400, "INVALID_PARAMS", "runtime")
	if bad.Error.Details["path"] != "/b" {
		t.Errorf("the fault is in b: %v", bad.Error)
	}
	i.send(t, http.MethodPost, "/runtime/nodejs/nobody", `{}`).isError(t, 404, "NOT_FOUND", "runtime")
	i.send(t, http.MethodPost, "/runtime/cobol/x", `{}`).isError(t, 404, "NOT_FOUND", "envoy")
	i.send(t, http.MethodGet, path, "").isError(t, 405, "INVALID_REQUEST", "envoy")
	for _, operation := range []string{"invoke", "invokehttp"} {
		testrig.Eventually(t, "the log counts "+operation, func() bool {
			r, err := send(http.MethodGet, i.operators+"/metrics", "")
			return err == nil && strings.Contains(string(r.body), `operation="`+operation+`"`)
		})
	}
}

// TestMappedNames runs an installation whose names are mapped to languages by a file.
func TestMappedNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mappings.json")
	writeFile(t, file, `[{"pattern":"^image-","runtime_type":"nodejs","is_regex":true},{"pattern":"table","runtime_type":"python"}]`)
	i := serve(t, "--runtime-selection-strategy", "config", "--runtime-mappings-file", file)
	i.must(t, 201, http.MethodPost, functionsPath, define(t, "image-resize", "return context.http ? context.http.path : 'resized'"))
	if r := i.must(t, 200, http.MethodGet, "/function/image-resize/a?b=c", ""); string(r.body) != `"/a"` {
		t.Errorf("got %s", r.body)
	}
	r := i.must(t, 200, http.MethodPost, "/api/v1/execute", `{}`, "Language-Title", "image-resize@1")
	if got := r.result(t); got != `"resized"` || !strings.Contains(string(r.body), `"language_title":"nodejs-image-resize"`) {
		t.Errorf("got %s", r.body)
	}
	if r := i.must(t, 200, http.MethodGet, functionsPath+"/image-resize", ""); !strings.Contains(string(r.body), `"language_title":"nodejs-image-resize"`) {
		t.Errorf("got %s", r.body)
	}
	i.must(t, 200, http.MethodGet, functionsPath+"/nodejs-calculator", "") // as lists show it
	i.must(t, 200, http.MethodPost, "/runtime/nodejs/image-resize", `{}`)
	for _, name := range []string{"nodejs-calculator", "hello"} {
		i.send(t, http.MethodPost, "/api/v1/initialize", `{}`, "Language-Title", name).isError(t, 400, "INVALID_REQUEST", "extproc")
		i.send(t, http.MethodGet, "/function/"+name, "").isError(t, 400, "INVALID_REQUEST", "extproc")
	}
	i.send(t, http.MethodGet, "/function/table", "").isError(t, 404, "NOT_FOUND", "runtime")
}

func TestSelectionStrategy(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.json"), filepath.Join(dir, "bad.json")
	writeFile(t, good, `[{"pattern":"a","runtime_type":"python"}]`)
	writeFile(t, bad, `[{"pattern":"(","is_regex":true,"runtime_type":"python"},{"pattern":"a","runtime_type":"perl"}]`)
	for _, test := range []struct {
		strategy, file string
		faults         []string
	}{
		{"", "", nil},
		{"prefix", "", nil},
		{"PrefixMatching", "", nil},
		{"config", good, nil},
		{"prefix", good, []string{"RUNTIME_MAPPINGS_FILE is set"}},
		{"config", "", []string{"name the file in RUNTIME_MAPPINGS_FILE"}},
		{"config", "/nowhere/x.json", []string{"/nowhere/x.json"}},
		{"config", bad, []string{"RUNTIME_MAPPINGS_FILE", bad, "entry 1: pattern", `entry 2: runtime_type "perl"`}},
		{"discovery", "", nil},
		{"discovery", good, []string{"RUNTIME_MAPPINGS_FILE is set"}},
		{"Prefix", "", []string{`RUNTIME_SELECTION_STRATEGY is "Prefix"`}},
	} {
		_, err := loadConfig(t, nil, map[string]string{"RUNTIME_SELECTION_STRATEGY": test.strategy, "RUNTIME_MAPPINGS_FILE": test.file})
		if (err == nil) != (test.faults == nil) {
			t.Errorf("%+v: %v", test, err)
		}
		for _, want := range test.faults {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v does not say %q", test, err, want)
			}
		}
	}
}
