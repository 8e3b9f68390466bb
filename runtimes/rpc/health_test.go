package rpc

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"envoke/internal/testrig"
	"envoke/runtimes/runtimepb"
)

// A host serves once control has told it the key, and says that it stops before it
// does; calls under way are answered.
func TestHealth(t *testing.T) {
	r := newCutOffRig(t, 10*time.Second)
	for _, service := range []string{"", "runtime.RuntimeService"} {
		reply, err := r.health.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil || reply.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
			t.Errorf("%q without control: %v, %v", service, reply, err)
		}
	}
	if _, err := r.health.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("another service: %v", err)
	}
	if reply, err := r.HealthCheck(t.Context(), &runtimepb.HealthCheckRequest{}); err != nil || reply.GetStatus() != "waiting for control" {
		t.Errorf("without control: %v, %v", reply, err)
	}
	if _, err := r.Initialize(t.Context(), &runtimepb.InitializeRequest{LanguageTitle: "nodejs-calculator"}); status.Code(err) != codes.Unavailable {
		t.Errorf("a session without control: %v", err)
	}
	watched, err := r.health.Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	wantNext(t, watched, healthv1.HealthCheckResponse_NOT_SERVING)
	r.startControl()
	wantNext(t, watched, healthv1.HealthCheckResponse_SERVING)
	if reply, err := r.HealthCheck(t.Context(), &runtimepb.HealthCheckRequest{}); err != nil || reply.GetStatus() != "ok" || reply.GetLanguage() != "nodejs" || reply.GetVersion() != "test" {
		t.Errorf("with control: %v, %v", reply, err)
	}
	r.drain(t, watched)
}

// drain stops the server while a call is under way.
func (r *rig) drain(t *testing.T, watched grpc.ServerStreamingClient[healthv1.HealthCheckResponse]) {
	t.Helper()
	id := r.session(t, "await new Promise((done) => setTimeout(done, 500)); return 'done'", "")
	answered := make(chan string, 1)
	go func() {
		reply, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: id})
		if err != nil {
			t.Errorf("the call under way: %v", err)
		}
		answered <- reply.GetResult()
	}()
	testrig.Eventually(t, "the call to be under way", func() bool { return r.pool.Stats().Calls == 1 })
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	wantNext(t, watched, healthv1.HealthCheckResponse_NOT_SERVING)
	if got := <-answered; got != `"done"` {
		t.Errorf("the call under way got %s", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := watched.Recv(); err == nil {
		t.Error("the stream outlived the server")
	}
}

func wantNext(t *testing.T, stream grpc.ServerStreamingClient[healthv1.HealthCheckResponse], want healthv1.HealthCheckResponse_ServingStatus) {
	t.Helper()
	reply, err := stream.Recv()
	if err != nil || reply.GetStatus() != want {
		t.Fatalf("the stream says %v, %v, want %v", reply, err, want)
	}
}
