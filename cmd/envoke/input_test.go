package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// TestBadInitialize sends what no caller should. Each gets the documented error,
// and the next call works.
func TestBadInitialize(t *testing.T) {
	i := shared(t)
	title := []string{"Language-Title", "nodejs-test"}
	tests := []struct {
		name      string
		body      string
		headers   []string
		status    int
		code      string
		component string
	}{
		{"no header", `{"script_content":"1"}`, nil, 400, "INVALID_REQUEST", "extproc or envoy"},
		{"two headers", `{}`, append(title, "Language-Title", "nodejs-two"), 400, "INVALID_REQUEST", "extproc"},
		{"unknown language", `{}`, []string{"Language-Title", "cobol-x"}, 400, "INVALID_REQUEST", "extproc or envoy"},
		{"a path as a title", `{}`, []string{"Language-Title", "nodejs-../../etc/passwd"}, 400, "INVALID_REQUEST", "extproc or envoy"},
		{"a title of 200 bytes", `{}`, []string{"Language-Title", "nodejs-" + strings.Repeat("x", 200)}, 400, "INVALID_REQUEST", "extproc or envoy"},
		{"Rust that nobody has compiled", `{"script_content":"fn main() {}"}`, []string{"Language-Title", "rust-x"}, 422, "INITIALIZATION_ERROR", "function"},
		{"no code and no function", `{}`, []string{"Language-Title", "nodejs-nobody"}, 404, "NOT_FOUND", "runtime"},
		{"bad JSON", `{"script_content":`, title, 400, "INVALID_REQUEST", "runtime"},
		{"two JSON values", `{} {}`, title, 400, "INVALID_REQUEST", "runtime"},
		{"an array", `[]`, title, 400, "INVALID_REQUEST", "runtime"},
		{"bad UTF-8", "{\"script_content\":\"\xff\"}", title, 400, "INVALID_REQUEST", "runtime"},
		{"a number as script", `{"script_content":7}`, title, 400, "INVALID_REQUEST", "runtime"},
		{"an empty script", `{"script_content":" "}`, title, 400, "INVALID_REQUEST", "runtime"},
		{"a string as context", `{"script_content":"1","context":"x"}`, title, 400, "INVALID_REQUEST", "runtime"},
		{"a timeout of 0", `{"script_content":"1","context":{"timeout_ms":0}}`, title, 400, "INVALID_REQUEST", "runtime"},
		{"a script over the limit", `{"script_content":"` + strings.Repeat("x", 1<<20+1) + `"}`, title, 413, "PAYLOAD_TOO_LARGE", "runtime"},
		{"a syntax error", `{"script_content":"return 1;\nreturn )"}`, title, 422, "INITIALIZATION_ERROR", "function"},
		{"code that throws while it loads", `{"script_content":"\nthrow new Error('no');\nmodule.exports = 1"}`, title, 422, "INITIALIZATION_ERROR", "function"},
		{"code that ends while it loads", `{"script_content":"process.exit(3); module.exports = 1"}`, title, 422, "INITIALIZATION_ERROR", "function"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := i.send(t, http.MethodPost, "/api/v1/initialize", test.body, test.headers...)
			e := r.isError(t, test.status, test.code, test.component)
			if test.name == "a syntax error" && e.Error.Details["line"] != 2.0 {
				t.Errorf("the error is in line 2: %s", r.body)
			}
			i.isWell(t)
		})
	}
}

