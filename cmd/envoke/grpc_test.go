package main

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"envoke/internal/testrig"
	"envoke/runtimes/runtimepb"
)

// public is gRPC on Envoy's port, private on the host's own socket.
func (i *installation) public(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return testrig.Connect(t, "passthrough:"+strings.TrimPrefix(i.base, "http://"))
}

func (i *installation) private(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return testrig.Connect(t, "unix:"+filepath.Join(i.runDir, "nodejs-grpc.sock"))
}

// naming is a context whose call names a function, as the Language-Title header does.
func naming(t *testing.T, languageTitle string) context.Context {
	t.Helper()
	return metadata.AppendToOutgoingContext(t.Context(), "language-title", languageTitle)
}

func TestExecuteByGRPC(t *testing.T) {
	i := shared(t)
	client := runtimepb.NewRuntimeServiceClient(i.public(t))
	id := i.initialize(t, "if (params === 'throw') throw new RangeError('no'); return params")
	for _, ctx := range []context.Context{t.Context(), naming(t, "nodejs-x")} {
		var header metadata.MD
		reply, err := client.Execute(ctx, &runtimepb.ExecuteRequest{RequestId: id, Params: `{"a":1}`}, grpc.Header(&header))
		if err != nil || reply.GetResult() != `{"a":1}` || reply.GetExecutionTimeMs() <= 0 || len(header.Get("x-request-id")) != 1 {
			t.Fatalf("%v, %v, %v", reply, err, header)
		}
	}
	_, err := client.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: id, Params: `"throw"`})
	if s := status.Convert(err); s.Code() != codes.Unknown || s.Message() != "no" || reason(t, err) != "RUNTIME_ERROR" {
		t.Errorf("got %v", err)
	}
	testrig.Eventually(t, "three executes to be counted", func() bool {
		var session struct {
			ExecutionCount int `json:"execution_count"`
		}
		r := i.send(t, http.MethodGet, "/api/v1/sessions/"+id, "")
		if err := json.Unmarshal(r.body, &session); err != nil {
			t.Fatalf("%v: %s", err, r.body)
		}
		return session.ExecutionCount == 3
	})
}

// TestGRPCByLanguage sees a session meet the host of its language, which the caller
// names.
func TestGRPCByLanguage(t *testing.T) {
	i := shared(t)
	client := runtimepb.NewRuntimeServiceClient(i.public(t))
	health := healthv1.NewHealthClient(i.public(t))
	for _, language := range []string{"nodejs", "python", "rust"} {
		reply, err := health.Check(naming(t, language+"-x"), &healthv1.HealthCheckRequest{Service: "runtime.RuntimeService"})
		if err != nil || reply.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("%s: %v, %v", language, reply, err)
		}
	}
	script := "result = params + 1"
	reply, err := client.Execute(naming(t, "python-x"), &runtimepb.ExecuteRequest{ScriptContent: &script, Params: "41"})
	if err != nil || reply.GetResult() != "42" {
		t.Errorf("python: %v, %v", reply, err)
	}
	if _, err := client.Execute(naming(t, "python-x"), &runtimepb.ExecuteRequest{RequestId: i.initialize(t, "return 1")}); status.Code(err) != codes.NotFound {
		t.Errorf("another language's session: %v", err)
	}
}

// reason is that of the ErrorInfo that a status brings.
func reason(t *testing.T, err error) string {
	t.Helper()
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// TestGRPCFromOutside sees what the public port takes, and that what it does not is
// told by a gRPC status.
func TestGRPCFromOutside(t *testing.T) {
	i := shared(t)
	conn := i.public(t)
	client, health := runtimepb.NewRuntimeServiceClient(conn), healthv1.NewHealthClient(conn)
	if reply, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil || reply.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", reply, err)
	}
	for name, call := range map[string]func() error{
		"initialize": func() error {
			_, err := client.Initialize(t.Context(), &runtimepb.InitializeRequest{})
			return err
		},
		"update config": func() error {
			_, err := client.UpdateConfig(t.Context(), &runtimepb.UpdateConfigRequest{})
			return err
		},
		"watch": func() error {
			stream, err := health.Watch(t.Context(), &healthv1.HealthCheckRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"a language that is not served": func() error {
			_, err := client.Execute(naming(t, "cobol-a"), &runtimepb.ExecuteRequest{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := call()
			if status.Code(err) != codes.Unimplemented || !strings.Contains(status.Convert(err).Message(), `"code":"NOT_FOUND"`) {
				t.Errorf("got %v", err)
			}
		})
	}
	i.send(t, http.MethodPost, "/runtime.RuntimeService/Execute", "{}").isError(t, http.StatusNotFound, "NOT_FOUND", "envoy")
}

// TestGRPCFromInside makes a session by gRPC and runs it by HTTP.
func TestGRPCFromInside(t *testing.T) {
	i := shared(t)
	client := runtimepb.NewRuntimeServiceClient(i.private(t))
	script := "console.log('printed', params); return params"
	session, err := client.Initialize(t.Context(), &runtimepb.InitializeRequest{LanguageTitle: "nodejs-inside", ScriptContent: &script})
	if err != nil {
		t.Fatal(err)
	}
	r := i.execute(t, session.GetRequestId(), "1")
	if got := r.result(t); got != "1" {
		t.Errorf("the result is %s", got)
	}
	for _, id := range []string{session.GetRequestId(), r.header.Get("X-Request-Id")} {
		logs, err := client.GetLogs(t.Context(), &runtimepb.GetLogsRequest{RequestId: id})
		if err != nil || logs.GetTotalCount() != 1 || !strings.Contains(logs.GetLogs(), `"text":"printed 1"`) {
			t.Errorf("logs of %s: %v, %v", id, logs, err)
		}
	}
	config, err := client.UpdateConfig(t.Context(), &runtimepb.UpdateConfigRequest{})
	if err != nil || config.GetCurrentConfig() != `{"idle_workers":2,"log_level":"debug"}` {
		t.Errorf("config: %v, %v", config, err)
	}
}
