package main

import (
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// hook asks a language's host about a request, as Envoy does.
func (i *installation) hook(t *testing.T, language, function string, headers ...string) (*extprocv3.ProcessingResponse, error) {
	t.Helper()
	conn := testrig.Connect(t, "unix:"+filepath.Join(i.runDir, language+"-grpc.sock"))
	ctx := metadata.AppendToOutgoingContext(t.Context(),
		faas.HookFunction, function, faas.HookRoute, "route%2Fshop", faas.HookPhase, "request", faas.HookDeadline, "10000000")
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all := &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: ":method", RawValue: []byte("GET")}, {Key: ":path", RawValue: []byte("/")}}}
	for n := 0; n < len(headers); n += 2 {
		all.Headers = append(all.Headers, &corev3.HeaderValue{Key: headers[n], RawValue: []byte(headers[n+1])})
	}
	err = stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
		RequestHeaders: &extprocv3.HttpHeaders{Headers: all},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return stream.Recv()
}

// TestHooksOfAllLanguages has a function of each language be a hook.
func TestHooksOfAllLanguages(t *testing.T) {
	var flags []string
	if ruby := testrig.FindRuby(); ruby != "" {
		flags = []string{"--ruby", ruby}
	}
	i := serve(t, flags...)
	const change = `{"headers":{"set":{"x-hooked":"yes"}}}`
	for _, tt := range []struct{ language, script, options string }{
		{"nodejs", `return { headers: { set: { "x-hooked": event.params.method === "GET" ? "yes" : "no" } } }`, "null"},
		{"python", `result = {"headers": {"set": {"x-hooked": "yes" if params["method"] == "GET" else "no"}}}`, "null"},
		{"ruby", `{ headers: { set: { "x-hooked" => params["method"] == "GET" ? "yes" : "no" } } }`, "null"},
		{"rust", base64.StdEncoding.EncodeToString(printing(change)), `{"target":"wasm32-wasip1"}`},
	} {
		t.Run(tt.language, func(t *testing.T) {
			if tt.language == "ruby" {
				testrig.Ruby(t)
			}
			script, err := json.Marshal(tt.script)
			if err != nil {
				t.Fatal(err)
			}
			i.must(t, 201, http.MethodPost, functionsPath, fmt.Sprintf(
				`{"language":%q,"title":"hook","script_content":%s,"compile_options":%s}`, tt.language, script, tt.options))
			answer, err := i.hook(t, tt.language, tt.language+"-hook")
			if err != nil {
				t.Fatal(err)
			}
			set := answer.GetRequestHeaders().GetResponse().GetHeaderMutation().GetSetHeaders()
			if len(set) != 1 || string(set[0].GetHeader().GetRawValue()) != "yes" {
				t.Errorf("it answers %v", answer)
			}
		})
	}
}

// TestHooksAreFound has the failure of a hook be a row under its request's id, and what it
// printed in the log.
func TestHooksAreFound(t *testing.T) {
	i := serve(t)
	db, err := sql.Open("sqlite", filepath.Join(i.dataDir, "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	i.must(t, 201, http.MethodPost, functionsPath, define(t, "hook", `console.log("hook was here"); throw new TypeError("no")`))
	answer, err := i.hook(t, "nodejs", "nodejs-hook", "x-request-id", "hooked-1")
	if reply := answer.GetImmediateResponse(); err != nil || reply.GetStatus().GetCode() != http.StatusServiceUnavailable || !strings.Contains(string(reply.GetBody()), `"route":"route/shop"`) {
		t.Fatalf("%v, %v", answer, err)
	}
	eventually(t, db, "SELECT error_code || ' ' || error_message || ' ' || language_title || ' ' || component FROM error_logs WHERE request_id = 'hooked-1'", "RUNTIME_ERROR no nodejs-hook function")
	eventually(t, db, "SELECT CAST(context AS TEXT) FROM error_logs WHERE request_id = 'hooked-1'", `"route":"route/shop"`)
	testrig.Eventually(t, "what it printed", func() bool { return strings.Contains(i.stderr.String(), "hook was here") })
	if reply, err := send(http.MethodGet, i.operators+"/metrics", ""); err != nil || !strings.Contains(string(reply.body), `envoke_hook_requests_total{language="nodejs",outcome="refused",phase="request"} 1`) {
		t.Errorf("metrics: %v", err)
	}
}

// TestHooksAreNotPublic: callers ask hosts for nothing by the protocol of hooks.
func TestHooksAreNotPublic(t *testing.T) {
	i := shared(t)
	ctx := metadata.AppendToOutgoingContext(naming(t, "nodejs-x"), faas.HookFunction, "nodejs-calculator", faas.HookPhase, "request", faas.HookDeadline, "1000000")
	stream, err := extprocv3.NewExternalProcessorClient(i.public(t)).Process(ctx)
	if err == nil {
		_ = stream.Send(&extprocv3.ProcessingRequest{})
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("%v", err)
	}
}

// printing is a WASI command module that writes a text: fd_write of one vector.
func printing(text string) []byte {
	const at = 16 // of the text in memory, behind the vector
	name := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	section := func(id byte, parts ...[]byte) []byte {
		content := []byte{1} // of all vectors that there are
		for _, part := range parts {
			content = append(content, part...)
		}
		return append(binary.AppendUvarint([]byte{id}, uint64(len(content))), content...)
	}
	vector := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, at), uint32(len(text)))
	data := append(append(vector, make([]byte, at-len(vector))...), text...)
	code := []byte{0, 0x41, 1, 0x41, 0, 0x41, 1, 0x41, 8, 0x10, 0, 0x1a, 0x0b} // fd_write(1, 0, 1, 8)
	module := []byte("\x00asm\x01\x00\x00\x00")
	types := section(1, []byte{0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f, 0x60, 0, 0})
	types[2] = 2 // of them
	exports := section(7, name("memory"), []byte{2, 0}, name("_start"), []byte{0, 1})
	exports[2] = 2
	for _, s := range [][]byte{
		types,
		section(2, name("wasi_snapshot_preview1"), name("fd_write"), []byte{0, 0}),
		section(3, []byte{1}),
		section(5, []byte{0, 1}),
		exports,
		section(10, binary.AppendUvarint(nil, uint64(len(code))), code),
		section(11, []byte{0, 0x41, 0, 0x0b}, binary.AppendUvarint(nil, uint64(len(data))), data),
	} {
		module = append(module, s...)
	}
	return module
}
