package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"runtime/debug"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"envoke/internal/faas"
	"envoke/runtimes/runtimepb"
)

// timeouts are the longest that each call may take. A caller's own deadline may be
// sooner, and the operator's limit of an execute is the host's to keep.
var timeouts = map[string]time.Duration{
	runtimepb.RuntimeService_Execute_FullMethodName:      30 * time.Second,
	runtimepb.RuntimeService_Initialize_FullMethodName:   60 * time.Second,
	runtimepb.RuntimeService_HealthCheck_FullMethodName:  5 * time.Second,
	runtimepb.RuntimeService_GetMetrics_FullMethodName:   10 * time.Second,
	runtimepb.RuntimeService_GetLogs_FullMethodName:      15 * time.Second,
	runtimepb.RuntimeService_UpdateConfig_FullMethodName: 10 * time.Second,
}

const otherTimeout = 5 * time.Second // of grpc.health.v1

// answer gives each call its deadline, and makes a status of its error.
func (s *Server) answer(ctx context.Context, request any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	timeout, ok := timeouts[call.FullMethod]
	if !ok {
		timeout = otherTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := contained(ctx, request, handle)
	if err != nil {
		s.failed(ctx, request, err)
		err = s.fail(ctx, call.FullMethod, err)
	}
	s.calls.WithLabelValues(path.Base(call.FullMethod), status.Code(err).String()).Inc()
	return reply, err
}

// failed tells of a call of a function that is answered by an error.
func (s *Server) failed(ctx context.Context, request any, err error) {
	f := faas.NewFailure(requestID(ctx), faas.InRuntime, faas.AsError(err))
	f.Language = s.Language
	switch r := request.(type) {
	case *runtimepb.ExecuteRequest:
		if id := faas.SessionID(r.GetRequestId()); isID(id) {
			f.SessionID = id
		}
	case *runtimepb.InitializeRequest:
		f.LanguageTitle = cut(r.GetLanguageTitle(), maxDetail)
	default:
		return // it is no call of a function
	}
	s.Failed(f)
}

func isID(id faas.SessionID) bool { _, ok := id.Language(); return ok }

// contained makes an error of a panic: one call's fault must not end the others.
func contained(ctx context.Context, request any, handle grpc.UnaryHandler) (reply any, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	return handle(ctx, request)
}

// fail makes the status of an error and logs what an operator should see: the causes
// that the caller is not shown.
func (s *Server) fail(ctx context.Context, method string, err error) error {
	if _, ok := status.FromError(err); ok {
		return err // of a service of gRPC's own
	}
	e, id := faas.AsError(err), requestID(ctx)
	s.Logger.Log(ctx, levelOf(ctx, e), "call failed",
		slog.String("request_id", id), slog.String("method", method), slog.Any("error", e))
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return status.Error(codes.Canceled, "the caller went away")
	case ctx.Err() != nil && e.Code == faas.Unavailable: // it is the wait that came to its end
		return toStatus(errLate, id)
	}
	return toStatus(e, id)
}

func levelOf(ctx context.Context, e *faas.Error) slog.Level {
	switch {
	case ctx.Err() != nil: // what failed is likely that
		return slog.LevelDebug
	case e.Code == faas.InternalError:
		return slog.LevelError
	case e.Code == faas.Unavailable:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// errLate answers a call that its own deadline ended. A function goes on until the
// deadline that the host has set it.
var errLate = &faas.Error{Code: faas.Timeout, Message: "the call was not answered by its deadline"}

// follow ends streams when the host is stopping. They are reflection and health's Watch,
// which would go on for ever.
func (s *Server) follow(service any, stream grpc.ServerStream, call *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if call.FullMethod == hookMethod { // it has an end of its own, and counts itself
		return handle(service, stream)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := handle(service, &endingStream{stream, ctx})
	s.calls.WithLabelValues(path.Base(call.FullMethod), status.Code(err).String()).Inc()
	return err
}

// hookMethod is by which Envoy asks about requests of routes that have hooks.
const hookMethod = extprocv3.ExternalProcessor_Process_FullMethodName

// endingStream is a stream with a context that ends sooner.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // it is the stream's life
}

// Context implements grpc.ServerStream.
func (s *endingStream) Context() context.Context { return s.ctx }

// requestID is the id of the call, which Envoy makes; empty: it has none.
func requestID(ctx context.Context) string { return one(ctx, "x-request-id") }

// one is the first value of a call's metadata of that name, or empty.
func one(ctx context.Context, name string) string {
	if values := metadata.ValueFromIncomingContext(ctx, name); len(values) > 0 {
		return values[0]
	}
	return ""
}
