package hook

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/net/http/httpguts"

	"envoke/internal/faas"
	"envoke/runtimes/host"
)

// FuzzParse: whatever a function returns, Envoy gets no header that is none, or that no hook
// may change.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`null`, `{}`, `{"headers":{"set":{"X-A":"1"},"add":{"x-b":["1","2"]},"remove":["x-c"]}}`, `{"headers":{"set":{"a":"b\r\nc: d"}}}`,
		`{"statusCode":302,"headers":{"location":"/x"}}`, `{"statusCode":200,"body":"eA==","isBase64Encoded":true}`, `{"headers":{"set":{"a":[null]}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, result []byte) {
		v, err := parse(result)
		if err != nil {
			if e := faas.AsError(err); e.Code != faas.RuntimeError {
				t.Errorf("%q: %v", result, err)
			}
			return
		}
		for _, h := range append(v.set, v.add...) {
			if !httpguts.ValidHeaderFieldName(h.name) || !httpguts.ValidHeaderFieldValue(h.value) || host.InternalHeader(h.name) {
				t.Errorf("%q sets %q to %q", result, h.name, h.value)
			}
		}
		if v.answer != nil && (v.answer.Status < 200 || v.answer.Status > 599 || len(v.answer.Body) > maxAnswer) {
			t.Errorf("%q answers %d", result, v.answer.Status)
		}
	})
}

// FuzzParams: whatever callers send, functions get JSON.
func FuzzParams(f *testing.F) {
	f.Add("x-a", []byte("1"), "x-a", []byte("caf\xe9"), "/x?\"=\\")
	f.Add("set-cookie", []byte("a"), "set-cookie", []byte(""), "")
	f.Fuzz(func(t *testing.T, name string, value []byte, other string, more []byte, path string) {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldName(other) {
			return // Envoy lets no such name pass
		}
		for _, phase := range []faas.Phase{faas.RequestPhase, faas.ResponsePhase} {
			x := exchange{question: question{phase: phase, route: path}, headers: []*corev3.HeaderValue{
				{Key: ":path", RawValue: []byte(path)}, {Key: ":status", RawValue: value}, {Key: name, RawValue: value}, {Key: other, RawValue: more},
			}}
			x.readHeaders()
			if raw := x.params(); !jsontext.Value(raw).IsValid() {
				t.Errorf("%s", raw)
			}
		}
	})
}
