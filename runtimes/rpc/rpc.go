// Package rpc serves a runtime host by gRPC: runtime.RuntimeService, health and
// reflection. What a call does is the host's business; here are deadlines, limits
// and how errors become statuses.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"envoke/internal/faas"
	"envoke/internal/logs"
	"envoke/runtimes/host"
	"envoke/runtimes/pool"
	"envoke/runtimes/runtimepb"
)

// Host runs functions; host.Host says what the methods promise.
type Host interface {
	Execute(context.Context, host.Execution) (pool.Result, error)
	Initialize(context.Context, host.Initialization) (*faas.Session, error)
	Ready() bool
	Stats() pool.Stats
}

// IdleWorkers are those kept ready; pool.Pool has them.
type IdleWorkers interface {
	Idle() int
	SetIdle(n int)
}

// Registry takes metrics and gives those of the host, as prometheus.Registry does.
type Registry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// Options are what a Server needs. All are required but Idle.
type Options struct {
	Language   faas.Language
	Version    string // of Envoke
	Host       Host
	MaxTimeout time.Duration                     // the operator's limit of one execute
	MaxMessage int                               // bytes of a request
	Output     *logs.Output                      // what functions printed
	Hooks      extprocv3.ExternalProcessorServer // nil: the host answers no hooks
	// Failed hears of each call that is answered by an error.
	Failed  func(faas.Failure)
	Metrics Registry
	Logger  *slog.Logger

	// What UpdateConfig changes.
	LogLevel *slog.LevelVar
	Idle     IdleWorkers // nil: the host keeps none ready
	MaxIdle  int
}

// Server answers the gRPC calls of one runtime.
type Server struct {
	Options
	runtimepb.UnimplementedRuntimeServiceServer

	server   *grpc.Server
	health   *health.Server
	calls    *prometheus.CounterVec
	settings settings
	stopping chan struct{} // closed when streams are to end
}

const (
	// maxCalls bounds the calls under way, and so the messages held: each is read
	// whole before anybody can ask what it is.
	maxCalls = 512
	// maxHeaders bounds a call's metadata, in bytes: what Envoy lets pass and adds.
	maxHeaders  = 68 << 10
	dialTimeout = 10 * time.Second
	// window is how much of one call, and of one connection's calls, may come unread, in bytes.
	window = 1 << 20
	// streamGrace is what streams, which have no end of their own, get to hear that
	// the host is stopping.
	streamGrace = time.Second
	// readyEvery is how often the host is asked whether it is ready yet.
	readyEvery = 50 * time.Millisecond
)

// New makes a server. It does no I/O.
func New(options Options) *Server {
	s := &Server{
		Options: options, health: health.NewServer(), stopping: make(chan struct{}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name:        "envoke_rpc_calls_total",
			Help:        "gRPC calls of a runtime host, by method and status.",
			ConstLabels: prometheus.Labels{"language": string(options.Language)},
		}, []string{"method", "code"}),
	}
	options.Metrics.MustRegister(s.calls)
	s.settings = newSettings(options)
	s.server = grpc.NewServer(
		grpc.UnaryInterceptor(s.answer),
		grpc.StreamInterceptor(s.follow),
		grpc.InTapHandle(newTurns(options).take),
		grpc.MaxRecvMsgSize(options.MaxMessage),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(dialTimeout),
		// Fixed windows: to find better ones, gRPC would send a ping with each message that it reads.
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(window),
		grpc.WaitForHandlers(true),
	)
	runtimepb.RegisterRuntimeServiceServer(s.server, s)
	healthv1.RegisterHealthServer(s.server, s.health)
	if options.Hooks != nil {
		extprocv3.RegisterExternalProcessorServer(s.server, options.Hooks)
	}
	reflection.Register(s.server)
	s.announce(healthv1.HealthCheckResponse_NOT_SERVING)
	return s
}

// announce says by grpc.health.v1 how the host is.
func (s *Server) announce(status healthv1.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus("", status)
	s.health.SetServingStatus(runtimepb.RuntimeService_ServiceDesc.ServiceName, status)
}

// Serve answers on the listener until ctx ends, then waits for the calls under way,
// at most as long as one execute may take; what is left then is cut off and an error.
// It closes the listener. A server serves once.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	tasks.Go(func() { s.awaitReady(serving) })
	drained := make(chan error, 1)
	abandon := context.AfterFunc(ctx, func() { drained <- s.drain() })
	err := s.server.Serve(listener)
	if abandon() {
		return err // it ended by itself
	}
	return <-drained
}

// awaitReady announces that the host serves, once it does.
func (s *Server) awaitReady(ctx context.Context) {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for !s.Host.Ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	s.announce(healthv1.HealthCheckResponse_SERVING)
}

// drain tells those who watch, then lets the calls under way end.
func (s *Server) drain() error {
	s.health.Shutdown()
	streams := time.AfterFunc(streamGrace, func() { close(s.stopping) })
	defer streams.Stop()
	cut := time.AfterFunc(s.MaxTimeout+time.Second, s.server.Stop)
	s.server.GracefulStop()
	if !cut.Stop() {
		return errors.New("gRPC calls under way were cut off")
	}
	return nil
}
