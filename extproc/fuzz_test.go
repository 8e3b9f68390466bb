package extproc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"envoke/extproc"
	"envoke/internal/faas"
)

// script is a stream without a network: it says what it is given and notes the
// answers.
type script struct {
	grpc.ServerStream
	say     []*extprocv3.ProcessingRequest
	answers []*extprocv3.ProcessingResponse
	said    int
}

func (s *script) Context() context.Context { return context.Background() }

func (s *script) Recv() (*extprocv3.ProcessingRequest, error) {
	if s.said == len(s.say) {
		return nil, io.EOF
	}
	s.said++
	return s.say[s.said-1], nil
}

func (s *script) Send(answer *extprocv3.ProcessingResponse) error {
	s.answers = append(s.answers, answer)
	return nil
}

// steps are the messages that a fuzzer may say, each by its number.
var steps = []func() *extprocv3.ProcessingRequest{
	func() *extprocv3.ProcessingRequest { return &extprocv3.ProcessingRequest{} },
	func() *extprocv3.ProcessingRequest {
		return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{}}
	},
	func() *extprocv3.ProcessingRequest {
		return headersOf("POST /api/v1/initialize\nlanguage-title: nodejs-a")
	},
	func() *extprocv3.ProcessingRequest { return headersOf("POST /api/v1/execute/x") },
	func() *extprocv3.ProcessingRequest {
		return headersOf("GET /function/nodejs-a\nx-cache-control: max-age=1")
	},
	func() *extprocv3.ProcessingRequest {
		return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{}}
	},
	func() *extprocv3.ProcessingRequest {
		return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestTrailers{}}
	},
	func() *extprocv3.ProcessingRequest {
		return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{}}
	},
	func() *extprocv3.ProcessingRequest {
		return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{}}
	},
	func() *extprocv3.ProcessingRequest {
		return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseTrailers{}}
	},
}

// In whatever order messages come, each has one answer of its type, and a stream
// that ends well has answered them all.
func FuzzOrder(f *testing.F) {
	f.Add([]byte{2, 4, 5, 6, 7, 8})
	f.Add([]byte{0})
	f.Add([]byte{8, 7, 6, 5, 4, 3, 2, 1, 0})
	f.Add([]byte{2, 2, 3, 3})
	f.Add([]byte{4, 7, 8, 4, 7})
	server, _ := newServer(f, registry{functions: map[string]faas.Function{"nodejs-a": {}}}, io.Discard)
	f.Fuzz(func(t *testing.T, order []byte) {
		stream := &script{}
		for _, step := range order {
			stream.say = append(stream.say, steps[int(step)%len(steps)]())
		}
		err := server.Process(stream)
		if err == nil && len(stream.answers) != len(stream.say) {
			t.Fatalf("%d messages, %d answers and a good end", len(stream.say), len(stream.answers))
		}
		for i, answer := range stream.answers {
			if !answers(stream.say[i], answer) {
				t.Fatalf("%T answered by %T", stream.say[i].GetRequest(), answer.GetResponse())
			}
		}
	})
}

func answers(message *extprocv3.ProcessingRequest, answer *extprocv3.ProcessingResponse) bool {
	if answer.GetImmediateResponse() != nil {
		return true
	}
	switch message.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return answer.GetRequestHeaders() != nil
	case *extprocv3.ProcessingRequest_RequestBody:
		return answer.GetRequestBody() != nil
	case *extprocv3.ProcessingRequest_RequestTrailers:
		return answer.GetRequestTrailers() != nil
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		return answer.GetResponseHeaders() != nil
	case *extprocv3.ProcessingRequest_ResponseBody:
		return answer.GetResponseBody() != nil
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		return answer.GetResponseTrailers() != nil
	}
	return false
}

