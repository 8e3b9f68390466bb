package host

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// plain sends a plain HTTP request; headers are "name: value".
func (r *rig) plain(t *testing.T, method, path, body string, headers ...string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://host"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("User-Agent", "test")
	request.Header.Set("Accept-Encoding", "identity")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Add(name, value)
	}
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	response.Body = io.NopCloser(bytes.NewReader(raw))
	return response
}

func bodyOf(response *http.Response) string {
	raw, _ := io.ReadAll(response.Body)
	return string(raw)
}

// What a function gets of a request.
func TestPlainRequest(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "echo", faas.Function{Script: javaScriptOf(`return event`)})
	type object = map[string]any
	httpOf := func(method, path string, query, headers object, isBase64 bool) object {
		maps.Copy(headers, object{"host": "host", "user-agent": "test", "accept-encoding": "identity"})
		return object{"http": object{"method": method, "path": path, "query": query, "headers": headers, "is_base64": isBase64}}
	}
	jsonType, text := "application/json", "text/plain; charset=utf-8"
	for _, test := range []struct {
		name, method, path, body string
		headers                  []string
		params                   any
		context                  object
	}{
		{
			name: "get", method: "GET", path: "?a=1&b=x%20y&a=2&c&a=3", params: object{"a": []any{"1", "2", "3"}, "b": "x y", "c": ""},
			context: httpOf("GET", "/", object{"a": []any{"1", "2", "3"}, "b": "x y", "c": ""}, object{}, false),
		},
		{
			name: "delete with more path", method: "DELETE", path: "/orders/7%2F8/?x=/y", params: object{"x": "/y"},
			context: httpOf("DELETE", "/orders/7%2F8/", object{"x": "/y"}, object{"content-length": "0"}, false),
		},
		{
			name: "a query that is no text", method: "GET", path: "?%ff=%zz&=1", params: object{"\ufffd": "%zz", "": "1"},
			context: httpOf("GET", "/", object{"\ufffd": "%zz", "": "1"}, object{}, false),
		},
		{
			name: "JSON", method: "POST", path: "?q=1", body: ` {"a":[1]} `, headers: []string{"Content-Type: " + jsonType}, params: object{"a": []any{1.}},
			context: httpOf("POST", "/", object{"q": "1"}, object{"content-type": jsonType, "content-length": "11"}, false),
		},
		{
			name: "JSON of a kind", method: "PUT", body: `7`, headers: []string{"Content-Type: application/problem+json; a=b"}, params: 7.,
			context: httpOf("PUT", "/", object{}, object{"content-type": "application/problem+json; a=b", "content-length": "1"}, false),
		},
		{
			name: "delete with a body", method: "DELETE", path: "?q=1", body: `"x"`, headers: []string{"Content-Type: " + jsonType}, params: "x",
			context: httpOf("DELETE", "/", object{"q": "1"}, object{"content-type": jsonType, "content-length": "3"}, false),
		},
		{
			name: "text that looks like JSON", method: "POST", body: "{\"a\":\"é\"}\n", headers: []string{"Content-Type: " + text}, params: "{\"a\":\"é\"}\n",
			context: httpOf("POST", "/", object{}, object{"content-type": text, "content-length": "11"}, false),
		},
		{
			name: "text that is none", method: "POST", body: "\xff\x00", headers: []string{"Content-Type: " + text}, params: "/wA=",
			context: httpOf("POST", "/", object{}, object{"content-type": text, "content-length": "2"}, true),
		},
		{
			name: "bytes", method: "POST", body: "abc", headers: []string{"Content-Type: application/octet-stream"}, params: "YWJj",
			context: httpOf("POST", "/", object{}, object{"content-type": "application/octet-stream", "content-length": "3"}, true),
		},
		{
			name: "compressed", method: "POST", body: "{}", headers: []string{"Content-Type: " + jsonType, "Content-Encoding: gzip"}, params: "e30=",
			context: httpOf("POST", "/", object{}, object{"content-type": jsonType, "content-encoding": "gzip", "content-length": "2"}, true),
		},
		{
			name: "a form", method: "POST", body: "a=1&b=2", headers: []string{"Content-Type: application/x-www-form-urlencoded"}, params: "a=1&b=2",
			context: httpOf("POST", "/", object{}, object{"content-type": "application/x-www-form-urlencoded", "content-length": "7"}, false),
		},
		{
			name: "what curl calls a form", method: "POST", body: `{"a":1}`, headers: []string{"Content-Type: application/x-www-form-urlencoded"}, params: object{"a": 1.},
			context: httpOf("POST", "/", object{}, object{"content-type": "application/x-www-form-urlencoded", "content-length": "7"}, false),
		},
		{
			name: "a form that is almost JSON", method: "POST", body: `{"a":1`, headers: []string{"Content-Type: application/x-www-form-urlencoded"}, params: `{"a":1`,
			context: httpOf("POST", "/", object{}, object{"content-type": "application/x-www-form-urlencoded", "content-length": "6"}, false),
		},
		{
			name: "nothing said, almost JSON", method: "POST", body: `{"a":1`, params: `{"a":1`,
			context: httpOf("POST", "/", object{}, object{"content-length": "6"}, false),
		},
		{
			name: "nothing said, JSON", method: "POST", body: `1`, params: 1.,
			context: httpOf("POST", "/", object{}, object{"content-length": "1"}, false),
		},
		{
			name: "nothing said, text", method: "POST", body: `hello`, params: "hello",
			context: httpOf("POST", "/", object{}, object{"content-length": "5"}, false),
		},
		{
			name: "nothing said, bytes", method: "POST", body: "a\x1b", params: "YRs=",
			context: httpOf("POST", "/", object{}, object{"content-length": "2"}, true),
		},
		{
			name: "nothing at all", method: "POST", path: "?q=1", headers: []string{"Content-Type: " + jsonType}, params: nil,
			context: httpOf("POST", "/", object{"q": "1"}, object{"content-type": jsonType, "content-length": "0"}, false),
		},
		{
			name: "headers", method: "GET", params: object{}, headers: []string{
				"X-Mine: 1", "x-mine: 2", "Cookie: a=1; b=2", "Authorization: Bearer x", "X-User-ID: ada", "X-Request-ID: trace-1", "X-Text: é",
				"X-Envoke-Session: s", "X-Envoy-Attempt-Count: 1", "Te: trailers", "Keep-Alive: 1", "Upgrade: x", "Proxy-Authorization: x",
			},
			context: httpOf("GET", "/", object{}, object{
				"x-mine": "1, 2", "cookie": "a=1; b=2", "authorization": "Bearer x", "x-user-id": "ada", "x-request-id": "trace-1", "x-text": "é",
			}, false),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			response := r.plain(t, test.method, functionPath+"nodejs-echo"+test.path, test.body, test.headers...)
			body := bodyOf(response)
			var got any
			if err := json.Unmarshal([]byte(body), &got); err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", response.StatusCode, body)
			}
			if diff := cmp.Diff(any(object{"params": test.params, "context": test.context}), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPlainRefusals(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "fail", faas.Function{Script: javaScriptOf(`if (params) throw new TypeError('no'); return {statusCode: 200, headers: {'a b': 'c'}}`)})
	jsonType, runtime := "Content-Type: application/json", `"component":"runtime"`
	for _, test := range []struct {
		name, path, body string
		want             reply
	}{
		{"no function", "nodejs-nobody/x", "{}", failure(404, "NOT_FOUND", "no function is registered as nodejs-nobody", runtime)},
		{"no name", "", "{}", failure(400, "INVALID_REQUEST", "the function's name in the path is missing: send <language>-<title>, such as nodejs-hello", runtime)},
		{"bad JSON", "nodejs-fail", "{", failure(400, "INVALID_REQUEST", "the body is not valid JSON in UTF-8, as its Content-Type says", runtime)},
		{"large", "nodejs-fail", strings.Repeat("1", testMaxBody+1), failure(413, "PAYLOAD_TOO_LARGE", "the request's body is larger than 65536 bytes", runtime+`,"limit_bytes":65536`)},
		{"it throws", "nodejs-fail", "1", failure(500, "RUNTIME_ERROR", "no",
			`"column":19,"component":"function","line":1,"stack_trace":"TypeError: no\n    at function.js:1:19","type":"TypeError"`)},
		{"no response", "nodejs-fail", "0", failure(500, "RUNTIME_ERROR", `the function's response cannot be sent: "a b" is no name of a header`,
			`"component":"function","type":"InvalidResponse"`)},
	} {
		response := r.plain(t, http.MethodPost, functionPath+test.path, test.body, jsonType, "X-Request-ID: trace-1")
		got := reply{Status: response.StatusCode, Body: bodyOf(response)}
		if diff := cmp.Diff(test.want, got); diff != "" || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v (-want +got)\n%s", test.name, response.Header, diff)
		}
	}
}

