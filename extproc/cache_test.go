package extproc_test

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
)

// request sends a request through a server as Envoy does: what it is told of the
// request, and what upstream answers if it gets that far.
type request struct {
	head string // as headersOf takes it
	body string
}

// response is what the upstream answers.
type response struct {
	status, cacheable, body string
}

// envelope is a response that others may have.
func envelope(result int) response {
	return response{"200", `[["content-type","application/json"]]`, fmt.Sprintf(`{"result":%d,"cached":false}`, result)}
}

// outcome is what became of a request.
type outcome struct {
	Hit     bool
	Body    string
	Headers map[string]string // of the reply, or those that the upstream's reply gets
	Sent    map[string]string // to the upstream
}

// exchange plays Envoy's part on a stream of its own, until the reply is there.
func exchange(t *testing.T, stream extprocv3.ExternalProcessor_ProcessClient, r request, upstream func() response) outcome {
	t.Helper()
	head := headersOf(r.head)
	head.GetRequestHeaders().EndOfStream = r.body == ""
	answer := ask(t, stream, head)
	for {
		if hit := answer.GetImmediateResponse(); hit != nil {
			return outcome{Hit: true, Body: string(hit.GetBody()), Headers: texts(hit.GetHeaders().GetSetHeaders())}
		}
		if answer.GetOverrideMessageTimeout() == nil {
			break
		}
		var err error
		if answer, err = stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	sent := texts(answer.GetRequestHeaders().GetResponse().GetHeaderMutation().GetSetHeaders())
	mode := answer.GetModeOverride()
	if mode.GetRequestBodyMode() == filterv3.ProcessingMode_BUFFERED {
		answer = ask(t, stream, bodyOf(r.body))
		if hit := answer.GetImmediateResponse(); hit != nil {
			return outcome{Hit: true, Body: string(hit.GetBody()), Headers: texts(hit.GetHeaders().GetSetHeaders())}
		}
	}
	replied := upstream()
	o := outcome{Body: replied.body, Sent: sent}
	if mode.GetResponseHeaderMode() == filterv3.ProcessingMode_SEND {
		o.Headers = respond(t, stream, replied)
	}
	return o
}

// respond sends a response through, and returns the headers that are added to it.
func respond(t *testing.T, stream extprocv3.ExternalProcessor_ProcessClient, r response) map[string]string {
	t.Helper()
	headers := []*corev3.HeaderValue{
		{Key: ":status", RawValue: []byte(r.status)},
		{Key: "content-length", RawValue: fmt.Append(nil, len(r.body))},
	}
	if r.cacheable != "" {
		headers = append(headers, &corev3.HeaderValue{Key: "x-envoke-cacheable", RawValue: []byte(r.cacheable)})
	}
	answer := ask(t, stream, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{
		ResponseHeaders: &extprocv3.HttpHeaders{Headers: &corev3.HeaderMap{Headers: headers}},
	}})
	mutation := answer.GetResponseHeaders().GetResponse().GetHeaderMutation()
	if diff := cmp.Diff([]string{"x-envoke-cacheable"}, mutation.GetRemoveHeaders()); diff != "" {
		t.Errorf("removed from the response (-want +got)\n%s", diff)
	}
	if answer.GetModeOverride().GetResponseBodyMode() == filterv3.ProcessingMode_BUFFERED {
		ask(t, stream, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
			ResponseBody: &extprocv3.HttpBody{Body: []byte(r.body), EndOfStream: true},
		}})
	}
	return texts(mutation.GetSetHeaders())
}

func bodyOf(text string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: []byte(text), EndOfStream: true},
	}}
}

func texts(options []*corev3.HeaderValueOption) map[string]string {
	headers := map[string]string{}
	for _, o := range options {
		headers[o.GetHeader().GetKey()] += string(o.GetHeader().GetRawValue())
	}
	return headers
}

