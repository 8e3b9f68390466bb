// Package host is the server of a runtime: it takes initialize and execute from
// Envoy, finds the session's bundle, runs the function in the worker that owns it
// and writes every reply's envelope. One Host serves one language; what differs
// between languages is in the workers.
package host

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/internal/httpserver"
	"envoke/runtimes/bundle"
	"envoke/runtimes/pool"
)

// DefaultTimeout is an execute's deadline where neither the session nor the
// function says another (api.md).
const DefaultTimeout = 30 * time.Second

// MaxContext bounds the JSON of a session's context, in bytes.
const MaxContext = 1 << 20

// Options are what a Host needs. All fields are required.
type Options struct {
	Language      faas.Language
	Bundles       *bundle.Bundles
	Pool          *pool.Pool
	Version       string        // of Envoke, for /health
	MaxTimeout    time.Duration // the operator's limit of one execute
	MaxScript     int           // bytes of script_content
	MaxBody       int           // bytes of an execute's body
	SessionExpiry time.Duration
	Logger        *slog.Logger
	Registerer    prometheus.Registerer
}

// Host answers the HTTP requests of one runtime.
type Host struct {
	Options
	stages stages
}

// New makes a host. It does no I/O.
func New(options Options) *Host {
	return &Host{Options: options, stages: newStages(options.Registerer, options.Language)}
}

// Serve answers on the listener until ctx ends, then waits for the requests under
// way, at most as long as one execute may take.
func (h *Host) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    128 << 10,
		// Envoy ends idle connections; if we did, a request could meet the end.
		IdleTimeout: 0,
		// What net/http has to say is a panic, or a socket that broke.
		ErrorLog: slog.NewLogLogger(h.Logger.Handler(), slog.LevelError),
	}
	return httpserver.Serve(ctx, server, listener, h.MaxTimeout+time.Second)
}

const (
	initializePath = "/api/v1/initialize"
	executePath    = "/api/v1/execute"
)

// ServeHTTP finds the operation by hand: the path of an execute is the hot path.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, executePath+"/"):
		h.only(w, r, http.MethodPost, h.execute)
	case path == executePath:
		h.only(w, r, http.MethodPost, h.oneShot)
	case path == initializePath:
		h.only(w, r, http.MethodPost, h.initialize)
	case path == "/health":
		h.only(w, r, http.MethodGet, h.health)
	default:
		h.fail(w, r, &faas.Error{Code: faas.NotFound, Message: "no such path on this runtime host"})
	}
}

// only answers 405 to other methods, and the handler's error where there is one.
func (h *Host) only(w http.ResponseWriter, r *http.Request, method string, handle func(http.ResponseWriter, *http.Request) error) {
	if r.Method != method {
		w.Header().Set("Allow", method)
		h.fail(w, r, &faas.Error{
			Code: faas.InvalidRequest, Status: http.StatusMethodNotAllowed,
			Message: "this path takes " + method + " only",
		})
		return
	}
	if err := handle(w, r); err != nil {
		h.fail(w, r, err)
	}
}
