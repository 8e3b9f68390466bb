package rpc

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"envoke/internal/faas"
	"envoke/internal/logs"
	"envoke/runtimes/host"
	"envoke/runtimes/pool"
	"envoke/runtimes/runtimepb"
)

// TestStatuses has every code of the API: the table of docs/grpc.md.
func TestStatuses(t *testing.T) {
	want := map[faas.Code]codes.Code{
		faas.InvalidRequest:      codes.InvalidArgument,
		faas.InvalidParams:       codes.InvalidArgument,
		faas.InitializationError: codes.InvalidArgument,
		faas.Unauthorized:        codes.Unauthenticated,
		faas.Forbidden:           codes.PermissionDenied,
		faas.NotFound:            codes.NotFound,
		faas.Conflict:            codes.Aborted,
		faas.PayloadTooLarge:     codes.ResourceExhausted,
		faas.RateLimited:         codes.ResourceExhausted,
		faas.RuntimeError:        codes.Unknown,
		faas.Timeout:             codes.DeadlineExceeded,
		faas.ResourceExhausted:   codes.ResourceExhausted,
		faas.Unavailable:         codes.Unavailable,
		faas.InternalError:       codes.Internal,
		"NEW":                    codes.Internal,
	}
	for code, want := range want {
		err := toStatus(&faas.Error{Code: code, Message: "m", Details: map[string]any{
			"component": faas.InFunction, "line": 2, "path": []string{"a"}, "bad": func() {},
		}}, "r")
		if got := failureOf(t, err); got != (failure{want, string(code), "m"}) {
			t.Errorf("%s: %v, want %v", code, got, want)
		}
		got := info(t, err).GetMetadata()
		if got["component"] != "function" || got["line"] != "2" || got["path"] != `["a"]` || got["request_id"] != "r" {
			t.Errorf("%s: %v", code, got)
		}
	}
	if len(want)-1 != len(grpcCodes) {
		t.Errorf("%d codes are tested, %d there", len(want)-1, len(grpcCodes))
	}
}

// stub is a host that does what a test says.
type stub struct {
	execute func(context.Context) error
}

func (s stub) Execute(ctx context.Context, _ host.Execution) (pool.Result, error) {
	return pool.Result{}, s.execute(ctx)
}

func (s stub) Initialize(ctx context.Context, _ host.Initialization) (*faas.Session, error) {
	return nil, s.execute(ctx)
}
func (stub) Ready() bool       { return true }
func (stub) Stats() pool.Stats { return pool.Stats{} }

func newStubbed(logger *slog.Logger, execute func(context.Context) error) *Server {
	return New(Options{
		Language: faas.NodeJS, Host: stub{execute}, MaxTimeout: time.Second, MaxMessage: 1 << 20,
		Output: &logs.Output{}, Failed: func(faas.Failure) {}, Metrics: prometheus.NewRegistry(), Logger: logger, LogLevel: new(slog.LevelVar),
	})
}

// Faults of ours are told as such, and what they were is in the log only.
func TestFaultsOfOurs(t *testing.T) {
	for name, execute := range map[string]func(context.Context) error{
		"an error": func(context.Context) error { return errors.New("secret") },
		"a panic":  func(context.Context) error { panic("secret") },
	} {
		t.Run(name, func(t *testing.T) {
			written, logger := logged(new(slog.LevelVar))
			s := newStubbed(logger, execute)
			_, err := s.answer(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: runtimepb.RuntimeService_Execute_FullMethodName},
				func(ctx context.Context, _ any) (any, error) {
					return s.Execute(ctx, &runtimepb.ExecuteRequest{RequestId: "x"})
				})
			if got := failureOf(t, err); got.Code != codes.Internal || got.Reason != "INTERNAL_ERROR" || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", got)
			}
			if !strings.Contains(written.String(), "secret") || !strings.Contains(written.String(), "level=ERROR") {
				t.Errorf("the log has %s", written)
			}
		})
	}
}

