package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/runtimepb"
)

const echo = "return event"

func TestSessions(t *testing.T) {
	r := newRig(t, 10*time.Second)
	made, err := r.Initialize(t.Context(), &runtimepb.InitializeRequest{
		LanguageTitle: "nodejs-hello", ScriptContent: new(echo), Context: ` {"user_id":"u"} `,
	})
	if err != nil {
		t.Fatal(err)
	}
	id := made.GetRequestId()
	expires, err := time.Parse(time.RFC3339, made.GetExpiresAt())
	if err != nil || time.Until(expires).Round(time.Minute) != time.Hour {
		t.Errorf("it expires at %s (%v), want in an hour", made.GetExpiresAt(), err)
	}
	if made.GetStatus() != "initialized" || made.GetLanguageTitle() != "nodejs-hello" || made.GetCompileStatus() != "success" {
		t.Errorf("got %v", made)
	}
	if language, _ := faas.SessionID(id).Language(); language != faas.NodeJS || !faas.SessionID(id).Plain() {
		t.Errorf("the id %s is not plain, or not JavaScript's", id)
	}
	if _, err := r.store.FindSession(t.Context(), faas.SessionID(id)); err != nil {
		t.Errorf("control does not know it: %v", err)
	}
	for _, tt := range []struct{ params, context, want string }{
		{"", "", `{"params":null,"context":{"user_id":"u"}}`},
		{"null", "null", `{"params":null,"context":{"user_id":"u"}}`},
		{` {"a":"é<>"} `, "", `{"params":{"a":"é<>"},"context":{"user_id":"u"}}`},
		{`[1]`, `{"x":2}`, `{"params":[1],"context":{"x":2}}`},
	} {
		var trailer metadata.MD
		got, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: id, Params: tt.params, Context: tt.context}, grpc.Trailer(&trailer))
		if err != nil || got.GetResult() != tt.want || got.GetExecutionTimeMs() <= 0 || got.GetMemoryUsageBytes() < 1<<20 {
			t.Errorf("params %s: %v, %v, want %s", tt.params, got, err, tt.want)
		}
		if diff := cmp.Diff([]string{id}, trailer.Get(executedTrailer)); diff != "" {
			t.Errorf("the trailer for the access log (-want +got)\n%s", diff)
		}
	}
}

// A registered function's session is not plain: whether its results are cached is
// ext_proc's business.
func TestRegisteredFunction(t *testing.T) {
	r := newRig(t, 10*time.Second)
	made, err := r.Initialize(t.Context(), &runtimepb.InitializeRequest{LanguageTitle: "nodejs-calculator"})
	if err != nil {
		t.Fatal(err)
	}
	if faas.SessionID(made.GetRequestId()).Plain() {
		t.Error("the id is plain")
	}
	got, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: made.GetRequestId(), Params: `{"operation":"add","a":1,"b":2}`})
	if err != nil || !strings.Contains(got.GetResult(), `"result":3`) {
		t.Errorf("%v, %v", got, err)
	}
}

// pinned are layers of one package, left, for whoever pins it.
type pinned string

func (p pinned) Use(_ context.Context, files map[string]string) (string, func(), error) {
	if files["package.json"] != "{}" {
		return "", nil, fmt.Errorf("the files are %v", files)
	}
	return string(p), func() {}, nil
}

// A script's packages come with it, and are there when it is executed.
func TestDependencies(t *testing.T) {
	r := newRig(t, 10*time.Second)
	made, err := r.Initialize(t.Context(), &runtimepb.InitializeRequest{
		LanguageTitle: "nodejs-packed", ScriptContent: new("return require('left')"), Dependencies: ` {"package.json": "{}"} `,
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: made.GetRequestId()})
	if err != nil || got.GetResult() != `"left"` {
		t.Errorf("%v, %v", got, err)
	}
}

