package host

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http/httpguts"

	"envoke/internal/faas"
)

func TestNewResponse(t *testing.T) {
	asJSON := func(result string) response {
		return response{status: 200, body: []byte(result), contentType: "application/json"}
	}
	for _, result := range []string{
		`{}`, `{"statusCode":"200"}`, `{"statusCode":199}`, `{"statusCode":600}`, `{"statusCode":200.0}`, `{"statusCode":2e2}`, `{"statusCode":-200}`,
		`{"statusCode":null,"body":"x"}`, `{"a":{"statusCode":200}}`, `[{"statusCode":200}]`, `"statusCode"`, `{"n":12345678901234567890123}`,
		`{"statusCode":200`, // no worker writes it
	} {
		got, err := newResponse([]byte(result))
		if diff := cmp.Diff(asJSON(result), got, cmp.AllowUnexported(response{}, header{})); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", result, err, diff)
		}
	}
	for result, want := range map[string]response{
		" null\n":                             {status: 204},
		` {"a":1, "\u0073tatusCode" : 200 } `: {status: 200},
		`{"statusCode":200,"body":null,"headers":null}`:                         {status: 200},
		`{"statusCode":200,"body":"\ud83d\ude00\ud800","isBase64Encoded":null}`: {status: 200, body: []byte("\U0001F600\ufffd"), contentType: "text/plain; charset=utf-8"},
		`{"statusCode":599,"body":7,"isBase64Encoded":false}`:                   {status: 599, body: []byte("7"), contentType: "application/json"},
		`{"statusCode":200,"body":"","isBase64Encoded":true}`:                   {status: 200, body: []byte{}, contentType: "application/octet-stream"},
		`{"statusCode":200,"headers":{"CONTENT-type":["a/b"],"x":[]},"body":"b"}`: {
			status: 200, headers: []header{{"CONTENT-type", "a/b"}}, body: []byte("b"),
		},
	} {
		got, err := newResponse([]byte(result))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(response{}, header{})); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", result, err, diff)
		}
	}
}

func TestNewResponseRefuses(t *testing.T) {
	const noText = "headers.x must be a string or a list of strings"
	for rest, want := range map[string]string{
		`"headers":[]`:                         "headers must be an object",
		`"headers":"x: y"`:                     "headers must be an object",
		`"headers":{"x":1}`:                    noText,
		`"headers":{"x":true}`:                 noText,
		`"headers":{"x":null}`:                 noText,
		`"headers":{"x":{}}`:                   noText,
		`"headers":{"x":["a",1]}`:              noText,
		`"headers":{"x":["a",null]}`:           noText,
		`"headers":{"x":[["a"]]}`:              noText,
		`"headers":{"":"a"}`:                   `"" is no name of a header`,
		`"headers":{"a b":"a"}`:                `"a b" is no name of a header`,
		`"headers":{":status":"a"}`:            `":status" is no name of a header`,
		`"headers":{"x\r\ny":"a"}`:             `"x\r\ny" is no name of a header`,
		`"headers":{"é":"a"}`:                  `"é" is no name of a header`,
		`"headers":{"x":"a\r\nset-cookie: b"}`: "headers.x has a character that no header may have",
		`"headers":{"x":["a","\u0000"]}`:       "headers.x has a character that no header may have",
		`"headers":{"x-envoke-y":"\n"}`:        "headers.x-envoke-y has a character that no header may have",
		`"body":"x","isBase64Encoded":true`:    "the body is not valid base64",
		`"body":{},"isBase64Encoded":true`:     "isBase64Encoded needs a body that is a string",
		`"body":"","isBase64Encoded":"yes"`:    "isBase64Encoded must be true or false",
		`"headers":{"x":[` + strings.Repeat(`"",`, maxHeaders) + `""]}`: "there are more than 90 headers, or more than 49152 bytes of them",
		`"headers":{"x":"` + strings.Repeat("x", maxHeaderBytes) + `"}`: "there are more than 90 headers, or more than 49152 bytes of them",
	} {
		_, err := newResponse([]byte(`{"statusCode":200,` + rest + `}`))
		wantCode(t, err, faas.RuntimeError)
		if got := faas.AsError(err); got.Message != "the function's response cannot be sent: "+want || got.Details["type"] != "InvalidResponse" {
			t.Errorf("%.100s: %v", rest, err)
		}
	}
}

// Whatever a function returns, what is sent is a response that HTTP knows, or the
// error says that it is not.
func FuzzNewResponse(f *testing.F) {
	for _, seed := range []string{
		`null`, `{"statusCode":200}`, `{"statusCode":404,"headers":{"a":"b","c":["d"]},"body":"x"}`, `{"statusCode":200,"body":"eA==","isBase64Encoded":true}`,
		`{"statusCode":200,"headers":{"a\r":"b"}}`, `{"statusCode":204,"body":[1]}`, `{"statusCode":200,"statusCode":1}`, `{"statusCode":200,"headers":{"a":"\ud800"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, result []byte) {
		r, err := newResponse(result)
		if err != nil {
			if faas.AsError(err).Code != faas.RuntimeError || !json.Valid(result) {
				t.Fatalf("%q: %v", result, err)
			}
			return
		}
		if r.status < 200 || r.status > 599 || len(r.headers) > maxHeaders || (r.status == 204 || r.status == 304) && len(r.body) > 0 {
			t.Fatalf("%q: %+v", result, r)
		}
		for _, h := range r.headers {
			if !httpguts.ValidHeaderFieldName(h.name) || !httpguts.ValidHeaderFieldValue(h.value) || InternalHeader(strings.ToLower(h.name)) {
				t.Fatalf("%q has header %q", result, h)
			}
		}
	})
}
