package host

import (
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

func TestBodyMembers(t *testing.T) {
	const missing = `params is missing, and the body has a member "a" that nobody reads: what the function gets belongs into params`
	for _, test := range []struct{ body, want string }{
		{``, ""},
		{`{}`, ""},
		{`{"params":1}`, ""},
		{`{"params":null,"parms":1}`, ""}, // both were sent: it is no slip
		{`{"parms":1,"params":2}`, ""},
		{`{"request_id":1}`, ""},
		{`{"script_content":""}`, ""},
		{`{"params":null,"a":2}`, ""},
		{`{"a":2,"request_id":1,"params":1}`, ""},
		{`{"a":1}`, missing},
		{`{"request_id":1,"a":2,"b":3}`, missing},
		{`{"script_content":"","a":1}`, missing},
		{`{"params":1,"timeout_ms":5}`, "timeout_ms is no member of an execute: the context that initialize gets has it"},
		{`{"params":1,"paramz":1,"scriptcontent":"return 1"}`, `the body has a member "scriptcontent" but no "script_content": was that meant?`},
		{`{"parms":{}}`, `the body has a member "parms" but no "params": was that meant?`},
		{`{"a":1,"p\u0061rms":{}}`, `the body has a member "parms" but no "params": was that meant?`},
		{`{"x":1,"script":"return 1"}`, `the body has a member "script" but no "script_content": was that meant?`},
		{`{"parms":{}`, "the body is not valid JSON (at byte 11)"},
		{`{"a":1`, "the body is not valid JSON (at byte 6)"},
	} {
		var params, script []byte
		err := bodyMembers([]byte(test.body), member{"params", &params}, member{"script_content", &script})
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.body, err)
		case test.want != "":
			wantCode(t, err, faas.InvalidRequest)
			if got := faas.AsError(err).Message; got != test.want {
				t.Errorf("%s: %q, want %q", test.body, got, test.want)
			}
		}
	}
	var timeout []byte // what is somebody's own object may have any names
	if err := members([]byte(`{"timeout_m":1}`), member{"timeout_ms", &timeout}); err != nil {
		t.Error(err)
	}
}

// TestNothingIsRunWithNoParamsForASlip: params that were put beside params are not
// dropped without a word, however the function is called. Initialize takes none.
func TestNothingIsRunWithNoParamsForASlip(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "echo", faas.Function{Script: javaScriptOf(`return [event.params]`)})
	session := r.initializeBody(t, "nodejs-echo", `{"older":1}`)
	for name, send := range map[string]func(body string) reply{
		"execute": func(body string) reply { return r.execute(t, session, body) },
		"one-shot": func(body string) reply {
			return r.do(t, call{path: executePath, title: "nodejs-echo", id: key.NewID(faas.NodeJS, true), body: strings.NewReader(body)})
		},
		"by path": func(body string) reply { return r.post(t, runtimePath+"nodejs/echo", body) },
	} {
		for body, want := range map[string]int{
			`{"n":1}`: 400, `{"params":null,"n":1}`: 200, `{"request_id":"x"}`: 200, `{"params":1,"timeout_ms":5}`: 400, ``: 200,
		} {
			if got := send(body); got.Status != want {
				t.Errorf("%s of %s: %+v, want %d", name, body, got, want)
			}
		}
	}
}