// TestCodeIsReadAlike: what is wrong with code and its options is the same error,
// whichever way they come.
func TestCodeIsReadAlike(t *testing.T) {
	i := shared(t)
	const script = `"script_content": "return 1"`
	for members, want := range map[string]struct {
		status int
		member string
		names  string
	}{
		`"script_content": ""`:                                         {400, "script_content", "is empty"},
		`"script_content": " \n"`:                                      {400, "script_content", "is empty"},
		`"script_content": 7`:                                          {400, "script_content", "must be a string"},
		`"script_content": "return }"`:                                 {422, "", "Unexpected end of input"},
		script + `, "compile_options": []`:                             {400, "compile_options", "must be an object"},
		script + `, "compile_options": "x"`:                            {400, "compile_options", "must be an object"},
		script + `, "compile_options": {"x": 1}`:                       {400, "compile_options.x", "is not known here"},
		script + `, "compile_options": {"memory_limit_mb": 4096}`:      {400, "compile_options.memory_limit_mb", "from 1 to 128, the operator's limit"},
		script + `, "compile_options": {"memory_limit_mb": 0}`:         {400, "compile_options.memory_limit_mb", "from 1 to 128, the operator's limit"},
		script + `, "compile_options": {"memory_limit_mb": 1.5}`:       {400, "compile_options.memory_limit_mb", "whole number"},
		script + `, "compile_options": {"memory_limit_mb": "64"}`:      {400, "compile_options.memory_limit_mb", "whole number"},
		script + `, "compile_options": {"optimization_level": "fast"}`: {400, "compile_options.optimization_level", "debug or release"},
		script + `, "compile_options": {"features": ["a", 1]}`:         {400, "compile_options.features.1", "must be a string"},
		script + `, "compile_options": {"features": [""]}`:             {400, "compile_options.features", "may hold"},
		script + `, "compile_options": {"target": 1}`:                  {400, "compile_options.target", "must be a string"},
		script + `, "compile_options": {"target": "a", "target": "b"}`: {400, "compile_options.target", "is given twice"},
		`"script_content": "` + strings.Repeat("x", 1<<20+1) + `"`:     {413, "", "script_content is larger than 1048576 bytes"},
		`"script_content": "` + strings.Repeat("x", 20<<20) + `"`:      {413, "", "the request's body is larger than"},
	} {
		t.Run(fmt.Sprintf("%.60s", members), func(t *testing.T) {
			type answer struct {
				Status        int
				Code, Message string
				Details       map[string]any
			}
			send := func(path, body string) answer {
				r := i.send(t, http.MethodPost, path, body, "Language-Title", "nodejs-alike")
				var e errorBody
				if err := json.Unmarshal(r.body, &e); err != nil {
					t.Fatalf("%s: %d %s", path, r.status, r.body)
				}
				delete(e.Error.Details, "component") // who has read it first
				return answer{r.status, e.Error.Code, e.Error.Message, e.Error.Details}
			}
			initialized := send("/api/v1/initialize", "{"+members+"}")
			for path, body := range map[string]string{
				"/api/v1/execute": "{" + members + "}",
				functionsPath:     `{"language": "nodejs", "title": "alike", ` + members + `}`,
			} {
				if diff := cmp.Diff(initialized, send(path, body)); diff != "" {
					t.Errorf("%s (-initialize +got)\n%s", path, diff)
				}
			}
			member, _ := initialized.Details["member"].(string)
			if initialized.Status != want.status || member != want.member || !strings.Contains(initialized.Message, want.names) {
				t.Errorf("got %+v, want %+v", initialized, want)
			}
		})
	}
	i.send(t, http.MethodGet, functionsPath+"/nodejs-alike", "").isError(t, 404, "NOT_FOUND", "control")
}

// TestPlaceOfBadName: an error speaks of the name where it stands, whoever finds it.
func TestPlaceOfBadName(t *testing.T) {
	i := shared(t)
	for request, place := range map[string]string{
		"POST /api/v1/initialize": "in the Language-Title header ", "POST /api/v1/execute": "in the Language-Title header ",
		"GET /api/v1/functions/cobol-x": "in the path ", "PUT /api/v1/functions/nodejs-a..b": "in the path ",
		"GET /api/v1/functions/nodejs-%2E": "in the path ", "DELETE /api/v1/functions/nodejs-": "in the path ",
		"GET /api/v1/functions/cobol-x/versions": "in the path ", "PUT /api/v1/functions/cobol-x/aliases/a": "in the path ",
		"POST /runtime/nodejs/a..b": "in the path ", "POST /runtime/nodejs/%2E": "in the path ",
		"GET /function/nodejs-a..b/x": "in the path ", "GET /function/nodejs-%2E": "in the path ",
	} {
		method, path, _ := strings.Cut(request, " ")
		r := i.send(t, method, path, "", "Language-Title", "nodejs-a..b")
		e := r.isError(t, 400, "INVALID_REQUEST", "envoy or extproc or control or runtime")
		if !strings.Contains(e.Error.Message, place) {
			t.Errorf("%s: %q does not say %q", request, e.Error.Message, place)
		}
	}
}

// isWell makes sure that the next call works.
func (i *installation) isWell(t *testing.T) {
	t.Helper()
	id := i.initialize(t, "return event.params.n * 2")
	if got := i.execute(t, id, `{"n":21}`).result(t); got != "42" {
		t.Errorf("the next call got %s", got)
	}
}

