package host

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// register registers versions of a function, the first of them as a new one.
func (r *rig) register(t testing.TB, title string, versions ...faas.Function) faas.Name {
	t.Helper()
	name := faas.Name{Language: faas.NodeJS, Title: title}
	for i, f := range versions {
		put := r.store.AddVersion
		if i == 0 {
			put = r.store.CreateFunction
		}
		f.Name = name
		if _, err := put(t.Context(), faas.Actor{}, f); err != nil {
			t.Fatal(err)
		}
	}
	r.registry.FunctionChanged(t.Context(), name)
	return name
}

func javaScriptOf(source string) faas.Script { return faas.NewScript(faas.NodeJS, source, nil) }

func (r *rig) post(t testing.TB, path, body string) reply {
	t.Helper()
	got := r.do(t, call{path: path, body: strings.NewReader(body)})
	got.Body = mask(got.Body, "no id")
	return got
}

func TestInvokeFunction(t *testing.T) {
	r := newRig(t, pool.Options{})
	name := r.register(t, "echo",
		faas.Function{Script: javaScriptOf(`return [1, event]`)},
		faas.Function{Script: javaScriptOf(`return [2, event]`)})
	if _, err := r.store.PutAlias(t.Context(), faas.Actor{}, name, faas.Alias{Name: "prod", Version: 1}); err != nil {
		t.Fatal(err)
	}
	envelope := func(result string) reply {
		return reply{Status: 200, Body: `{"result":` + result + `,"request_id":null,"language_title":"nodejs-echo","execution_time_ms":*,"memory_usage_bytes":*,"cached":false}`}
	}
	for _, test := range []struct {
		path, body string
		want       reply
	}{
		{"nodejs/echo", `{"params":{"n":12345678901234567890123}}`, envelope(`[2,{"params":{"n":1.2345678901234568e+22},"context":{}}]`)},
		{"nodejs/echo@1", ``, envelope(`[1,{"params":null,"context":{}}]`)},
		{"nodejs/echo%401", `{}`, envelope(`[1,{"params":null,"context":{}}]`)},
		{"nodejs/echo:prod", `{"params":1,"context":{"user_id":"u"},"request_id":"x"}`, envelope(`[1,{"params":1,"context":{"user_id":"u"}}]`)},
		{"nodejs/echo@3", ``, failure(404, "NOT_FOUND", "no function is registered as nodejs-echo@3", `"component":"runtime"`)},
		{"nodejs/nobody", ``, failure(404, "NOT_FOUND", "no function is registered as nodejs-nobody", `"component":"runtime"`)},
		{"python/echo", ``, failure(400, "INVALID_REQUEST", "this host runs nodejs functions only", `"component":"runtime"`)},
		{"nodejs/", ``, failure(400, "INVALID_REQUEST", "the title in the path is empty", `"component":"runtime"`)},
		{"nodejs/echo", `[]`, failure(400, "INVALID_REQUEST", `the body must be a JSON object, such as {"params":{}}`, `"component":"runtime"`)},
		{"nodejs/echo", `{"context":1}`, failure(400, "INVALID_REQUEST", "context must be an object", `"component":"runtime","member":"context"`)},
		{"nodejs/echo", `{"context":{"retain_session":true}}`, failure(400, "INVALID_REQUEST", "context.retain_session needs a session: send it to initialize, and execute that", `"component":"runtime","member":"context.retain_session"`)},
	} {
		if diff := cmp.Diff(test.want, r.post(t, runtimePath+test.path, test.body)); diff != "" {
			t.Errorf("%s %s (-want +got)\n%s", test.path, test.body, diff)
		}
	}
	if got := r.do(t, call{method: http.MethodGet, path: runtimePath + "nodejs/echo"}); got.Status != 405 || got.Allow != "POST" {
		t.Errorf("GET: %+v", got)
	}
}

// Operators are told why a request failed, however it came.
func TestFailuresAreTold(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "fail", faas.Function{Script: javaScriptOf(`throw new TypeError('no')`)})
	r.register(t, "well", faas.Function{Script: javaScriptOf(`return 1`)})
	for _, test := range []struct {
		path string
		want faas.Code // empty: none
	}{
		{functionPath + "nodejs-fail", faas.RuntimeError},
		{functionPath + "nodejs-well", ""},
		{runtimePath + "nodejs/nobody", faas.NotFound},
		{executePath + "/x", faas.NotFound},
	} {
		r.failed.Clear()
		r.post(t, test.path, "{}")
		told, _ := r.failed.Load("trace-1")
		if f, ok := told.(faas.Failure); ok != (test.want != "") || f.Code != test.want {
			t.Errorf("%s: %v, want %q", test.path, told, test.want)
		}
	}
}

// The least of the call's, the function's and the operator's time is what it gets.
func TestInvokeFunctionInTime(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "loop", faas.Function{Script: javaScriptOf(`module.exports = () => { for (;;); }`), Timeout: 600 * time.Millisecond})
	for body, ms := range map[string]string{`{}`: "600", `{"context":{"timeout_ms":300}}`: "300"} {
		r.initializeBody(t, "nodejs-loop", ``) // loads it: a worker's start takes none of the time
		if got := r.post(t, runtimePath+"nodejs/loop", body); got.Status != 504 || !strings.Contains(got.Body, `"timeout_ms":`+ms) {
			t.Errorf("%s: %+v, want a timeout of %s ms", body, got, ms)
		}
	}
}

