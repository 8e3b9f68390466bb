package extproc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"envoke/extproc"
	"envoke/internal/faas"
	"envoke/internal/resultcache"
	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = faas.SessionKey("0123456789abcdef0123456789abcdef")

// registry answers from maps; a failure stands for a store that is away.
type registry struct {
	sessions  map[faas.SessionID]bool
	functions map[string]faas.Function
	found     faas.Session // what every session is, but for its id
	failure   error
}

func (r registry) FindSession(_ context.Context, id faas.SessionID) (faas.Session, error) {
	if r.failure != nil {
		return faas.Session{}, r.failure
	}
	if !r.sessions[id] {
		return faas.Session{}, faas.ErrNoSession
	}
	session := r.found
	session.ID = id
	return session, nil
}

func (r registry) FindFunction(_ context.Context, ref faas.Ref) (faas.Function, error) {
	if r.failure != nil {
		return faas.Function{}, r.failure
	}
	if f, ok := r.functions[ref.Key()]; ok {
		return f, nil
	}
	return faas.Function{}, &faas.Error{Code: faas.NotFound}
}

func newServer(t testing.TB, known extproc.Registry, log io.Writer) (*extproc.Server, *prometheus.Registry) {
	t.Helper()
	metrics := prometheus.NewPedanticRegistry()
	return extproc.New(extproc.Options{
		Select:     faas.ParseRefIn,
		Registry:   known,
		Key:        key,
		Runtimes:   []faas.Language{faas.NodeJS},
		Cache:      resultcache.New(resultcache.Options{MaxBytes: 8 << 20}),
		MaxTimeout: 10 * time.Second,
		Failed:     func(faas.Failure) {},
		Logger:     slog.New(slog.NewTextHandler(log, nil)),
		Registerer: metrics,
	}), metrics
}

// connect starts the server on a gRPC connection of its own.
func connect(t testing.TB, server *extproc.Server) extprocv3.ExternalProcessorClient {
	t.Helper()
	transport := grpc.NewServer()
	extprocv3.RegisterExternalProcessorServer(transport, server)
	return extprocv3.NewExternalProcessorClient(testrig.Dial(t, transport))
}

func dial(t testing.TB, server *extproc.Server) extprocv3.ExternalProcessor_ProcessClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	stream, err := connect(t, server).Process(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func ask(t testing.TB, stream extprocv3.ExternalProcessor_ProcessClient, message *extprocv3.ProcessingRequest) *extprocv3.ProcessingResponse {
	t.Helper()
	if err := stream.Send(message); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// headersOf makes the message of a request's headers from "name: value" lines
// below "METHOD path".
func headersOf(request string) *extprocv3.ProcessingRequest {
	first, rest, _ := strings.Cut(request, "\n")
	method, path, _ := strings.Cut(first, " ")
	headers := []*corev3.HeaderValue{
		{Key: ":method", RawValue: []byte(method)},
		{Key: ":path", RawValue: []byte(path)},
		{Key: "x-request-id", RawValue: []byte("req-1")},
	}
	for line := range strings.Lines(rest) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		headers = append(headers, &corev3.HeaderValue{Key: name, RawValue: []byte(value)})
	}
	return message(headers)
}

func message(headers []*corev3.HeaderValue) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
		RequestHeaders: &extprocv3.HttpHeaders{Headers: &corev3.HeaderMap{Headers: headers}},
	}}
}

// reply is an immediate response, read as a caller would.
type reply struct {
	Status    int
	Code      faas.Code
	Message   string
	Component string
}

func readReply(t testing.TB, answer *extprocv3.ProcessingResponse) reply {
	t.Helper()
	immediate := answer.GetImmediateResponse()
	if immediate == nil {
		t.Fatalf("not an immediate response: %v", answer)
	}
	headers := immediate.GetHeaders().GetSetHeaders()
	if len(headers) != 1 || headers[0].GetHeader().GetKey() != "content-type" || string(headers[0].GetHeader().GetRawValue()) != "application/json" {
		t.Errorf("headers of the reply: %v", headers)
	}
	if immediate.GetDetails() != "envoke" {
		t.Errorf("details = %q", immediate.GetDetails())
	}
	var body struct {
		Error struct {
			Code    faas.Code
			Message string
			Details struct{ Component string }
		}
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(immediate.GetBody(), &body); err != nil {
		t.Fatalf("body %q: %v", immediate.GetBody(), err)
	}
	if body.RequestID != "req-1" {
		t.Errorf("request_id = %q", body.RequestID)
	}
	return reply{int(immediate.GetStatus().GetCode()), body.Error.Code, body.Error.Message, body.Error.Details.Component}
}

// readHeaders returns the headers that the answer sets on the request.
func readHeaders(t testing.TB, answer *extprocv3.ProcessingResponse) map[string]string {
	t.Helper()
	common := answer.GetRequestHeaders().GetResponse()
	if common == nil || !common.GetClearRouteCache() {
		t.Fatalf("the request does not go on by a new route: %v", answer)
	}
	set := make(map[string]string)
	for _, h := range common.GetHeaderMutation().GetSetHeaders() {
		if h.GetHeader().GetValue() != "" || h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("Envoy would not take %v", h)
		}
		set[h.GetHeader().GetKey()] = string(h.GetHeader().GetRawValue())
	}
	return set
}

