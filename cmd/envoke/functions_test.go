package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const functionsPath = "/api/v1/functions"

// unused is a title that no function ever had: numbers of versions go on where those of
// a deleted one ended.
func unused(title string) string { return title + "-" + rand.Text() }

// define is a body that registers a script.
func define(t *testing.T, title, script string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"language": "nodejs", "title": title, "script_content": script})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// must sends a request that is answered with the status.
func (i *installation) must(t *testing.T, status int, method, path, body string, headers ...string) reply {
	t.Helper()
	r := i.send(t, method, path, body, headers...)
	if r.status != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, r.status, r.body, status)
	}
	return r
}

// open initializes a registered function by its name, name@version or name:alias.
func (i *installation) open(t *testing.T, ref string) (session string) {
	t.Helper()
	r := i.must(t, 200, http.MethodPost, "/api/v1/initialize", `{}`, "Language-Title", ref)
	var opened struct {
		RequestID     string `json:"request_id"`
		LanguageTitle string `json:"language_title"`
	}
	if err := json.Unmarshal(r.body, &opened); err != nil || !strings.HasPrefix(ref, opened.LanguageTitle) {
		t.Fatalf("%v: %s", err, r.body)
	}
	return opened.RequestID
}

// TestRegisteredFunctions registers a function and follows its versions through
// Envoy: what a change's reply promises holds for the very next request.
func TestRegisteredFunctions(t *testing.T) {
	i := shared(t)
	title := unused("greet")
	name := "nodejs-" + title
	path := functionsPath + "/" + name
	i.must(t, 201, http.MethodPost, functionsPath, define(t, title, "return 'one'"))
	old := i.open(t, name)
	runs := func(session, want string) {
		t.Helper()
		if got := i.execute(t, session, "null").result(t); got != `"`+want+`"` {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	runs(old, "one")
	i.send(t, http.MethodPost, functionsPath, define(t, title, "return 0")).isError(t, 409, "CONFLICT", "control")

	i.must(t, 200, http.MethodPut, path, define(t, title, "module.exports = () => 'two'"))
	runs(i.open(t, name), "two")
	runs(old, "one") // sessions keep their version
	runs(i.open(t, name+"@1"), "one")

	i.must(t, 200, http.MethodPost, path+"/rollback", `{"version": 1}`)
	runs(i.open(t, name), "one")
	i.must(t, 200, http.MethodPut, path+"/aliases/next", `{"version": 2}`)
	runs(i.open(t, name+":next"), "two")
	i.must(t, 200, http.MethodPut, path+"/aliases/next", `{"version": 1}`)
	runs(i.open(t, name+":next"), "one")
	oneShot := i.must(t, 200, http.MethodPost, "/api/v1/execute", `{"params": null}`, "Language-Title", name+"@2")
	if got := oneShot.result(t); got != `"two"` {
		t.Errorf("a one-shot of version 2 says %s", got)
	}
	i.must(t, 200, http.MethodGet, path+"%401", "")
	i.must(t, 200, http.MethodGet, path+"%3Anext", "")

	i.must(t, 204, http.MethodDelete, path, "")
	for _, ref := range []string{name, name + "@1", name + ":next"} {
		i.send(t, http.MethodPost, "/api/v1/initialize", "{}", "Language-Title", ref).isError(t, 404, "NOT_FOUND", "runtime")
	}
	runs(old, "one") // sessions go on until they expire
}

// TestCanary splits sessions between two versions; each session keeps its own.
func TestCanary(t *testing.T) {
	i := shared(t)
	title := unused("canary")
	path := functionsPath + "/nodejs-" + title
	i.must(t, 201, http.MethodPost, functionsPath, define(t, title, "return 1"))
	defer i.must(t, 204, http.MethodDelete, path, "")
	i.must(t, 200, http.MethodPut, path, define(t, title, "return 2"))
	i.must(t, 200, http.MethodPut, path+"/aliases/prod", `{"version": 1, "weights": {"2": 50}}`)
	picked := map[string]int{}
	for range 200 {
		session := i.open(t, "nodejs-"+title+":prod")
		version := i.execute(t, session, "null").result(t)
		if again := i.execute(t, session, "null").result(t); again != version {
			t.Fatalf("a session ran version %s, then %s", version, again)
		}
		picked[version]++
	}
	if picked["1"] < 60 || picked["2"] < 60 || len(picked) != 2 {
		t.Errorf("of 200 sessions versions got %v, want about halves", picked)
	}
}

// TestBadFunctionsAreNotStored: the runtime host has the word before the store.
func TestBadFunctionsAreNotStored(t *testing.T) {
	i := shared(t)
	e := i.send(t, http.MethodPost, functionsPath, define(t, "broken", "return 1;\nreturn }")).isError(t, 422, "INITIALIZATION_ERROR", "function")
	if line := fmt.Sprint(e.Error.Details["line"]); line != "2" {
		t.Errorf("the fault is in line %s: %v", line, e.Error)
	}
	i.send(t, http.MethodGet, functionsPath+"/nodejs-broken", "").isError(t, 404, "NOT_FOUND", "control")
	i.send(t, http.MethodPost, functionsPath, `{"language": "nodejs", "parms": 1}`).isError(t, 400, "INVALID_REQUEST", "control")
	i.send(t, http.MethodPost, functionsPath, strings.Repeat(" ", 64<<20)).isError(t, 413, "PAYLOAD_TOO_LARGE", "control")
	i.send(t, http.MethodPatch, functionsPath+"/nodejs-calculator", "").isError(t, 405, "INVALID_REQUEST", "control")
	i.send(t, http.MethodPost, "/api/v1/initialize", `{"script_content": "return 1"}`, "Language-Title", "nodejs-x@1").isError(t, 400, "INVALID_REQUEST", "runtime")
	// Refused by the filter or, where there is none, by ext_proc.
	i.must(t, 400, http.MethodPost, "/api/v1/initialize", `{}`, "Language-Title", "nodejs-x@0")
	i.send(t, http.MethodGet, functionsPath+"/nodejs-x%2Fy", "").isError(t, 400, "INVALID_REQUEST", "envoy")
}

// A function's limit of memory is its worker's, by whatever way it is called.
func TestMemoryLimitOfAFunction(t *testing.T) {
	i := shared(t)
	name := i.register(t, title(t), `{"language": "nodejs", "title": "`+title(t)+`", "memory_limit_mb": 32,
		"script_content": "const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1))"}`)
	limited := func(r reply) {
		t.Helper()
		if e := r.isError(t, http.StatusInsufficientStorage, "RESOURCE_EXHAUSTED", "function"); e.Error.Details["limit_mb"] != 32.0 {
			t.Errorf("details %v", e.Error.Details)
		}
	}
	limited(i.execute(t, i.open(t, name), "1"))
	limited(i.send(t, http.MethodPost, "/function/"+name, "{}"))
	limited(i.send(t, http.MethodPost, "/runtime/nodejs/"+title(t), "{}"))
	limited(i.send(t, http.MethodPost, "/api/v1/execute", `{"script_content": "const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1))",
		"context": {"compile_options": {"memory_limit_mb": 32}}}`, "Language-Title", "nodejs-limited"))
}