// ext_proc's word on what a name means is the last.
func TestPlainMappedName(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "image", faas.Function{Script: javaScriptOf(`return context.http.path`)})
	response := r.plain(t, http.MethodGet, functionPath+"image/a", "", functionHeader+": nodejs-image@1")
	if got := bodyOf(response); got != `"/a"` {
		t.Errorf("%d %s", response.StatusCode, got)
	}
}

// A function's response reaches the caller as the function said it.
func TestPlainResponse(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "reply", faas.Function{Script: javaScriptOf(`return params`)})
	for _, test := range []struct {
		name, method, result string
		status               int
		header               http.Header
		body                 string
	}{
		{"any value", "POST", `[1,{"a":"é"}]`, 200, http.Header{"Content-Type": {"application/json"}, "Content-Length": {"14"}}, `[1,{"a":"é"}]`},
		{"null", "POST", `null`, 204, http.Header{}, ``},
		{
			"headers", "POST",
			`{"statusCode":201,"headers":{"x-a":"1","Set-Cookie":["a=1; Path=/","b=2"],"content-type":"text/html","Location":"/x","x-request-id":"mine","X-Envoke-Session":"s","x-envoy-upstream-service-time":"1","Connection":"close","Content-Length":"99","Transfer-Encoding":"chunked"},"body":"<p>"}`,
			201,
			http.Header{"X-A": {"1"}, "Set-Cookie": {"a=1; Path=/", "b=2"}, "Content-Type": {"text/html"}, "Location": {"/x"}, "Content-Length": {"3"}},
			`<p>`,
		},
		{"text", "POST", `{"statusCode":200,"body":"é"}`, 200, http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {"2"}}, "é"},
		{"bytes", "POST", `{"statusCode":200,"body":"/wA=","isBase64Encoded":true}`, 200, http.Header{"Content-Type": {"application/octet-stream"}, "Content-Length": {"2"}}, "\xff\x00"},
		{"JSON", "POST", `{"statusCode":422,"body":{"a":1}}`, 422, http.Header{"Content-Type": {"application/json"}, "Content-Length": {"7"}}, `{"a":1}`},
		{"no body", "POST", `{"statusCode":503,"headers":{"Retry-After":"5"}}`, 503, http.Header{"Retry-After": {"5"}, "Content-Length": {"0"}}, ``},
		{"a status without a body", "POST", `{"statusCode":304,"headers":{"ETag":"\"1\""},"body":"x"}`, 304, http.Header{"Etag": {`"1"`}}, ``},
		{"headers only", "HEAD", `{"statusCode":200,"body":"four"}`, 200, http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {"4"}}, ``},
	} {
		t.Run(test.name, func(t *testing.T) {
			response := r.plain(t, test.method, functionPath+"nodejs-reply", test.result)
			if body := bodyOf(response); response.StatusCode != test.status || body != test.body {
				t.Errorf("got %d %q", response.StatusCode, body)
			}
			response.Header.Del(timingHeader) // it differs each time
			if diff := cmp.Diff(test.header, response.Header); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Whatever a body is, params are JSON of a size that is in proportion, and bytes come
// back from base64.
func FuzzParamsOf(f *testing.F) {
	for kind, body := range []string{"\xff", `{"a":1}`, "a\nb", "a=1", `[`, "\x00"} {
		f.Add(kind, []byte(body))
	}
	f.Fuzz(func(t *testing.T, kind int, body []byte) {
		if len(body) == 0 {
			return
		}
		params, isBase64, err := paramsOf(bodyKind(uint(kind)%uint(anyKind+1)), body)
		if err != nil {
			if faas.AsError(err).Code != faas.InvalidRequest {
				t.Fatal(err)
			}
			return
		}
		if !json.Valid(params) || len(params) > 2*len(body)+8 {
			t.Fatalf("%q became %q", body, params)
		}
		var decoded []byte
		if isBase64 && (json.Unmarshal(params, &decoded) != nil || !bytes.Equal(decoded, body)) {
			t.Fatalf("%q became %q", body, params)
		}
	})
}
