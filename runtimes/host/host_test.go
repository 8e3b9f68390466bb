package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
)

// The parts of an envelope that differ from call to call.
var varying = regexp.MustCompile(`"execution_time_ms":[0-9]+\.[0-9]{3}\b|"memory_usage_bytes":[0-9]{7,}\b|"expires_at":"20[0-9-]{8}T[0-9:]{8}Z"`)

// mask takes what varies out of a body.
func mask(body string, id faas.SessionID) string {
	return varying.ReplaceAllStringFunc(strings.ReplaceAll(body, string(id), "ID"), func(member string) string {
		name, _, _ := strings.Cut(member, ":")
		return name + ":*"
	})
}

func TestEnvelopes(t *testing.T) {
	r := newRig(t, pool.Options{})
	id, got := r.tryInitialize(t, "nodejs-hello.World_1", `{"script_content":"return event","context":{"user_id":"u"}}`)
	want := `{"request_id":"ID","status":"initialized","expires_at":*,"language_title":"nodejs-hello.World_1","compile_status":"success"}`
	if diff := cmp.Diff(reply{Status: 200, Body: want}, reply{Status: got.Status, Body: mask(got.Body, id)}); diff != "" {
		t.Errorf("initialize (-want +got)\n%s", diff)
	}
	var times struct {
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal([]byte(got.Body), &times); err != nil || time.Until(times.ExpiresAt).Round(time.Minute) != time.Hour {
		t.Errorf("it expires at %v (%v), want in an hour", times.ExpiresAt, err)
	}
	for params, want := range map[string]string{
		``:                       `{"params":null,"context":{"user_id":"u"}}`,
		`{}`:                     `{"params":null,"context":{"user_id":"u"}}`,
		`{"params":{"a":"é<>"}}`: `{"params":{"a":"é<>"},"context":{"user_id":"u"}}`,
	} {
		got := r.execute(t, id, params)
		got.Body = mask(got.Body, id)
		want := `{"result":` + want + `,"request_id":"ID","language_title":"nodejs-hello.World_1","execution_time_ms":*,"memory_usage_bytes":*,"cached":false}`
		if diff := cmp.Diff(reply{Status: 200, Body: want}, got); diff != "" {
			t.Errorf("execute %s (-want +got)\n%s", params, diff)
		}
	}
}

// A one-shot that is refused before its function is asked makes no session; one that
// fails later made one.
func TestOneShotKeepsNothingRefused(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "typed", faas.Function{Script: javaScriptOf(`return 1`), Schema: []byte(`{"type":"string"}`)})
	const typed = "nodejs-typed"
	for _, test := range []struct {
		name, title, body string
		status            int
		kept              bool
	}{
		{"params against the schema", typed, `{"params":1}`, 400, false},
		{"no params, against the schema", typed, `{}`, 400, false},
		{"params that are no JSON", typed, `{"params":nope}`, 400, false},
		{"bad options", "nodejs-x", `{"script_content":"return 1","compile_options":{"memory_limit_mb":0}}`, 400, false},
		{"code that does not parse", "nodejs-x", `{"script_content":"return }"}`, 422, false},
		{"code that does not load", "nodejs-x", `{"script_content":"module.exports = nope"}`, 422, false},
		{"no function", "nodejs-nobody", `{}`, 404, false},
		{"a function that throws", "nodejs-x", `{"script_content":"throw 1"}`, 500, true},
		{"a success", typed, `{"params":"x"}`, 200, true},
	} {
		id := key.NewID(faas.NodeJS, true)
		got := r.do(t, call{path: executePath, title: test.title, id: id, body: strings.NewReader(test.body)})
		if got.Status != test.status {
			t.Errorf("%s: %+v, want %d", test.name, got, test.status)
		}
		testrig.Eventually(t, fmt.Sprintf("%s: that the session is kept is %t", test.name, test.kept), func() bool {
			_, err := r.store.FindSession(t.Context(), id)
			return test.kept && err == nil || !test.kept && faas.IsNotFound(err)
		})
	}
}

