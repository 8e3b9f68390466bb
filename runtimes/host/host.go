// Package host is the server of a runtime: it takes initialize and execute from
// Envoy, finds the session's bundle, runs the function in the worker that owns it
// and writes every reply's envelope. One Host serves one language; what differs
// between languages is in the workers.
package host

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
	"envoke/runtimes/frame"
	"envoke/runtimes/pool"
)

// DefaultTimeout is an execute's deadline where neither the session nor the
// function says another (api.md).
const DefaultTimeout = 30 * time.Second

// MaxContext bounds the JSON of a session's context, in bytes.
const MaxContext = 1 << 20

// Engine runs code. pool.Pool, whose documentation says what the methods promise,
// does so in worker processes.
type Engine interface {
	Check(context.Context, faas.Script) (frame.Form, error)
	Load(context.Context, pool.Work) error
	Invoke(context.Context, pool.Work, pool.Invocation) (pool.Result, error)
	Stats() pool.Stats
}

// Options are what a Host needs. All fields are required that do not say otherwise.
type Options struct {
	Language      faas.Language
	Bundles       *bundle.Bundles
	Engine        Engine
	Version       string        // of Envoke, for /health
	MaxTimeout    time.Duration // the operator's limit of one execute
	MaxScript     int           // bytes of script_content
	MaxBody       int           // bytes of an execute's body
	MaxMemoryMB   int           // of one worker, in MiB
	MaxCPU        time.Duration // of one call; 0: no limit
	SessionExpiry time.Duration
	// BuildWait is how long an initialize waits for its code to be built before the session
	// is pending; 0: DefaultBuildWait.
	BuildWait time.Duration
	// Patience is how long calls wait for their turns at most where more come than are served
	// (queue.Queue). 0: until their deadlines.
	Patience time.Duration
	// Concurrency is how many calls of a function run at once at most, whatever its own limit,
	// where the engine has no queue for each function. 0: as many as come.
	Concurrency int
	// NoEgress says why a function gets no network here, a registered one or a caller's
	// own script; empty: it does, if it wants one.
	NoEgress func(registered bool) string
	// NoDependencies says why functions here depend on no packages; empty: they may.
	NoDependencies string
	// NoRetain says why sessions here retain no context; empty: they do, if they want to.
	NoRetain string
	// Failed hears of each request that is answered by an error.
	Failed func(faas.Failure)
	// Exchanges hear of each request that ran a function; nil: nobody wants to know.
	Exchanges  *Exchanges
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Host answers the HTTP requests of one runtime.
type Host struct {
	Options
	bodies bodies
	stages stages
	gates  gates
	rates  *rates
	builds *builds
	calls  atomic.Int64 // under way
}

// New makes a host. It does no I/O.
func New(options Options) *Host {
	h := &Host{
		Options: options,
		bodies:  newBodies(options.Registerer, options.Language),
		stages:  newStages(options.Registerer, options.Language),
		rates:   newRates(options.Registerer, options.Language),
		builds:  newBuilds(),
		gates:   gates{patience: options.Patience, refused: measureGates(options.Registerer, options.Language)},
	}
	measureBuilds(options.Registerer, options.Language, h.builds.count)
	measureCalls(options.Registerer, options.Language, func() float64 { return float64(h.calls.Load()) })
	return h
}

// maxHead bounds a request's line and headers, in bytes: Envoy lets 60 KiB pass and
// adds some. Each connection has a buffer of this size.
const maxHead = 68 << 10

// Serve answers on the listener until ctx ends, then waits for the requests under
// way, at most as long as one execute may take; what is left then is cut off and an
// error. Builds that are pending end then: sessions that want them find no host that has
// them, and begin them again. It closes the listener. A host serves once.
func (h *Host) Serve(ctx context.Context, listener net.Listener) error {
	defer h.builds.end()
	return newConns(listener, h.server()).serve(ctx, h.MaxTimeout+time.Second)
}

func (h *Host) server() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      h.serve,
		ErrorHandler:                 h.refuse,
		ConnState:                    changed,
		StreamRequestBody:            true, // handlers read bodies, under their own limits
		DisablePreParseMultipartForm: true,
		MaxRequestBodySize:           h.maxInitialize(),
		ReadBufferSize:               maxHead,
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true, // Envoy's is the one that callers see
		NoDefaultContentType:         true,
		// Deadlines are conns's. Envoy ends idle connections: if we did, a request
		// could meet the end.
		Logger: slog.NewLogLogger(h.Logger.Handler(), slog.LevelDebug),
	}
}

const (
	initializePath = "/api/v1/initialize"
	executePath    = "/api/v1/execute"
)

var executePrefix = []byte(executePath + "/")

// serve finds the operation by hand: the path of an execute is the hot path.
func (h *Host) serve(c *fasthttp.RequestCtx) {
	c.Conn().(*conn).serving.Store(true)
	defer h.recovered(c)
	routed := len(c.Request.Header.Peek(faas.RouteHeader)) > 0
	if !routed && bytes.HasPrefix(c.URI().PathOriginal(), executePrefix) { // before the path is copied
		h.only(c, http.MethodPost, h.execute)
		return
	}
	if err := callerOf(c).check(); err != nil {
		h.fail(c, faas.AsError(err))
		return
	}
	if routed {
		h.answer(c, h.invokeRouted)
		return
	}
	h.route(c, string(c.URI().PathOriginal()))
}

func (h *Host) route(c *fasthttp.RequestCtx, path string) {
	switch {
	case path == executePath:
		h.only(c, http.MethodPost, h.oneShot)
	case strings.HasPrefix(path, functionPath):
		h.answer(c, h.invokeHTTP)
	case strings.HasPrefix(path, runtimePath):
		h.only(c, http.MethodPost, h.invokeFunction)
	case path == protocolPath:
		h.only(c, http.MethodPost, h.executeProtocol)
	case path == initializePath:
		h.only(c, http.MethodPost, h.initialize)
	case path == checkPath:
		h.only(c, http.MethodPost, h.check)
	case path == "/health":
		h.only(c, http.MethodGet, h.health)
	default:
		h.fail(c, &faas.Error{Code: faas.NotFound, Message: "no such path on this runtime host"})
	}
}

type handler = func(context.Context, *fasthttp.RequestCtx) error

// only answers 405 to other methods.
func (h *Host) only(c *fasthttp.RequestCtx, method string, handle handler) {
	if string(c.Method()) == method {
		h.answer(c, handle)
		return
	}
	c.Response.Header.Set("Allow", method)
	h.fail(c, &faas.Error{
		Code: faas.InvalidRequest, Status: http.StatusMethodNotAllowed,
		Message: "this path takes " + method + " only",
	})
}

// answer answers the handler's error where there is one, and tells where the time went.
func (h *Host) answer(c *fasthttp.RequestCtx, handle handler) {
	connection := c.Conn().(*conn)
	connection.timing, connection.session = newTiming(c.Time()), nil
	if err := handle(connection.ctx, c); err != nil {
		h.failed(c, err)
		h.fail(c, err)
		connection.timing.last = time.Now()
	}
	connection.timing.announce(c)
}
