// Package extproc is the ext_proc service that Envoy asks about a request before it
// routes it: it makes the id of a new session, finds the session of an execute, names
// the cluster that is to serve the request, or refuses it. It sees headers only, but
// for what may be cached: there it answers with the result of an equal request before,
// or keeps the one that comes.
//
// Envoy opens one gRPC stream per HTTP request. Two rules of its protocol shape
// the code: each message is answered by one of the matching type, and a stream
// that ends well without an answer lets the request pass unseen, so it never does.
package extproc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/faas"
	"envoke/internal/resultcache"
)

// lookupTimeout bounds all that is asked about one request. Envoy's own
// message_timeout is 3 s; ours comes first, since ours can say what was slow.
const lookupTimeout = 800 * time.Millisecond

// Registry is what knows sessions and functions.
type Registry interface {
	// FindSession answers faas.ErrNoSession to whatever is no live session.
	FindSession(ctx context.Context, id faas.SessionID) (faas.Session, error)
	FindFunction(ctx context.Context, ref faas.Ref) (faas.Function, error)
}

// Options make a Server. All fields but Elsewhere are required.
type Options struct {
	Registry Registry
	// Select finds the function that a name means which the caller wrote there. Its
	// errors are for the caller to read.
	Select func(place faas.Place, name string) (faas.Ref, error)
	Mapped bool // names in paths do not tell Envoy the language
	// Elsewhere tells whether OpenFaaS may have a function of the name; false is certain. Nil:
	// there is no OpenFaaS.
	Elsewhere func(ctx context.Context, name string) bool
	Key       faas.SessionKey
	Runtimes  []faas.Language // the languages that have a runtime host
	// Auth says that callers are checked: those who are nobody have the scopes Anonymous.
	Auth       bool
	Anonymous  faas.Scopes
	Cache      *resultcache.Cache
	MaxTimeout time.Duration      // the longest that a function may take, and so a wait for its result
	Failed     func(faas.Failure) // hears of each request that is refused
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Server implements Envoy's ExternalProcessor service.
type Server struct {
	registry  Registry
	choose    func(place faas.Place, name string) (faas.Ref, error)
	key       faas.SessionKey
	mapped    bool
	elsewhere func(ctx context.Context, name string) bool
	auth      bool
	nobody    faas.Scopes
	served    map[faas.Language]bool
	cache     *resultcache.Cache
	longest   time.Duration
	failed    func(faas.Failure)
	logger    *slog.Logger
	metrics   *metrics
}

var _ extprocv3.ExternalProcessorServer = (*Server)(nil)

// New makes a Server.
func New(o Options) *Server {
	s := &Server{
		registry:  o.Registry,
		choose:    o.Select,
		key:       o.Key,
		mapped:    o.Mapped,
		elsewhere: o.Elsewhere,
		auth:      o.Auth,
		nobody:    o.Anonymous,
		served:    make(map[faas.Language]bool, len(o.Runtimes)),
		cache:     o.Cache,
		longest:   o.MaxTimeout,
		failed:    o.Failed,
		logger:    o.Logger,
		metrics:   newMetrics(o.Registerer, o.Cache),
	}
	for _, language := range o.Runtimes {
		s.served[language] = true
	}
	return s
}

// Process answers the messages of one HTTP request until Envoy needs no more.
func (s *Server) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	x := &exchange{server: s, stream: stream}
	defer x.leave()
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
			return nil // Envoy has every answer it asked for
		}
		if err != nil {
			return err
		}
		answer, err := x.answer(stream.Context(), message)
		if err != nil {
			return err
		}
		if err := x.send(answer); err != nil {
			return err
		}
	}
}