// cachedRegistry has one session of a function whose results are cached.
func cachedRegistry() (registry, faas.SessionID) {
	id := key.NewID(faas.NodeJS, false)
	name := faas.Name{Language: faas.NodeJS, Title: "cached"}
	cached := faas.Function{Name: name, Version: 3, CacheTTL: time.Minute}
	return registry{
		sessions: map[faas.SessionID]bool{id: true},
		found:    faas.Session{Name: name, Version: 3},
		functions: map[string]faas.Function{
			"nodejs-cached@3": cached, "nodejs-cached": cached,
			"nodejs-split":    {Name: faas.Name{Language: faas.NodeJS, Title: "split"}, Version: 1, CacheTTL: time.Minute, Weights: map[int]int{2: 50}},
			"nodejs-uncached": {Name: faas.Name{Language: faas.NodeJS, Title: "uncached"}, Version: 1},
		},
	}, id
}

func never(t *testing.T) func() response {
	return func() response {
		t.Error("the function runs")
		return envelope(0)
	}
}

func TestResultsAreCached(t *testing.T) {
	known, id := cachedRegistry()
	execute := "POST /api/v1/execute/" + string(id)
	const (
		digest    = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		fromCache = `cache;desc="ext_proc"`
	)
	plain := response{"200", `[["content-type","text/html"],["link","<a>"],["link","<b>"]]`, "<p>"}
	for _, tt := range []struct {
		name        string
		r           request
		upstream    response
		first, then outcome
	}{
		{
			name: "by the body", r: request{execute + "\ncontent-length: 2", "{}"}, upstream: envelope(1),
			first: outcome{Body: `{"result":1,"cached":false}`, Headers: map[string]string{}, Sent: map[string]string{"x-envoke-cache": "1"}},
			then:  outcome{Hit: true, Body: `{"result":1,"cached":true}`, Headers: map[string]string{"content-type": "application/json", "age": "0", "server-timing": fromCache}},
		},
		{
			name: "by the filter's digest", r: request{execute + "\nx-envoke-key: " + digest, ""}, upstream: envelope(1),
			first: outcome{Body: `{"result":1,"cached":false}`, Headers: map[string]string{"x-envoke-keep": "60000,0"}, Sent: map[string]string{"x-envoke-cache": "1"}},
			then:  outcome{Hit: true, Body: `{"result":1,"cached":true}`, Headers: map[string]string{"content-type": "application/json", "age": "0", "server-timing": fromCache, "x-envoke-keep": "N"}},
		},
		{
			name: "because its caller asks", r: request{execute + "\nx-cache-control: max-age=5\ncontent-length: 2", "{}"}, upstream: envelope(1),
			first: outcome{Body: `{"result":1,"cached":false}`, Headers: map[string]string{}, Sent: map[string]string{"x-envoke-cache": "1"}},
			then:  outcome{Hit: true, Body: `{"result":1,"cached":true}`, Headers: map[string]string{"content-type": "application/json", "age": "0", "server-timing": fromCache}},
		},
		{
			name: "of plain HTTP", r: request{"GET /function/nodejs-cached/a?b", ""}, upstream: plain,
			first: outcome{Body: "<p>", Headers: map[string]string{}, Sent: map[string]string{"x-envoke-cache": "1", "x-envoke-function": "nodejs-cached@3"}},
			then:  outcome{Hit: true, Body: "<p>", Headers: map[string]string{"content-type": "text/html", "link": "<a><b>", "age": "0", "server-timing": fromCache}},
		},
		{
			name: "of a single call", r: request{"POST /runtime/nodejs/cached\ncontent-length: 2", "{}"}, upstream: envelope(1),
			first: outcome{Body: `{"result":1,"cached":false}`, Headers: map[string]string{}, Sent: map[string]string{"x-envoke-cache": "1", "x-envoke-function": "nodejs-cached@3"}},
			then:  outcome{Hit: true, Body: `{"result":1,"cached":true}`, Headers: map[string]string{"content-type": "application/json", "age": "0", "server-timing": fromCache}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := newServer(t, known, t.Output())
			first := exchange(t, dial(t, server), tt.r, func() response { return tt.upstream })
			if diff := cmp.Diff(tt.first, first); diff != "" {
				t.Errorf("first (-want +got)\n%s", diff)
			}
			then := exchange(t, dial(t, server), tt.r, never(t))
			if regexp.MustCompile(`^5\d{4},\d+$`).MatchString(then.Headers["x-envoke-keep"]) {
				then.Headers["x-envoke-keep"] = "N"
			}
			if diff := cmp.Diff(tt.then, then); diff != "" {
				t.Errorf("then (-want +got)\n%s", diff)
			}
		})
	}
}