// The schema of a function holds however it is called, and what passes it reaches
// the function as it was written.
func TestSchema(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "order",
		faas.Function{
			Script: javaScriptOf(`return params ? params.id : null`),
			Schema: []byte(`{"type":["object","null"],"properties":{"id":{"type":"integer"},"tags":{"items":{"type":"string"}}},"required":["id"]}`),
		},
		faas.Function{Script: javaScriptOf(`return 'two'`), Schema: []byte(`{"type":"string"}`)})
	one := r.initializeBody(t, "nodejs-order@1", ``)
	if stored, err := r.store.FindSession(t.Context(), one); err != nil || !strings.Contains(string(stored.Schema), `"tags"`) {
		t.Errorf("the session is stored with the schema %q (%v): other hosts have no other", stored.Schema, err)
	}
	refused := failure(400, "INVALID_PARAMS", "params/tags/1 against the function's schema: got number, want string",
		`"component":"runtime","keyword":"type","path":"/tags/1","reason":"got number, want string"`)
	const good, bad = `{"id":9007199254740993}`, `{"id":1,"tags":["a",2]}`
	for _, path := range []string{executePath + "/" + string(one), runtimePath + "nodejs/order@1"} {
		if diff := cmp.Diff(refused, r.post(t, path, `{"params":`+bad+`}`)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", path, diff)
		}
		if got := r.post(t, path, `{"params":`+good+`}`); !strings.HasPrefix(got.Body, `{"result":9007199254740992,`) {
			t.Errorf("%s: %+v", path, got)
		}
		if got := r.post(t, path, ``); !strings.HasPrefix(got.Body, `{"result":null,`) { // the schema takes null
			t.Errorf("%s: %+v", path, got)
		}
	}
	if diff := cmp.Diff(refused, r.post(t, functionPath+"nodejs-order@1", bad)); diff != "" {
		t.Errorf("plain HTTP (-want +got)\n%s", diff)
	}
	if got := r.post(t, functionPath+"nodejs-order@1", good); got.Body != `9007199254740992` {
		t.Errorf("plain HTTP: %+v", got)
	}
	id := key.NewID(faas.NodeJS, true)
	oneShot := r.do(t, call{path: executePath, title: "nodejs-order@1", id: id, body: strings.NewReader(`{"params":` + bad + `}`)})
	if diff := cmp.Diff(refused, oneShot); diff != "" {
		t.Errorf("one-shot (-want +got)\n%s", diff)
	}
	// A script of the same name is not that function.
	own := r.initializeBody(t, "nodejs-order", `{"script_content":"return params"}`)
	if got := r.result(t, own, `1`); got != "1" {
		t.Errorf("a session's own script: %s", got)
	}
	if got := r.post(t, runtimePath+"nodejs/order", `{"params":"x"}`); !strings.HasPrefix(got.Body, `{"result":"two"`) {
		t.Errorf("the current version: %+v", got)
	}
}

func TestProtocol(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := string(r.initializeBody(t, "nodejs-test", `{"script_content":"return event","context":{"a":1}}`))
	measured := func(result string) reply {
		return reply{Status: 200, Body: `{"result":` + result + `,"execution_time_ms":*,"memory_usage_bytes":*}`}
	}
	const counting = `"script_content":"let n = 0; module.exports = () => ++n"`
	for _, test := range []struct {
		body string
		want reply
	}{
		{`{"request_id":"` + id + `","params":1}`, measured(`{"params":1,"context":{"a":1}}`)},
		{`{"request_id":"` + id + `","context":{"b":2}}`, measured(`{"params":null,"context":{"b":2}}`)},
		{`{"request_id":"` + id + `"}`, measured(`{"params":null,"context":{"a":1}}`)}, // the other was for that call
		{`{"request_id":"mine","params":3,"context":{"c":4},"script_content":"return event"}`, measured(`{"params":3,"context":{"c":4}}`)},
		{`{"request_id":"mine",` + counting + `}`, measured(`1`)},
		{`{"request_id":"mine",` + counting + `}`, measured(`1`)}, // a worker of its own
		{`{"script_content":"throw new TypeError('no')"}`, failure(500, "RUNTIME_ERROR", "no",
			`"column":7,"component":"function","line":1,"stack_trace":"TypeError: no\n    at function.js:1:7","type":"TypeError"`)},
		{`{"request_id":"mine"}`, failure(404, "NOT_FOUND", faas.ErrNoSession.Message, `"component":"runtime"`)},
		{`{}`, failure(400, "INVALID_REQUEST", "send script_content, or a session's id as request_id", `"component":"runtime"`)},
		{`{"request_id":7}`, failure(400, "INVALID_REQUEST", "send script_content, or a session's id as request_id", `"component":"runtime"`)},
		{`{"script_content":7}`, failure(400, "INVALID_REQUEST", "script_content must be a string", `"component":"runtime","member":"script_content"`)},
	} {
		if diff := cmp.Diff(test.want, r.post(t, protocolPath, test.body)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", test.body, diff)
		}
	}
}