// Every call has its documented deadline, or the caller's where that is sooner.
func TestDocumentedDeadlines(t *testing.T) {
	s := newStubbed(slog.New(slog.DiscardHandler), nil)
	deadline := func(ctx context.Context, method string) (left time.Duration) {
		_, _ = s.answer(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
			at, _ := ctx.Deadline()
			left = time.Until(at).Round(time.Second)
			return nil, nil
		})
		return left
	}
	for method, want := range map[string]time.Duration{
		"Execute": 30 * time.Second, "Initialize": time.Minute, "HealthCheck": 5 * time.Second,
		"GetMetrics": 10 * time.Second, "GetLogs": 15 * time.Second, "UpdateConfig": 10 * time.Second,
	} {
		if got := deadline(t.Context(), "/runtime.RuntimeService/"+method); got != want {
			t.Errorf("%s has %v, want %v", method, got, want)
		}
	}
	if got := deadline(t.Context(), "/grpc.health.v1.Health/Check"); got != 5*time.Second {
		t.Errorf("health has %v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if got := deadline(ctx, "/runtime.RuntimeService/Execute"); got != 2*time.Second {
		t.Errorf("a caller's deadline of 2 s became %v", got)
	}
}

// A wait that the deadline ended is a TIMEOUT, whatever could not be had meanwhile.
func TestLateCalls(t *testing.T) {
	s := newStubbed(slog.New(slog.DiscardHandler), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	err := s.fail(ctx, "m", &faas.Error{Code: faas.Unavailable, Message: "the caller went away"})
	if got := failureOf(t, err); got != (failure{codes.DeadlineExceeded, "TIMEOUT", errLate.Message}) {
		t.Errorf("got %v", got)
	}
	err = s.fail(ctx, "m", &faas.Error{Code: faas.NotFound, Message: "no"})
	if got := failureOf(t, err); got.Code != codes.NotFound {
		t.Errorf("got %v", got)
	}
}

// FuzzStatus sees every error fit into the trailers that clients take, as UTF-8.
func FuzzStatus(f *testing.F) {
	f.Add("no", "RangeError", "at function.js:1:1", 1)
	f.Add(strings.Repeat("é", 8<<10), strings.Repeat("\n", 8<<10), strings.Repeat("\x00", 32<<10), 40)
	f.Add("\xff", "\xff", strings.Repeat("\xff", 5000), 0)
	f.Fuzz(func(t *testing.T, message, kind, stack string, more int) {
		details := map[string]any{"component": faas.InFunction, "type": kind, "stack_trace": stack}
		for i := range min(max(more, 0), 40) {
			details[fmt.Sprint("detail", i)] = kind
		}
		s := status.Convert(toStatus(&faas.Error{Code: faas.RuntimeError, Message: message, Details: details}, message))
		raw, err := proto.Marshal(s.Proto())
		if err != nil || len(s.Details()) != 1 || !utf8.ValidString(s.Message()) {
			t.Fatalf("%v, %d details", err, len(s.Details()))
		}
		// gRPC writes each byte that is not printable ASCII as three.
		if size := 3*len(s.Message()) + base64.StdEncoding.EncodedLen(len(raw)); size > 8<<10-256 {
			t.Errorf("%d bytes", size)
		}
	})
}

// FuzzUpdateConfig changes all settings that are named, or none, and says which.
func FuzzUpdateConfig(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"log_level":"warn"}`, `{"log_level":1}`, `{"a":1}`, `null`, `[`, `{"log_level":"info","x":0}`} {
		f.Add(seed)
	}
	s := newStubbed(slog.New(slog.DiscardHandler), nil)
	f.Fuzz(func(t *testing.T, config string) {
		before := s.LogLevel.Level()
		reply, err := s.UpdateConfig(t.Context(), &runtimepb.UpdateConfigRequest{Config: config})
		if err != nil || reply.GetSuccess() != (reply.Error == nil) {
			t.Fatalf("%v, %v", reply, err)
		}
		if after := s.LogLevel.Level(); !reply.GetSuccess() && after != before {
			t.Errorf("%q failed and changed %v to %v", config, before, after)
		}
	})
}