// A version that has another code than before, as after a restore of the database, has other
// results.
func TestResultsOfAnotherCode(t *testing.T) {
	known, _ := cachedRegistry()
	server, _ := newServer(t, known, t.Output())
	result := func(n int) outcome {
		return exchange(t, dial(t, server), request{"POST /runtime/nodejs/cached\ncontent-length: 2", "{}"}, func() response { return envelope(n) })
	}
	result(1)
	f := known.functions["nodejs-cached"]
	f.Script = faas.NewScript(faas.NodeJS, "return 2", nil)
	known.functions["nodejs-cached"] = f
	if got := result(2); got.Hit {
		t.Errorf("the result of other code: %s", got.Body)
	}
	if got := result(3); !got.Hit {
		t.Error("the result of this code is not kept")
	}
}

func TestResultsThatAreNotCached(t *testing.T) {
	known, id := cachedRegistry()
	execute := "POST /api/v1/execute/" + string(id)
	withBody := execute + "\ncontent-length: 2"
	large := envelope(1)
	large.body = strings.Repeat("x", faas.MaxCachedResult) + large.body
	for _, tt := range []struct {
		name string
		r    request
		up   response
	}{
		{"the host does not say that they may be", request{withBody, "{}"}, response{"200", "", envelope(1).body}},
		{"an error", request{withBody, "{}"}, response{"500", `[]`, "{}"}},
		{"no headers that make sense", request{withBody, "{}"}, response{"200", `x`, envelope(1).body}},
		{"an envelope that is none", request{withBody, "{}"}, response{"200", `[]`, `{}`}},
		{"too large", request{withBody, "{}"}, large},
		{"its caller does not want it", request{withBody + "\nx-cache-control: no-cache", "{}"}, envelope(1)},
		{"of no age", request{withBody + "\nx-cache-control: max-age=0", "{}"}, envelope(1)},
		{"a large body", request{fmt.Sprint(execute, "\ncontent-length: ", faas.MaxCachedBody+1), "{}"}, envelope(1)},
		{"a body of no announced length", request{execute, "{}"}, envelope(1)},
		{"a body that the filter let go", request{withBody + "\nx-envoke-key: none", "{}"}, envelope(1)},
		{"an alias that splits", request{"GET /function/nodejs-split", ""}, envelope(1)},
		{"an uncached function", request{"GET /function/nodejs-uncached", ""}, envelope(1)},
		{"a function that is unknown", request{"GET /function/nodejs-unknown", ""}, envelope(1)},
		{"another method", request{"PUT /function/nodejs-cached", ""}, envelope(1)},
		{"somebody's call", request{"GET /function/nodejs-cached\nauthorization: Bearer 1", ""}, envelope(1)},
		{"a GET with a body", request{"GET /function/nodejs-cached\ncontent-length: 2", "{}"}, envelope(1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := newServer(t, known, t.Output())
			for range 2 {
				if got := exchange(t, dial(t, server), tt.r, func() response { return tt.up }); got.Hit {
					t.Errorf("cached: %+v", got)
				}
			}
		})
	}
}