// TestBadExecute sends bad bodies and bad ids.
func TestBadExecute(t *testing.T) {
	i := shared(t)
	id := i.initialize(t, "return event.params")
	forged := string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	tests := []struct {
		name      string
		path      string
		body      string
		headers   []string
		status    int
		code      string
		component string
	}{
		{"bad JSON", id, `{"params":}`, nil, 400, "INVALID_REQUEST", "runtime"},
		{"bad UTF-8", id, "{\"params\":\"\xc3\"}", nil, 400, "INVALID_REQUEST", "runtime"},
		{"a string", id, `"params"`, nil, 400, "INVALID_REQUEST", "runtime"},
		{"a forged id", forged, `{}`, nil, 404, "NOT_FOUND", "runtime"},
		{"a forged id through ext_proc", forged, `{}`, []string{"X-Cache-Control", "no-cache"}, 404, "NOT_FOUND", "extproc"},
		{"no id", "", `{}`, nil, 404, "NOT_FOUND", "extproc"},
		{"a malformed id", "1234", `{}`, nil, 404, "NOT_FOUND", "extproc"},
		{"an id in capitals", strings.ToUpper(id), `{}`, nil, 404, "NOT_FOUND", "extproc"},
		{"more behind the id", id + "/x", `{}`, nil, 404, "NOT_FOUND", "extproc"},
		{"an unknown cache control", id, `{}`, []string{"X-Cache-Control", "sometimes"}, 400, "INVALID_REQUEST", "extproc"},
		{"a spoofed session", "1234", `{}`, []string{"X-Envoke-Session", id, "X-Envoke-Cluster", "runtime-nodejs"}, 404, "NOT_FOUND", "extproc"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := i.send(t, http.MethodPost, "/api/v1/execute/"+test.path, test.body, test.headers...)
			r.isError(t, test.status, test.code, test.component)
			if got := i.execute(t, id, `{"n":1}`).result(t); got != `{"n":1}` {
				t.Errorf("the next call got %s", got)
			}
		})
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	i := shared(t)
	i.send(t, http.MethodGet, "/api/v1/initialize", "").isError(t, 405, "INVALID_REQUEST", "envoy")
	i.send(t, http.MethodDelete, "/api/v1/functions", "").isError(t, 405, "INVALID_REQUEST", "envoy")
	i.send(t, http.MethodGet, "/", "").isError(t, 404, "NOT_FOUND", "envoy")
	i.send(t, http.MethodGet, "/api/v1/functions?per_page=1000", "").isError(t, 400, "INVALID_REQUEST", "control")
	i.send(t, http.MethodGet, "/api/v1/functions/nodejs-nobody", "").isError(t, 404, "NOT_FOUND", "control")
	i.send(t, http.MethodGet, "/api/v1/sessions/1234", "").isError(t, 404, "NOT_FOUND", "control")
}

// TestCallersRequestIDIsNoSession: adopting it would let one caller choose
// another's session.
func TestCallersRequestIDIsNoSession(t *testing.T) {
	i := shared(t)
	id := i.initialize(t, "return 1")
	r := i.send(t, http.MethodPost, "/api/v1/initialize", `{"script_content":"return 2"}`,
		"Language-Title", "nodejs-test", "X-Request-Id", id, "X-Envoke-Session", id)
	if r.status != http.StatusOK || strings.Contains(string(r.body), id) {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if got := r.header.Get("X-Request-Id"); got != id {
		t.Errorf("the call's own id came back as %q", got)
	}
	if got := i.execute(t, id, "{}").result(t); got != "1" {
		t.Errorf("the session now returns %s", got)
	}
}

// TestBadFunctions runs functions that misbehave in each way that one can.
func TestBadFunctions(t *testing.T) {
	i := shared(t)
	tests := []struct {
		name   string
		script string
		status int
		code   string
		kind   string // details.type
	}{
		{"returns a function", "return () => 1", 500, "RUNTIME_ERROR", "UnserializableResult"},
		{"returns NaN", "return {a: [NaN]}", 500, "RUNTIME_ERROR", "UnserializableResult"},
		{"returns a BigInt", "return 10n", 500, "RUNTIME_ERROR", "UnserializableResult"},
		{"returns a set", "return new Set([1])", 500, "RUNTIME_ERROR", "UnserializableResult"},
		{"returns a circle", "const a = {}; a.a = a; return a", 500, "RUNTIME_ERROR", "UnserializableResult"},
		{"returns 10 MB", "return 'x'.repeat(10_000_000)", 507, "RESOURCE_EXHAUSTED", ""},
		{"throws an error", "throw new TypeError('no')", 500, "RUNTIME_ERROR", "TypeError"},
		{"throws a string", "throw 'no'", 500, "RUNTIME_ERROR", ""},
		{"throws null", "throw null", 500, "RUNTIME_ERROR", ""},
		{"throws later", "setTimeout(() => { throw new Error('late') }); await new Promise(() => {})", 500, "RUNTIME_ERROR", "Error"},
		{"exits", "process.exit(7)", 500, "RUNTIME_ERROR", "WorkerExited"},
		{"aborts", "process.abort()", 500, "RUNTIME_ERROR", "WorkerExited"},
		{"closes its descriptors", "for (let fd = 0; fd < 64; fd++) try { require('fs').closeSync(fd) } catch {}; await new Promise(() => {})", 500, "RUNTIME_ERROR", "WorkerExited"},
		{"takes all memory", "const a = []; for (;;) a.push(new Array(1e6).fill(1.5))", 507, "RESOURCE_EXHAUSTED", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			id := i.initialize(t, "if (event.params.fine) return 'fine';\n"+test.script)
			e := i.execute(t, id, "{}").isError(t, test.status, test.code, "function")
			if test.kind != "" && e.Error.Details["type"] != test.kind {
				t.Errorf("type %v, want %s", e.Error.Details["type"], test.kind)
			}
			if raw, _ := json.Marshal(e); bytes.Contains(raw, []byte("/tmp/")) || bytes.Contains(raw, []byte(".envoke")) {
				t.Errorf("a path of ours leaks: %s", raw)
			}
			if got := i.execute(t, id, `{"fine":true}`).result(t); got != `"fine"` {
				t.Errorf("the next call got %s", got)
			}
		})
	}
}

