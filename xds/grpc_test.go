package xds

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// serveGRPCHost answers every method with its name and the metadata that it got. One
// that is asked to hang does so.
func serveGRPCHost(t *testing.T, path, name string) (kill func()) {
	t.Helper()
	return serveGRPC(t, path, grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		got, _ := metadata.FromIncomingContext(stream.Context())
		if len(got.Get("x-do")) > 0 {
			<-stream.Context().Done()
			return nil
		}
		spoofed := append(got.Get(ClusterHeader), got.Get("x-user-id")...)
		stream.SetTrailer(metadata.Pairs("x-host", name, "x-got", strings.Join(spoofed, ",")))
		if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
			return err
		}
		return stream.SendMsg(new(emptypb.Empty))
	})))
}

// called is what came of a call.
type called struct {
	host    string
	status  *status.Status
	trailer metadata.MD
}

func (s *stack) call(conn *grpc.ClientConn, method string, pairs ...string) (c called) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(s.t.Context(), pairs...), 10*time.Second)
	defer cancel()
	err := conn.Invoke(ctx, method, new(emptypb.Empty), new(emptypb.Empty), grpc.Trailer(&c.trailer))
	c.host, c.status = strings.Join(c.trailer.Get("x-host"), ","), status.Convert(err)
	return c
}

// refused wants Envoy to answer an execute in a runtime host's stead.
func (s *stack) refused(conn *grpc.ClientConn, what, code string, pairs ...string) {
	s.t.Helper()
	got := s.call(conn, grpcExecutePath, pairs...).status
	for _, part := range []string{code, `"component":"runtime"`, `"request_id":"`} {
		if got.Code() != codes.Unavailable || !strings.Contains(got.Message(), part) || strings.Contains(got.Message(), ".sock") {
			s.t.Errorf("%s: %v, want %s", what, got, part)
		}
	}
}

func newGRPCStack(t *testing.T) (s *stack, conn *grpc.ClientConn, killPython func()) {
	t.Helper()
	s = newStack(t, func(state *State) {
		dir := filepath.Dir(state.APIPath)
		state.Runtimes[0].GRPC = []Endpoint{{Path: filepath.Join(dir, "nodejs-grpc.sock")}}
		state.Runtimes = append(state.Runtimes, Runtime{Language: faas.Python, GRPC: []Endpoint{{Path: filepath.Join(dir, "python-grpc.sock")}}})
	})
	serveGRPCHost(t, filepath.Join(s.dir, "nodejs-grpc.sock"), "nodejs")
	killPython = serveGRPCHost(t, filepath.Join(s.dir, "python-grpc.sock"), "python")
	return s, testrig.Connect(t, "passthrough:"+s.Addr), killPython
}

// TestGRPCRoutes sends calls through Envoy and sees which host gets them.
func TestGRPCRoutes(t *testing.T) {
	s, conn, killPython := newGRPCStack(t)
	const elsewhere = `"message":"no runtime host of that language answers gRPC here`
	for _, tt := range []struct {
		name, method, languageTitle string
		host                        string // empty: Envoy answers
		code                        codes.Code
		message                     string // part of it
	}{
		{name: "by default", method: grpcExecutePath, host: "nodejs"},
		{name: "by name", method: grpcExecutePath, languageTitle: "python-a", host: "python"},
		{name: "health by default", method: grpcHealthPath, host: "nodejs"},
		{name: "health by name", method: grpcHealthPath, languageTitle: "python-", host: "python"},
		{name: "no gRPC of that language", method: grpcExecutePath, languageTitle: "rust-a", code: codes.Unimplemented, message: elsewhere},
		{name: "no language", method: grpcExecutePath, languageTitle: "nodejs", code: codes.Unimplemented, message: elsewhere},
		{name: "an empty language", method: grpcHealthPath, languageTitle: " ", code: codes.Unimplemented, message: elsewhere},
		{name: "not public", method: "/runtime.RuntimeService/UpdateConfig", code: codes.Unimplemented, message: `"message":"no such path"`},
		{name: "no stream of health", method: "/grpc.health.v1.Health/Watch", code: codes.Unimplemented, message: `"message":"no such path"`},
		{name: "no reflection", method: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", code: codes.Unimplemented, message: `"message":"no such path"`},
		{name: "not to control", method: "/envoke.control.v1.Control/FindSession", code: codes.Unimplemented, message: `"message":"no such path"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pairs := []string{ClusterHeader, "spoofed", "x-user-id", "root"}
			if tt.languageTitle != "" {
				pairs = append(pairs, "language-title", tt.languageTitle)
			}
			got := s.call(conn, tt.method, pairs...)
			if got.host != tt.host || got.status.Code() != tt.code || !strings.Contains(got.status.Message(), tt.message) {
				t.Errorf("got to %q: %v", got.host, got.status)
			}
			if spoofed := strings.Join(got.trailer.Get("x-got"), ""); spoofed != "" {
				t.Errorf("the host got %s", spoofed)
			}
		})
	}
	// What Envoy answers itself is never retried by it; UNAVAILABLE is its word for 504.
	s.refused(conn, "a host that hangs", `"code":"TIMEOUT"`, "x-do", "hang")
	killPython()
	s.refused(conn, "a host that is away", `"code":"UNAVAILABLE"`, "language-title", "python-a")
	for _, kind := range []string{"application/json", ""} {
		if reply := s.do(http.MethodPost, grpcExecutePath, "{}", "Content-Type", kind); reply.Status != http.StatusNotFound {
			t.Errorf("%q by HTTP: %d %s", kind, reply.Status, reply.Body)
		}
	}
}
