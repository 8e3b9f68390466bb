// Package hook is the ext_proc service of a runtime host: Envoy asks it about requests and
// responses of routes that have hooks, and a function decides what becomes of each. So a hook
// costs one exchange between Envoy and the host, and needs control for nothing.
//
// Envoy opens a stream for each request and each response, which says in its metadata whose
// hook it is, and sends one message. What is answered ends the stream.
package hook

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
	"envoke/runtimes/host"
)

// maxStreams bounds the hooks under way. What is more is a failure of its hook: each holds a
// request's headers.
const maxStreams = 1024

// Host runs functions; host.Host says what the method promises.
type Host interface {
	Hook(context.Context, host.HookCall) ([]byte, error)
}

// Options are what a Server needs. All are required.
type Options struct {
	Language faas.Language
	Host     Host
	// Failed hears of each hook that failed.
	Failed     func(faas.Failure)
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Server implements Envoy's ExternalProcessor service.
type Server struct {
	Options
	extprocv3.UnimplementedExternalProcessorServer

	turns   chan struct{}
	metrics metrics
}

// New makes a server. It does no I/O.
func New(options Options) *Server {
	return &Server{
		Options: options, turns: make(chan struct{}, maxStreams), metrics: newMetrics(options.Registerer, options.Language),
	}
}

// Process answers the one message of a stream.
func (s *Server) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	arrived, ctx := time.Now(), stream.Context()
	q, err := questionOf(ctx)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	message, err := stream.Recv()
	if err != nil {
		return err
	}
	x, err := q.of(message)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	x.arrived = arrived
	decided := s.decide(ctx, x)
	if ctx.Err() != nil {
		s.metrics.observe(q.phase, gone, arrived)
		return status.FromContextError(ctx.Err()).Err()
	}
	s.metrics.observe(q.phase, decided.outcome, arrived)
	return stream.Send(decided.answer)
}

// decision is what Envoy is answered.
type decision struct {
	outcome outcome
	answer  *extprocv3.ProcessingResponse
}

// decide asks the function, and does as the failure mode says where that fails.
func (s *Server) decide(ctx context.Context, x exchange) decision {
	v, err := s.ask(ctx, x)
	if err == nil {
		return v.decision(x.phase)
	}
	if ctx.Err() == nil { // else Envoy gave up, and has counted it
		s.tell(ctx, x, err)
	}
	if x.open {
		return decision{opened, passes(x.phase)}
	}
	return decision{refused, refusal(x, faas.AsError(err))}
}

// ask runs the function and reads what it wants.
func (s *Server) ask(ctx context.Context, x exchange) (v verdict, err error) {
	defer func() { // one hook's fault must not end the others
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	default:
		return verdict{}, fault.Busy("too many hooks are under way on this runtime host")
	}
	result, err := s.Host.Hook(ctx, host.HookCall{
		Function: x.function, RequestID: x.id, UserID: x.user, Arrived: x.arrived, Deadline: x.deadline, Params: x.params(),
	})
	if err != nil {
		return verdict{}, err
	}
	return parse(result)
}

// tell tells of a hook that failed, and logs what an operator should see.
func (s *Server) tell(ctx context.Context, x exchange, err error) {
	e := faas.AsError(err)
	if level := levelOf(e); s.Logger.Enabled(ctx, level) {
		s.Logger.Log(ctx, level, "hook failed", slog.String("request_id", x.id), slog.String("route", x.route),
			slog.String("phase", string(x.phase)), slog.String("function", x.function.Key()), slog.Any("error", e))
	}
	f := faas.NewFailure(x.id, faas.InRuntime, x.named(e))
	f.Language, f.LanguageTitle = s.Language, x.function.Name.String()
	s.Failed(f)
}

// named is the error with the hook that it is of. Errors may be shared.
func (x exchange) named(e *faas.Error) *faas.Error {
	own := *e
	own.Details = map[string]any{"hook": x.phase, "route": x.route}
	maps.Copy(own.Details, e.Details)
	return &own
}

func levelOf(e *faas.Error) slog.Level {
	switch e.Code {
	case faas.InternalError:
		return slog.LevelError
	case faas.Unavailable:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