func TestFunctionOutputGoesToTheLog(t *testing.T) {
	i := shared(t)
	id := i.initialize(t, "console.log('to be found', event.params.n); return 1")
	r := i.execute(t, id, `{"n":4711}`)
	if got := r.result(t); got != "1" {
		t.Fatal(got)
	}
	request := r.header.Get("X-Request-Id")
	testrig.Eventually(t, "the line in the log", func() bool {
		for line := range strings.Lines(i.stderr.String()) {
			if strings.Contains(line, "to be found 4711") && strings.Contains(line, request) {
				return true
			}
		}
		return false
	})
	flood := i.initialize(t, "for (let n = 0; n < 20_000; n++) console.log('x'.repeat(60)); return 'flooded'")
	if got := i.execute(t, flood, "{}").result(t); got != `"flooded"` {
		t.Errorf("after a megabyte of output: %s", got)
	}
}

// TestLargeBodies takes 6 MB both ways and refuses more with an answer, not a
// broken connection.
func TestLargeBodies(t *testing.T) {
	i := shared(t)
	id := i.initialize(t, "return event.params")
	large := `"` + strings.Repeat("y", 6_000_000) + `"`
	if got := i.execute(t, id, large).result(t); got != large {
		t.Errorf("6 MB came back as %d bytes", len(got))
	}
	i.execute(t, id, `"`+strings.Repeat("y", 50_000_000)+`"`).isError(t, 413, "PAYLOAD_TOO_LARGE", "runtime")
	request, err := http.NewRequest(http.MethodPost, i.base+"/api/v1/execute/"+id,
		io.MultiReader(strings.NewReader(`{"params":"`), strings.NewReader(strings.Repeat("y", 20_000_000)))) // chunked
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	reply{answer.StatusCode, answer.Header, body}.isError(t, 413, "PAYLOAD_TOO_LARGE", "runtime")
	if got := i.execute(t, id, "1").result(t); got != "1" {
		t.Errorf("the next call got %s", got)
	}
}

func TestSlowBodyIsGivenUp(t *testing.T) {
	i := serve(t, "--request-timeout-seconds", "1")
	id := i.initialize(t, "return 1")
	conn, err := net.Dial("tcp", strings.TrimPrefix(i.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /api/v1/execute/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", id)
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")) || !bytes.Contains(answer, []byte(`"TIMEOUT"`)) {
		t.Errorf("got %s", answer)
	}
	if got := i.execute(t, id, "{}").result(t); got != "1" {
		t.Errorf("the next call got %s", got)
	}
}

// TestAllHandlerForms runs each form that api.md promises, through everything.
func TestAllHandlerForms(t *testing.T) {
	i := shared(t)
	for name, script := range map[string]string{
		"body":             "return event.params.a + event.context.b",
		"body that awaits": "return await Promise.resolve(event.params.a) + event.context.b",
		"module.exports":   "module.exports = async (event, context) => event.params.a + context.b",
		"callback":         "module.exports = (event, context, callback) => setImmediate(() => callback(null, event.params.a + context.b))",
		"exports.handler":  "exports.handler = (event) => event.params.a + event.context.b",
		"export default":   "import { sep } from 'node:path'; export default (event, context) => event.params.a + context.b",
	} {
		t.Run(name, func(t *testing.T) {
			id := i.initializeWith(t, map[string]any{"script_content": script, "context": map[string]int{"b": 2}})
			if got := i.execute(t, id, `{"a":1}`).result(t); got != "3" {
				t.Errorf("got %s", got)
			}
		})
	}
}