// A script that comes with the call is run in a worker of its own, each time.
func TestScripts(t *testing.T) {
	r := newRig(t, 10*time.Second)
	counter := new("let n = 0; module.exports = ({context}) => [++n, context.a]")
	for range 2 {
		got, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: "theirs", ScriptContent: counter, Context: `{"a":1}`})
		if err != nil || got.GetResult() != "[1,1]" {
			t.Errorf("%v, %v, want [1,1]", got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t, 10*time.Second)
	id := r.session(t, "return params.a.b", "")
	execute := func(request *runtimepb.ExecuteRequest) func() error {
		return func() error { _, err := r.Execute(t.Context(), request); return err }
	}
	initialize := func(request *runtimepb.InitializeRequest) func() error {
		return func() error { _, err := r.Initialize(t.Context(), request); return err }
	}
	const invalid, title = "INVALID_REQUEST", "nodejs-a"
	for _, tt := range []struct {
		name string
		call func() error
		want failure
	}{
		{"nothing to run", execute(&runtimepb.ExecuteRequest{}), failure{codes.InvalidArgument, invalid, "request_id must be the id of a session, or script_content the code to run"}},
		{"an id of nobody's", execute(&runtimepb.ExecuteRequest{RequestId: "x"}), failure{codes.NotFound, "NOT_FOUND", faas.ErrNoSession.Message}},
		{"a forged id", execute(&runtimepb.ExecuteRequest{RequestId: string(faas.SessionKey("other").NewID(faas.NodeJS, true))}), failure{codes.NotFound, "NOT_FOUND", faas.ErrNoSession.Message}},
		{"bad params", execute(&runtimepb.ExecuteRequest{RequestId: id, Params: `1,"context":{}`}), failure{codes.InvalidArgument, invalid, "params is not valid JSON"}},
		{"bad context", execute(&runtimepb.ExecuteRequest{RequestId: id, Context: `{`}), failure{codes.InvalidArgument, invalid, "context is not valid JSON"}},
		{"a context of another kind", execute(&runtimepb.ExecuteRequest{RequestId: id, Context: `[]`}), failure{codes.InvalidArgument, invalid, "context must be an object"}},
		{"an empty script", execute(&runtimepb.ExecuteRequest{ScriptContent: new(" ")}), failure{codes.InvalidArgument, invalid, "script_content is empty"}},
		{"a script that is too large", execute(&runtimepb.ExecuteRequest{ScriptContent: new(strings.Repeat(" ", testMaxScript) + "1")}), failure{codes.ResourceExhausted, "PAYLOAD_TOO_LARGE", "script_content is larger than 1024 bytes"}},
		{"a script that does not parse", execute(&runtimepb.ExecuteRequest{ScriptContent: new("return (")}), failure{codes.InvalidArgument, "INITIALIZATION_ERROR", "Unexpected end of input"}},
		{"it throws", execute(&runtimepb.ExecuteRequest{RequestId: id, Params: `{}`}), failure{codes.Unknown, "RUNTIME_ERROR", "Cannot read properties of undefined (reading 'b')"}},
		{"an id for a new session", initialize(&runtimepb.InitializeRequest{RequestId: "mine", LanguageTitle: title}), failure{codes.InvalidArgument, invalid, "request_id must be empty: the host makes the session's id"}},
		{"another language", initialize(&runtimepb.InitializeRequest{LanguageTitle: "python-a"}), failure{codes.InvalidArgument, invalid, "this host runs nodejs functions only"}},
		{"no such function", initialize(&runtimepb.InitializeRequest{LanguageTitle: title}), failure{codes.NotFound, "NOT_FOUND", "no function is called nodejs-a, and the body has no script_content: send the code there"}},
		{"dependencies of no script", initialize(&runtimepb.InitializeRequest{LanguageTitle: title, Dependencies: "{}"}), failure{codes.InvalidArgument, invalid, "dependencies are those of script_content, which is missing"}},
		{"dependencies of another kind", initialize(&runtimepb.InitializeRequest{LanguageTitle: title, ScriptContent: new(echo), Dependencies: "[1]"}), failure{codes.InvalidArgument, invalid, "dependencies must be an object of the files that pin packages, each a text, by their names"}},
		{"dependencies that are no JSON", initialize(&runtimepb.InitializeRequest{LanguageTitle: title, ScriptContent: new(echo), Dependencies: "{"}), failure{codes.InvalidArgument, invalid, "dependencies is not valid JSON"}},
		{"code that does not load", initialize(&runtimepb.InitializeRequest{LanguageTitle: title, ScriptContent: new("throw new Error('no'); module.exports = 1")}), failure{codes.InvalidArgument, "INITIALIZATION_ERROR", "no"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, failureOf(t, tt.call())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What a function threw comes with its place, and the id of the call.
func TestErrorDetails(t *testing.T) {
	r := newRig(t, 10*time.Second)
	id := r.session(t, "\n throw new RangeError('no')", "")
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "trace-1")
	_, err := r.Execute(ctx, &runtimepb.ExecuteRequest{RequestId: id})
	got := info(t, err)
	want := map[string]string{
		"component": "function", "type": "RangeError", "line": "2", "column": "8", "request_id": "trace-1",
		"stack_trace": "RangeError: no\n    at function.js:2:8",
	}
	if diff := cmp.Diff(want, got.GetMetadata()); diff != "" || got.GetDomain() != "envoke" {
		t.Errorf("domain %s (-want +got)\n%s", got.GetDomain(), diff)
	}
}

const endless = "for (;;);"

// The least of the deadlines ends a call: the session's, the operator's, the caller's.
func TestDeadlines(t *testing.T) {
	r := newRig(t, 1200*time.Millisecond)
	timeout := func(ms int) failure {
		return failure{codes.DeadlineExceeded, "TIMEOUT", fmt.Sprintf("the function did not answer within %d ms", ms)}
	}
	for _, tt := range []struct {
		name    string
		session string
		context string
		want    failure
	}{
		{"the session's", r.session(t, endless, `{"timeout_ms":800}`), "", timeout(800)},
		{"the call's", r.session(t, endless, `{"timeout_ms":1100}`), `{"timeout_ms":900}`, timeout(900)},
		{"the operator's", r.session(t, endless, `{"timeout_ms":9000}`), "", timeout(1200)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: tt.session, Context: tt.context})
			if diff := cmp.Diff(tt.want, failureOf(t, err)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Execute(ctx, &runtimepb.ExecuteRequest{RequestId: r.session(t, endless, "")}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the caller's: %v", err)
	}
}

// A caller who goes away takes nothing with them: the next call is answered.
func TestCancellation(t *testing.T) {
	r := newRig(t, 10*time.Second)
	id := r.session(t, "if (params) await new Promise((done) => setTimeout(done, params)); return 'done'", "")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.Execute(ctx, &runtimepb.ExecuteRequest{RequestId: id, Params: "60000"})
		ended <- err
	}()
	testrig.Eventually(t, "the call to be under way", func() bool { return r.pool.Stats().Calls == 1 })
	cancel()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	testrig.Eventually(t, "the host to notice", func() bool {
		return r.counters(t)[`envoke_rpc_calls_total{code="Canceled",method="Execute"}`] == 1
	})
	if got, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: id}); err != nil || got.GetResult() != `"done"` {
		t.Errorf("%v, %v", got, err)
	}
}

func TestMessagesHaveALimit(t *testing.T) {
	r := newRig(t, 10*time.Second)
	id := r.session(t, "return params", "")
	large := `"` + strings.Repeat("x", 5<<20) + `"`
	if got, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: id, Params: large}); err != nil || got.GetResult() != large {
		t.Errorf("5 MiB: %d bytes, %v", len(got.GetResult()), err)
	}
	_, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: id, Params: `"` + strings.Repeat("x", 6<<20) + `"`})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("more than 6 MiB: %.100v", err)
	}
}

// Streams count as calls, so 512 of them leave no room; one that ends does.
func TestCallsHaveALimit(t *testing.T) {
	r := newRig(t, 10*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range maxCalls {
		stream, err := r.health.Watch(ctx, &healthv1.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	other := runtimepb.NewRuntimeServiceClient(testrig.Connect(t, r.address))
	_, err := other.HealthCheck(t.Context(), &runtimepb.HealthCheckRequest{})
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "too many calls") {
		t.Errorf("got %v", err)
	}
	cancel()
	testrig.Succeeds(t, func() error {
		_, err := other.HealthCheck(t.Context(), &runtimepb.HealthCheckRequest{})
		return err
	})
	if got := r.counters(t)["envoke_rpc_refused_total"]; got < 1 {
		t.Errorf("%v refusals were counted", got)
	}
}

func TestReflection(t *testing.T) {
	r := newRig(t, 10*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(r.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	reply, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, service := range reply.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	for _, want := range []string{"runtime.RuntimeService", "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
}