// asItIs lets a request go on unchanged.
var asItIs = &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{
	RequestHeaders: &extprocv3.HeadersResponse{},
}}

func TestRefused(t *testing.T) {
	live, unknown := key.NewID(faas.NodeJS, true), key.NewID(faas.NodeJS, true)
	python := key.NewID(faas.Python, true)
	forged := faas.SessionKey("another key").NewID(faas.NodeJS, true)
	known := registry{sessions: map[faas.SessionID]bool{live: true, python: true}}
	badTitle := reply{Status: 400, Code: faas.InvalidRequest, Component: "extproc"}
	badCache := badTitle
	notFound := reply{Status: 404, Code: faas.NotFound, Component: "extproc"}
	noHost := reply{Status: 503, Code: faas.Unavailable, Component: "runtime"}
	execute := "POST /api/v1/execute/" + string(live)
	for _, tt := range []struct {
		name, request string
		want          reply // but for the message
	}{
		{"no title", "POST /api/v1/initialize", badTitle},
		{"empty title", "POST /api/v1/initialize\nlanguage-title: ", badTitle},
		{"two titles", "POST /api/v1/initialize\nlanguage-title: nodejs-a\nlanguage-title: nodejs-a", badTitle},
		{"joined titles", "POST /api/v1/initialize\nlanguage-title: nodejs-a,nodejs-b", badTitle},
		{"bad UTF-8", "POST /api/v1/initialize\nlanguage-title: nodejs-\xff", badTitle},
		{"path", "POST /api/v1/initialize\nlanguage-title: nodejs-../etc", badTitle},
		{"dots", "POST /api/v1/initialize\nlanguage-title: nodejs-a..b", badTitle},
		{"unknown language", "POST /api/v1/initialize\nlanguage-title: cobol-a", badTitle},
		{"language without a host", "POST /api/v1/initialize\nlanguage-title: python-a", noHost},
		{"one-shot without a title", "POST /api/v1/execute", badTitle},
		{"one-shot, bad cache control", "POST /api/v1/execute\nlanguage-title: nodejs-a\nx-cache-control: x", badCache},
		{"empty id", "POST /api/v1/execute/", notFound},
		{"malformed id", "POST /api/v1/execute/1234", notFound},
		{"upper case", "POST /api/v1/execute/" + strings.ToUpper(string(live)), notFound},
		{"segment more", execute + "/x", notFound},
		{"slash more", execute + "/", notFound},
		{"forged id", "POST /api/v1/execute/" + string(forged), notFound},
		{"unknown id", "POST /api/v1/execute/" + string(unknown), notFound},
		{"session without a host", "POST /api/v1/execute/" + string(python), noHost},
		{"cache control", execute + "\nx-cache-control: no-store", badCache},
		{"empty cache control", execute + "\nx-cache-control: ", badCache},
		{"negative age", execute + "\nx-cache-control: max-age=-1", badCache},
		{"no age", execute + "\nx-cache-control: max-age=", badCache},
		{"huge age", execute + "\nx-cache-control: max-age=99999999999999999999", badCache},
		{"two cache controls", execute + "\nx-cache-control: no-cache\nx-cache-control: no-cache", badCache},
		{"joined cache controls", execute + "\nx-cache-control: no-cache, max-age=1", badCache},
		{"other method", "GET /api/v1/execute/" + string(live), notFound},
		{"other path", "POST /api/v1/other", notFound},
		{"no headers at all", "", notFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := newServer(t, known, t.Output())
			got := readReply(t, ask(t, dial(t, server), headersOf(tt.request)))
			if got.Message == "" {
				t.Error("no message")
			}
			got.Message = ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestInitializeMakesAnID(t *testing.T) {
	known := registry{functions: map[string]faas.Function{
		"nodejs-cached":   {CacheTTL: time.Minute},
		"nodejs-uncached": {},
		// Only one of the versions that a session may get is cached.
		"nodejs-mixed:canary": {Version: 1, Weights: map[int]int{2: 10, 3: 10}},
		"nodejs-mixed@2":      {Version: 2},
		"nodejs-mixed@3":      {Version: 3, CacheTTL: time.Minute},
		"nodejs-split:canary": {Version: 1, Weights: map[int]int{2: 10}},
		"nodejs-split@2":      {Version: 2},
	}}
	for _, tt := range []struct {
		name, request string
		plain         bool
	}{
		{"own script", "POST /api/v1/initialize\nlanguage-title: nodejs-hello", true},
		{"with a query", "POST /api/v1/initialize?a=b\nlanguage-title: nodejs-hello", true},
		{"registered", "POST /api/v1/initialize\nlanguage-title: nodejs-uncached", true},
		{"registered, cached", "POST /api/v1/initialize\nlanguage-title: nodejs-cached", false},
		{"by version", "POST /api/v1/initialize\nlanguage-title: nodejs-mixed@3", false},
		{"by alias", "POST /api/v1/initialize\nlanguage-title: nodejs-split:canary", true},
		{"by alias, one of which is cached", "POST /api/v1/initialize\nlanguage-title: nodejs-mixed:canary", false},
		{"one-shot", "POST /api/v1/execute\nlanguage-title: nodejs-hello\nx-cache-control: max-age=5", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := newServer(t, known, t.Output())
			got := readHeaders(t, ask(t, dial(t, server), headersOf(tt.request)))
			id := faas.SessionID(got["x-envoke-session"])
			if !key.Check(id) || id.Plain() != tt.plain {
				t.Errorf("id %q: checks %v, plain %v", id, key.Check(id), id.Plain())
			}
			want := map[string]string{
				"x-envoke-session": string(id),
				"x-envoke-hash":    "/api/v1/execute/" + string(id),
				"x-envoke-cluster": "runtime-nodejs",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The id has told Envoy the cluster: there is nothing to add.
func TestExecuteGoesOnAsItIs(t *testing.T) {
	id := key.NewID(faas.NodeJS, false)
	server, _ := newServer(t, registry{sessions: map[faas.SessionID]bool{id: true}}, t.Output())
	for _, rest := range []string{"", "?q=1", "?q=/x", "\nx-cache-control: no-cache", "\nx-cache-control: max-age=0"} {
		got := ask(t, dial(t, server), headersOf("POST /api/v1/execute/"+string(id)+rest))
		if diff := cmp.Diff(asItIs, got, protocmp.Transform()); diff != "" {
			t.Errorf("%q (-want +got)\n%s", rest, diff)
		}
	}
}

func TestFailures(t *testing.T) {
	id := key.NewID(faas.NodeJS, false)
	away := &faas.Error{Code: faas.Unavailable, Message: "the store does not answer"}
	for _, tt := range []struct {
		name, request string
		failure       error
		want          reply
		logged        bool
	}{
		{
			name: "store away", request: "POST /api/v1/execute/" + string(id), failure: away,
			want: reply{503, faas.Unavailable, away.Message, "extproc"},
		},
		{
			name: "store away on initialize", request: "POST /api/v1/initialize\nlanguage-title: nodejs-a", failure: away,
			want: reply{503, faas.Unavailable, away.Message, "extproc"},
		},
		{
			name: "internal", request: "POST /api/v1/execute/" + string(id), failure: errors.New("secret path"),
			want: reply{500, faas.InternalError, faas.AsError(errors.New("")).Message, "extproc"}, logged: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			server, _ := newServer(t, registry{failure: tt.failure}, &log)
			got := readReply(t, ask(t, dial(t, server), headersOf(tt.request)))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if logged := strings.Contains(log.String(), "request_id=req-1"); logged != tt.logged {
				t.Errorf("logged: %v\n%s", logged, log.String())
			}
		})
	}
}

type panicking struct{ registry }

func (panicking) FindSession(context.Context, faas.SessionID) (faas.Session, error) { panic("secret") }

// A panic is a 500 of that one request; the stream and the server live on.
func TestPanicIsContained(t *testing.T) {
	var log bytes.Buffer
	server, metrics := newServer(t, panicking{}, &log)
	stream := dial(t, server)
	got := readReply(t, ask(t, stream, headersOf("POST /api/v1/execute/"+string(key.NewID(faas.NodeJS, false)))))
	if got.Status != 500 || strings.Contains(got.Message, "secret") || !strings.Contains(log.String(), "secret") {
		t.Errorf("reply %+v, log %s", got, log.String())
	}
	readHeaders(t, ask(t, stream, headersOf("POST /api/v1/initialize\nlanguage-title: nodejs-a")))
	want := map[string]float64{"execute failed": 1, "initialize passed": 1}
	if diff := cmp.Diff(want, outcomes(t, metrics)); diff != "" {
		t.Errorf("requests counted (-want +got)\n%s", diff)
	}
}

// outcomes reads envoke_extproc_requests_total by "operation outcome".
func outcomes(t *testing.T, metrics *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]float64)
	for _, family := range families {
		if family.GetName() != "envoke_extproc_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			counts[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
		}
	}
	return counts
}

func TestUnknownMessageIsAnError(t *testing.T) {
	server, _ := newServer(t, registry{}, t.Output())
	stream := dial(t, server)
	if err := stream.Send(&extprocv3.ProcessingRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("Recv = %v: an early end without an error would let the request pass", err)
	}
}