// Whatever the headers say, the answer lets a live session's request go on, or another
// to a known cluster, and every refusal is JSON.
func FuzzHeaders(f *testing.F) {
	live := key.NewID(faas.NodeJS, false)
	f.Add("POST", "/api/v1/initialize", "nodejs-a", "no-cache", "req-1")
	f.Add("POST", "/api/v1/execute/"+string(live), "", "max-age=1", "\xff\x00")
	f.Add("POST", "/api/v1/execute", "rust-\xff", "", "")
	f.Add("GET", "/api/v1/execute/"+string(live)+"?x", "a,b", "max-age=-1", "\"")
	f.Add("PATCH", "/function/nodejs-a/x", "", "", "")
	server, _ := newServer(f, registry{sessions: map[faas.SessionID]bool{live: true}}, io.Discard)
	f.Fuzz(func(t *testing.T, method, path, title, cacheControl, requestID string) {
		answer := answerOf(t, server, message([]*corev3.HeaderValue{
			{Key: ":method", RawValue: []byte(method)},
			{Key: ":path", RawValue: []byte(path)},
			{Key: "language-title", RawValue: []byte(title)},
			{Key: "x-cache-control", RawValue: []byte(cacheControl)},
			{Key: "x-request-id", RawValue: []byte(requestID)},
		}))
		if immediate := answer.GetImmediateResponse(); immediate != nil {
			if status := immediate.GetStatus().GetCode(); status < 400 || !json.Valid(immediate.GetBody()) {
				t.Fatalf("%d %q", status, immediate.GetBody())
			}
			return
		}
		if answer.GetModeOverride() != nil || proto.Equal(answer, asItIs) {
			id := strings.TrimPrefix(path, "/api/v1/execute/")
			if runs := strings.HasPrefix(path, "/runtime/"); method != "POST" || !runs && !strings.HasPrefix(id, string(live)) {
				t.Fatalf("%s %s goes on", method, path)
			}
			return
		}
		set := texts(answer.GetRequestHeaders().GetResponse().GetHeaderMutation().GetSetHeaders())
		if set["x-envoke-cluster"] != "runtime-nodejs" && !strings.HasPrefix(set["x-envoke-function"], "nodejs-") {
			t.Fatalf("%s %s goes on with %v", method, path, set)
		}
	})
}

func answerOf(t testing.TB, server *extproc.Server, message *extprocv3.ProcessingRequest) *extprocv3.ProcessingResponse {
	t.Helper()
	stream := &script{say: []*extprocv3.ProcessingRequest{message}}
	if err := server.Process(stream); err != nil || len(stream.answers) != 1 {
		t.Fatalf("%d answers, %v", len(stream.answers), err)
	}
	return stream.answers[0]
}

func BenchmarkExecute(b *testing.B) {
	id := key.NewID(faas.NodeJS, false)
	server, _ := newServer(b, registry{sessions: map[faas.SessionID]bool{id: true}}, io.Discard)
	message := headersOf("POST /api/v1/execute/" + string(id) + "\nx-cache-control: no-cache\nhost: localhost\naccept: */*")
	benchmark(b, server, message)
}

func BenchmarkInitialize(b *testing.B) {
	server, _ := newServer(b, registry{}, io.Discard)
	benchmark(b, server, headersOf("POST /api/v1/initialize\nlanguage-title: nodejs-a"))
}

func benchmark(b *testing.B, server *extproc.Server, message *extprocv3.ProcessingRequest) {
	b.ReportAllocs()
	stream := &script{say: []*extprocv3.ProcessingRequest{message}}
	for b.Loop() {
		stream.said, stream.answers = 0, stream.answers[:0]
		if err := server.Process(stream); err != nil {
			b.Fatal(err)
		}
	}
	if bytes.Contains(stream.answers[0].GetImmediateResponse().GetBody(), []byte("error")) {
		b.Fatal("refused")
	}
}

// BenchmarkStream is one execute as Envoy asks: a gRPC stream for each request.
func BenchmarkStream(b *testing.B) {
	id := key.NewID(faas.NodeJS, false)
	server, _ := newServer(b, registry{sessions: map[faas.SessionID]bool{id: true}}, io.Discard)
	client := connect(b, server)
	message := headersOf("POST /api/v1/execute/" + string(id))
	b.ReportAllocs()
	for b.Loop() {
		stream, err := client.Process(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		ask(b, stream, message)
		_ = stream.CloseSend()
		_, _ = stream.Recv()
	}
}
