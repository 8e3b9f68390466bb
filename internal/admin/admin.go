// Package admin is what operators see of a process: metrics, liveness,
// readiness, inner state and profiles, over HTTP on a port of its own. It has no
// authentication and belongs on loopback or on a network of the operators' own.
package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readyTimeout bounds one question to Options.Ready: less than the second that
// Kubernetes gives a probe by default.
const readyTimeout = 900 * time.Millisecond

// Options are what a Server shows.
type Options struct {
	// Registry is what /metrics gathers.
	Registry *prometheus.Registry
	// Ready tells why the process cannot take requests now, or returns nil. Its
	// text is shown to operators. Its context ends after 900 ms.
	Ready func(context.Context) error
	// Scheme is that of the public port, http or https; empty: it is somebody else's.
	Scheme string
	// Debug has a function for each /debug/<name>; its result is shown as JSON.
	// Secrets are its business: it leaves them out.
	Debug map[string]func() any
	// Logs answers GET /logs. Nil: this process knows of no requests.
	Logs   http.Handler
	Logger *slog.Logger
	// Narrow leaves out all but /metrics, /healthz and /readyz without its reason, for a port
	// that others than operators reach.
	Narrow bool
}

// Server answers operators. It is an http.Handler.
type Server struct {
	options Options
	mux     *http.ServeMux
}

// New makes a server. A name of Options.Debug that is no single path segment, or
// is "pprof", is a programming error and panics.
func New(options Options) *Server {
	s := &Server{options: options, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /healthz", s.health)
	s.mux.HandleFunc("GET /readyz", s.ready)
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(options.Registry, promhttp.HandlerOpts{
		ErrorLog: s.errorLog(),
		// A collector that fails must not hide what the others say.
		ErrorHandling: promhttp.ContinueOnError,
	}))
	if !options.Narrow {
		s.handleInner(options)
	}
	return s
}

// handleInner has what tells more than how the process is.
func (s *Server) handleInner(options Options) {
	s.mux.HandleFunc("GET /{$}", s.index)
	if options.Logs != nil {
		s.mux.Handle("GET /logs", options.Logs)
	}
	for name, state := range options.Debug {
		if name == "" || name == "pprof" || strings.ContainsAny(name, "/{} ") {
			panic(fmt.Sprintf("admin: /debug/%s cannot be served", name))
		}
		s.mux.HandleFunc("GET /debug/"+name, func(w http.ResponseWriter, _ *http.Request) {
			s.reply(w, http.StatusOK, state())
		})
	}
	s.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	s.mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	s.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	s.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	s.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// ServeHTTP answers GET and HEAD, and no page of a web site that an operator's
// browser happens to show.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if reason := foreign(r); reason != "" {
		http.Error(w, reason, http.StatusForbidden)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	var text strings.Builder
	text.WriteString("/metrics       Prometheus text\n" +
		"/healthz       200 while the process lives\n" +
		"/readyz        200 when it can take requests, else 503 and the reason\n" +
		"/debug/pprof/  profiles\n")
	if s.options.Logs != nil {
		text.WriteString("/logs          the last requests and what functions printed; ?name=, session=, request_id=, status=, after=, limit=\n")
	}
	for _, name := range slices.Sorted(maps.Keys(s.options.Debug)) {
		text.WriteString("/debug/" + name + "\n")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	s.write(w, []byte(text.String()))
}

// status is the JSON of /healthz and /readyz.
type status struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	Scheme string `json:"scheme,omitempty"` // of the public port
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, status{Status: "alive"})
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := s.options.Ready(ctx); err != nil {
		unready := status{Status: "unready", Reason: err.Error()}
		if s.options.Narrow {
			unready.Reason = "" // it may name what is inside, such as the database's address
		}
		s.reply(w, http.StatusServiceUnavailable, unready)
		return
	}
	s.reply(w, http.StatusOK, status{Status: "ready", Scheme: s.options.Scheme})
}

func (s *Server) reply(w http.ResponseWriter, code int, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		http.Error(w, "encode: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	s.write(w, append(body, '\n'))
}

func (s *Server) write(w http.ResponseWriter, body []byte) {
	if _, err := w.Write(body); err != nil {
		s.options.Logger.Debug("write to an operator", "error", err)
	}
}