// A one-shot makes a session like any other.
func TestOneShot(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := key.NewID(faas.NodeJS, true)
	body := `{"script_content":"return [params, context.a]","context":{"a":1},"params":2}`
	got := r.do(t, call{path: executePath, title: "nodejs-once", id: id, body: strings.NewReader(body)})
	want := `{"result":[2,1],"request_id":"ID","language_title":"nodejs-once","execution_time_ms":*,"memory_usage_bytes":*,"cached":false}`
	if diff := cmp.Diff(reply{Status: 200, Body: want}, reply{Status: got.Status, Body: mask(got.Body, id)}); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := r.result(t, id, "3"); got != "[3,1]" {
		t.Errorf("executed again: %s", got)
	}
	if stored, err := r.registry.FindSession(t.Context(), id); err != nil || stored.Name.Title != "once" {
		t.Errorf("control has %+v, %v", stored, err)
	}
}

// Hosts hold sessions that are executed again, which those of one-shots seldom are: without
// control nothing is known of one.
func TestOneShotIsNotHeld(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := key.NewID(faas.NodeJS, true)
	if got := r.do(t, call{path: executePath, title: "nodejs-once", id: id, body: strings.NewReader(`{"script_content":"return 1"}`)}); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	r.stopControl()
	again := call{path: executePath + "/" + string(id), body: strings.NewReader(`{}`)}
	if got := r.do(t, again); got.Status != 503 {
		t.Errorf("executed again without control: %+v, want 503", got)
	}
}

// failure is an error's reply.
func failure(status int, code, message, details string) reply {
	return reply{Status: status, Body: fmt.Sprintf(
		`{"error":{"code":%q,"message":%q,"details":{%s}},"request_id":"trace-1"}`, code, message, details)}
}

