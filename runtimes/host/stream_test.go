package host

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
)

// What a streaming function's response is, by what it makes and what the caller takes.
func TestPlainStream(t *testing.T) {
	r := newRig(t, pool.Options{})
	for i, test := range []struct {
		name, script, accept string
		status               int
		contentType, body    string
	}{
		{
			name: "text", script: "return ['a', 'é\\n', ''].values()",
			status: 200, contentType: "text/plain; charset=utf-8", body: "aé\n",
		},
		{
			name: "values", script: "return [{ n: 1 }, 2, null].values()",
			status: 200, contentType: "application/x-ndjson", body: "{\"n\":1}\n2\nnull\n",
		},
		{
			name: "bytes", script: "return [Buffer.from([0, 255]), new Uint8Array([1]).buffer].values()",
			status: 200, contentType: "application/octet-stream", body: "\x00\xff\x01",
		},
		{
			name: "nothing", script: "return [].values()",
			status: 200, contentType: "", body: "",
		},
		{
			name: "events", script: "return ['a\\nb', { n: 1 }, Buffer.from('x'), ''].values()", accept: "text/event-stream",
			status: 200, contentType: "text/event-stream", body: "data: a\ndata: b\n\ndata: {\"n\":1}\n\ndata: eA==\n\ndata:\n\n",
		},
		{
			name: "a response", script: "return { statusCode: 418, headers: { 'Content-Type': 'tea/pot' }, body: ['x'].values() }", accept: "text/event-stream",
			status: 418, contentType: "tea/pot", body: "x",
		},
		{
			name: "a response without a body", script: "return { statusCode: 204, body: (function* () { for (;;) yield 1 })() }",
			status: 204,
		},
		{
			name: "a failure before the first part", script: "return (function* () { throw new Error('early') })()", accept: "text/event-stream",
			status: 500, contentType: "application/json", body: `"early"`,
		},
		{
			name: "no status", script: "return { statusCode: 99, body: ['x'].values() }",
			status: 500, contentType: "application/json", body: "statusCode must be an integer from 200 to 599",
		},
		{
			name: "a failure among events", script: "return (function* () { yield 1; throw new Error('late') })()", accept: "text/event-stream",
			status: 200, contentType: "text/event-stream", body: "event: error\ndata: {\"error\":{\"code\":\"RUNTIME_ERROR\",\"message\":\"late\"",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			title := "stream" + string(rune('a'+i))
			r.register(t, title, faas.Function{Script: javaScriptOf(test.script)})
			response := r.plain(t, http.MethodGet, "/function/nodejs-"+title, "", "Accept: "+test.accept)
			body := bodyOf(response)
			if response.StatusCode != test.status || response.Header.Get("Content-Type") != test.contentType {
				t.Errorf("%d %s: %s", response.StatusCode, response.Header.Get("Content-Type"), body)
			}
			if strings.Contains(test.name, "failure") || test.name == "no status" {
				if !strings.Contains(body, test.body) {
					t.Errorf("%s, want %s in it", body, test.body)
				}
			} else if diff := cmp.Diff(test.body, body); diff != "" {
				t.Error(diff)
			}
		})
	}
	testrig.Eventually(t, "no calls", func() bool { return r.pool.Stats().Calls == 0 })
}

// A caller who reads on sees that the end is missing.
func TestPlainStreamIsBrokenOff(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "late", faas.Function{Script: javaScriptOf("return (async function* () { yield 'x'; throw new Error('late') })()")})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://host/function/nodejs-late", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Request-ID", "broken")
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if string(body) != "x" || err == nil {
		t.Errorf("%q, %v: want the part, and an error", body, err)
	}
	if e, ok := r.failed.Load("broken"); !ok || e.(faas.Failure).Message != "late" {
		t.Errorf("operators are told %v", e)
	}
}

// Parts come as they are made, and a function hears that its caller has gone.
func TestPlainStreamIsNotHeldBack(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "endless", faas.Function{Script: javaScriptOf(
		"return (async function* () { for (let n = 0;; n++) { yield `${n}\\n`; await new Promise(done => setTimeout(done, n && 20)) } })()")})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://host/function/nodejs-endless", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	for _, want := range []string{"0\n", "1\n", "2\n"} {
		if line, err := lines.ReadString('\n'); err != nil || line != want {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
	if calls := r.pool.Stats().Calls; calls != 1 {
		t.Errorf("%d calls are under way", calls)
	}
	leave()
	testrig.Eventually(t, "the function to end", func() bool { return r.pool.Stats().Calls == 0 })
	if loaded := r.pool.Stats().Loaded; loaded != 1 {
		t.Errorf("%d workers, want the one that it had", loaded)
	}
}

// An execute gives the parts as events and the envelope as the last one, or a list.
func TestExecuteStream(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.initialize(t, "return ['a', { n: 1 }].values()")
	if got := r.result(t, id, "null"); got != `["a",{"n":1}]` {
		t.Error(got)
	}
	response := r.plain(t, http.MethodPost, executePath+"/"+string(id), `{"params":null}`, "Accept: text/event-stream")
	parts, last, _ := strings.Cut(bodyOf(response), "event: result\ndata: ")
	if parts != "data: a\n\ndata: {\"n\":1}\n\n" || response.Header.Get("Content-Type") != eventStream {
		t.Errorf("%q, %v", parts, response.Header)
	}
	var envelope struct {
		Result        any
		RequestID     faas.SessionID `json:"request_id"`
		ExecutionTime float64        `json:"execution_time_ms"`
	}
	if err := json.Unmarshal([]byte(last), &envelope); err != nil || envelope.RequestID != id || envelope.ExecutionTime <= 0 || envelope.Result != nil {
		t.Errorf("%s (%v)", last, err)
	}
	// What is no stream is answered as ever.
	id = r.initialize(t, "return 1")
	response = r.plain(t, http.MethodPost, executePath+"/"+string(id), `{"params":null}`, "Accept: text/event-stream")
	if body := bodyOf(response); !strings.HasPrefix(body, `{"result":1,`) {
		t.Error(body)
	}
}