// Equal calls wait for the first; when its caller goes away, one of them is the first.
func TestWaitForACallUnderWay(t *testing.T) {
	known, id := cachedRegistry()
	server, _ := newServer(t, known, t.Output())
	head := headersOf("POST /api/v1/execute/" + string(id) + "\nx-envoke-key: " + strings.Repeat("a", 64))
	client := connect(t, server)
	open := func() extprocv3.ExternalProcessor_ProcessClient {
		stream, err := client.Process(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	first := open()
	if answer := ask(t, first, head); answer.GetModeOverride() == nil {
		t.Fatalf("the first does not go on: %v", answer)
	}
	second, third := open(), open()
	for _, waiting := range []extprocv3.ExternalProcessor_ProcessClient{second, third} {
		if answer := ask(t, waiting, head); answer.GetOverrideMessageTimeout().AsDuration() <= 0 {
			t.Fatalf("it does not wait: %v", answer)
		}
	}
	if err := first.CloseSend(); err != nil {
		t.Fatal(err)
	}
	// One of the two goes on, the other one goes on waiting.
	answers := make(chan *extprocv3.ProcessingResponse)
	for _, waiting := range []extprocv3.ExternalProcessor_ProcessClient{second, third} {
		go func() {
			answer, err := waiting.Recv()
			for err == nil && answer.GetOverrideMessageTimeout() != nil {
				answer, err = waiting.Recv()
			}
			if err == nil && answer.GetModeOverride() != nil {
				respond(t, waiting, envelope(7))
			}
			answers <- answer
		}()
	}
	led, hits := 0, 0
	for range 2 {
		switch answer := <-answers; {
		case answer.GetModeOverride() != nil:
			led++
		case string(answer.GetImmediateResponse().GetBody()) == `{"result":7,"cached":true}`:
			hits++
		default:
			t.Errorf("answer %v", answer)
		}
	}
	if led != 1 || hits != 1 {
		t.Errorf("%d ran the function, %d got its result", led, hits)
	}
}

// When the result is not for others, those who waited run the function themselves.
func TestNobodyWaitsForAnError(t *testing.T) {
	known, id := cachedRegistry()
	server, _ := newServer(t, known, t.Output())
	head := headersOf("POST /api/v1/execute/" + string(id) + "\nx-envoke-key: " + strings.Repeat("a", 64))
	first, second := dial(t, server), dial(t, server)
	ask(t, first, head)
	ask(t, second, head) // which asks for more time
	respond(t, first, response{"500", "", "{}"})
	answer, err := second.Recv()
	if err != nil || answer.GetModeOverride() == nil {
		t.Errorf("the second got %v, %v", answer, err)
	}
}

func BenchmarkHit(b *testing.B) {
	b.Run("behind the filter", func(b *testing.B) { benchmarkHit(b, "\nx-envoke-key: "+strings.Repeat("a", 64)) })
	b.Run("alone", func(b *testing.B) { benchmarkHit(b, "") })
}

func benchmarkHit(b *testing.B, key string) {
	known, id := cachedRegistry()
	server, _ := newServer(b, known, io.Discard)
	head := headersOf("POST /api/v1/execute/" + string(id) + key)
	head.GetRequestHeaders().EndOfStream = true
	made := envelope(1)
	fill := &script{say: []*extprocv3.ProcessingRequest{head, {Request: &extprocv3.ProcessingRequest_ResponseHeaders{
		ResponseHeaders: &extprocv3.HttpHeaders{Headers: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
			{Key: ":status", RawValue: []byte("200")},
			{Key: "content-length", RawValue: []byte("2")},
			{Key: "x-envoke-cacheable", RawValue: []byte(made.cacheable)},
		}}},
	}}, {Request: &extprocv3.ProcessingRequest_ResponseBody{
		ResponseBody: &extprocv3.HttpBody{Body: []byte(made.body), EndOfStream: true},
	}}}}
	if err := server.Process(fill); err != nil {
		b.Fatal(err)
	}
	stream := &script{say: []*extprocv3.ProcessingRequest{head}}
	b.ReportAllocs()
	for b.Loop() {
		stream.said, stream.answers = 0, stream.answers[:0]
		if err := server.Process(stream); err != nil || stream.answers[0].GetImmediateResponse() == nil {
			b.Fatal(err, stream.answers)
		}
	}
}