func TestRefusals(t *testing.T) {
	r := newRig(t, pool.Options{})
	runtime, id := `"component":"runtime"`, key.NewID(faas.NodeJS, true)
	const noID = "sessions are made through Envoy: this host got no session id of its own language, nodejs"
	allow := func(method string) reply {
		want := failure(405, "INVALID_REQUEST", "this path takes "+method+" only", runtime)
		want.Allow = method
		return want
	}
	noSession := failure(404, "NOT_FOUND", faas.ErrNoSession.Message, runtime)
	session := executePath + "/" + string(r.initialize(t, `return 1`))
	tests := []struct {
		name string
		call call
		want reply
	}{
		{"no path of ours", call{path: "/api/v1/sessions"}, failure(404, "NOT_FOUND", "no such path on this runtime host", runtime)},
		{"GET of initialize", call{method: "GET", path: initializePath}, allow("POST")},
		{"DELETE of a session", call{method: "DELETE", path: session}, allow("POST")},
		{"PUT of a one-shot", call{method: "PUT", path: executePath}, allow("POST")},
		{"POST of health", call{path: "/health"}, allow("GET")},
		{"no name", call{path: initializePath, id: id}, failure(400, "INVALID_REQUEST", "the function's name in the Language-Title header is missing: send <language>-<title>, such as nodejs-hello", runtime)},
		{"no id", call{path: initializePath, title: "nodejs-a"}, failure(400, "INVALID_REQUEST", noID, runtime)},
		{"an id of another language", call{path: executePath, title: "nodejs-a", id: key.NewID(faas.Python, true)}, failure(400, "INVALID_REQUEST", noID, runtime)},
		{"a name of another language", call{path: initializePath, title: "python-a", id: id}, failure(400, "INVALID_REQUEST", "this host runs nodejs functions only", runtime)},
		{"bad JSON", call{path: initializePath, title: "nodejs-a", id: id, body: strings.NewReader(`{"context"}`)}, failure(400, "INVALID_REQUEST", "the body is not valid JSON (at byte 10)", runtime)},
		{"no version", call{path: initializePath, title: "nodejs-a@7", id: id}, failure(404, "NOT_FOUND", "no function is registered as nodejs-a@7", runtime)},
		{"no function", call{path: initializePath, title: "nodejs-a", id: id}, failure(404, "NOT_FOUND", "no function is called nodejs-a, and the body has no script_content: send the code there", runtime)},
		{"no id to execute", call{path: executePath + "/"}, noSession},
		{"a malformed id", call{path: executePath + "/../../x"}, noSession},
		{"a forged id", call{path: executePath + "/" + string(faas.SessionKey("other").NewID(faas.NodeJS, true))}, noSession},
		{"an unknown id", call{path: executePath + "/" + string(id)}, noSession},
		{"bad params", call{path: session, body: strings.NewReader(`{"params":}`)}, failure(400, "INVALID_REQUEST", "the body is not valid JSON (at byte 10)", runtime)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, r.do(t, test.call)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestCodeThatDoesNotLoad(t *testing.T) {
	patient, hasty := newRig(t, pool.Options{}), newRig(t, pool.Options{LoadTimeout: time.Second})
	tests := []struct {
		name, script, message, details string
		rig                            *rig
	}{
		{
			"syntax", "let a = 1\nlet a = 2", "Identifier 'a' has already been declared",
			`"column":5,"component":"function","line":2,"stack_trace":"function.js:2\nlet a = 2\n    ^\n\nSyntaxError: Identifier 'a' has already been declared","type":"SyntaxError"`, patient,
		},
		{
			"it throws", "\nthrow new RangeError('no'); module.exports = () => 1", "no",
			`"column":7,"component":"function","line":2,"stack_trace":"RangeError: no\n    at Object.<anonymous> (function.js:2:7)","type":"RangeError"`, patient,
		},
		{
			"it takes for ever", "module.exports = () => 1; for (;;);", "the code did not load within 1000 ms: it loops or waits at its top level, or the machine is too busy",
			`"component":"function","timeout_ms":1000`, hasty,
		},
		{
			"it exits", "module.exports = () => 1; process.reallyExit(7)", "the function's worker ended: exit code 7",
			`"component":"function","type":"WorkerExited"`, patient,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source, _ := json.Marshal(test.script)
			id, got := test.rig.tryInitialize(t, "nodejs-test", `{"script_content":`+string(source)+`}`)
			if diff := cmp.Diff(failure(422, "INITIALIZATION_ERROR", test.message, test.details), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			testrig.Eventually(t, "control has no session", func() bool {
				_, err := test.rig.registry.FindSession(t.Context(), id)
				return faas.IsNotFound(err)
			})
		})
	}
}

func TestFunctionsThatFail(t *testing.T) {
	r := newRig(t, pool.Options{MaxResult: 1000})
	tests := []struct {
		name, script, context string
		want                  reply
	}{
		{"it throws", "const a = 1\n  throw new TypeError('no')", `{}`, failure(
			500, "RUNTIME_ERROR", "no",
			`"column":9,"component":"function","line":2,"stack_trace":"TypeError: no\n    at function.js:2:9","type":"TypeError"`,
		)},
		{"no JSON", "return {a: 1n}", `{}`, failure(
			500, "RUNTIME_ERROR", "result.a is a BigInt",
			`"component":"function","stack_trace":"UnserializableResult: result.a is a BigInt","type":"UnserializableResult"`,
		)},
		{"it exits", "process.reallyExit(3)", `{}`, failure(
			500, "RUNTIME_ERROR", "the function's worker ended: exit code 3", `"component":"function","type":"WorkerExited"`,
		)},
		{"it takes for ever", "for (;;);", `{"timeout_ms":1000}`, failure(
			504, "TIMEOUT", "the function did not answer within 1000 ms", `"component":"function","timeout_ms":1000`,
		)},
		{"too much", "return 'x'.repeat(1000)", `{}`, failure(
			507, "RESOURCE_EXHAUSTED", "the result is larger than 1000 bytes of JSON", `"component":"function","limit":"output","limit_bytes":1000`,
		)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source, _ := json.Marshal(test.script)
			id := r.initializeBody(t, "nodejs-test", `{"script_content":`+string(source)+`,"context":`+test.context+`}`)
			for range 2 { // whatever it did, it can be called again
				if diff := cmp.Diff(test.want, r.execute(t, id, `{}`)); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

func TestTooLargeBodies(t *testing.T) {
	r := newRig(t, pool.Options{})
	session := executePath + "/" + string(r.initialize(t, `return params.length`))
	tests := []struct {
		name  string
		call  call
		limit int
	}{
		{"announced", call{path: session, body: strings.NewReader(strings.Repeat("x", 8*testMaxBody))}, testMaxBody},
		{"chunked", call{path: session, body: endless("x")}, testMaxBody},
		{"announced by one byte", call{path: session, body: strings.NewReader(strings.Repeat("x", testMaxBody+1))}, testMaxBody},
		{"initialize", call{path: initializePath, title: "nodejs-a", id: key.NewID(faas.NodeJS, true), body: endless(" ")}, 6*testMaxScript + MaxContext + MaxDependencies + testMaxBody},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := failure(413, "PAYLOAD_TOO_LARGE", fmt.Sprintf("the request's body is larger than %d bytes", test.limit),
				fmt.Sprintf(`"component":"runtime","limit_bytes":%d`, test.limit))
			want.Close = true
			if diff := cmp.Diff(want, r.do(t, test.call)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	largest := `{"params":"` + strings.Repeat("x", testMaxBody-len(`{"params":""}`)) + `"}`
	if got := r.do(t, call{path: session, body: strings.NewReader(largest)}); got.Status != 200 {
		t.Errorf("as large as allowed: %+v", got)
	}
}

// endless is a body without a length and without an end.
type endless string

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = e[0]
	}
	return len(b), nil
}

// holdable waits for the file that params name, if they do. It tells its process
// and how many calls that has had.
const holdable = `
	const {existsSync} = require('fs')
	let calls = 0
	module.exports = async ({params}) => {
		calls++
		while (params && !existsSync(params)) await new Promise((again) => setTimeout(again, 2))
		return [process.pid, calls]
	}`

// hold begins a call that lasts until release is called. Release returns what came
// of it.
func (r *rig) hold(ctx context.Context, t *testing.T, id faas.SessionID) (release func() (reply, error)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "release")
	var got reply
	var err error
	var calling sync.WaitGroup
	calling.Go(func() {
		body := strings.NewReader(`{"params":"` + file + `"}`)
		got, err = r.try(ctx, call{path: executePath + "/" + string(id), body: body})
	})
	return func() (reply, error) {
		create(t, file)
		calling.Wait()
		return got, err
	}
}

func TestFullQueue(t *testing.T) {
	r := newRig(t, pool.Options{Concurrency: 1, Queue: 1})
	id := r.initialize(t, holdable)
	running := r.hold(t.Context(), t, id)
	testrig.Eventually(t, "one runs", func() bool { return r.pool.Stats().Calls == 1 })
	waiting := r.hold(t.Context(), t, id)
	testrig.Eventually(t, "one waits", func() bool { return r.pool.Stats().Waiting == 1 })
	want := failure(429, "RATE_LIMITED", "too many calls of this function are waiting", `"component":"runtime","retry_after_seconds":1`)
	want.RetryAfter = "1"
	if diff := cmp.Diff(want, r.execute(t, id, `{}`)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, release := range []func() (reply, error){running, waiting} {
		if got, err := release(); err != nil || got.Status != http.StatusOK {
			t.Errorf("a call that was taken: %+v, %v", got, err)
		}
	}
}

// A caller that goes away takes nobody along.
func TestCallerGoesAway(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.initialize(t, holdable)
	before := r.result(t, id, "null")
	ctx, cancel := context.WithCancel(t.Context())
	release := r.hold(ctx, t, id)
	testrig.Eventually(t, "it runs", func() bool { return r.pool.Stats().Calls == 1 })
	cancel()
	if _, err := release(); err == nil {
		t.Error("the caller has got a reply")
	}
	testrig.Eventually(t, "the function ends", func() bool { return r.pool.Stats().Calls == 0 })
	if want, got := strings.Replace(before, ",1]", ",3]", 1), r.result(t, id, "null"); got != want {
		t.Errorf("got %s, want %s: the same process, three calls", got, want)
	}
}

func TestCallsAtOnce(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.initialize(t, `await new Promise((later) => setTimeout(later, params % 7)); return [params, context]`)
	var calling sync.WaitGroup
	for i := range 40 {
		calling.Go(func() {
			got, err := r.try(t.Context(), call{
				path: executePath + "/" + string(id), body: io.MultiReader(strings.NewReader(fmt.Sprintf(`{"params":%d}`, i))),
			})
			if want := fmt.Sprintf(`{"result":[%d,{}],`, i); err != nil || !strings.HasPrefix(got.Body, want) {
				t.Errorf("got %+v, %v; want %s", got, err, want)
			}
		})
	}
	calling.Wait()
}
