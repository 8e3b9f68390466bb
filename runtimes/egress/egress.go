// Package egress is the way out of functions that have a network: a proxy for HTTP and,
// by CONNECT, for whatever runs over a connection. It listens on loopback, and the
// kernel lets workers connect to nothing else. It resolves names itself and decides by the
// very address that it connects to, so that no name can mean one address when it is
// checked and another one afterwards. What is no public host's it refuses, unless the
// operator's Rules say otherwise.
package egress

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/internal/httpserver"
)

// Limits of what functions take of the proxy. A zero field means its default.
type Limits struct {
	PerWorker int           // connections of one worker at once; 64
	All       int           // connections at once; 1024
	Connect   time.Duration // resolving and connecting; 10 s
	Idle      time.Duration // of a connection on which nothing passes; 2 min
	Total     time.Duration // of a connection; 1 h
}

const (
	maxHead     = 64 << 10 // bytes of the head of a request, or of a reply to one
	headTimeout = 10 * time.Second
	keepAlive   = 30 * time.Second // of a worker's connection between two requests
	stopGrace   = time.Second
	// perConnection is how many connections workers may hold for each that is theirs: of
	// those that wait for a request, none counts.
	perConnection = 4
)

// Options configures a Proxy.
type Options struct {
	Rules      Rules
	Limits     Limits
	Logger     *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: no metrics
}

// Proxy lets workers out.
type Proxy struct {
	opt      Options
	listener net.Listener
	metrics  *metrics
	refused  budget
	tunnels  sync.WaitGroup
	resolver *net.Resolver // nil: this machine's

	mu     sync.Mutex // guards what follows
	closed bool
	ways   map[string]*Way // by their secrets
	taken  int             // connections
	own    map[uint16]struct{}
}

// Open listens on a free port of 127.0.0.1. Serve closes it.
func Open(ctx context.Context, opt Options) (*Proxy, error) {
	setDefault(&opt.Limits.PerWorker, 64)
	setDefault(&opt.Limits.All, 1024)
	setDefault(&opt.Limits.Connect, 10*time.Second)
	setDefault(&opt.Limits.Idle, 2*time.Minute)
	setDefault(&opt.Limits.Total, time.Hour)
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for functions' connections: %w", err)
	}
	p := &Proxy{opt: opt, listener: listener, ways: make(map[string]*Way), own: make(map[uint16]struct{})}
	p.metrics = newMetrics(opt.Registerer, p)
	p.Own(p.Port())
	return p, nil
}

func setDefault[T int | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Port is the port of 127.0.0.1 that workers connect to.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Own makes a port of this machine one that no function reaches unless a rule names it.
func (p *Proxy) Own(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own[uint16(port)] = struct{}{}
}

// isOwn tells whether it is a port of ours, by whatever address this machine has.
func (p *Proxy) isOwn(at netip.AddrPort) bool {
	p.mu.Lock()
	_, ok := p.own[at.Port()]
	p.mu.Unlock()
	if !ok {
		return false
	}
	if at.Addr().IsLoopback() || at.Addr().IsUnspecified() {
		return true
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return true // nobody knows
	}
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil && prefix.Addr().Unmap() == at.Addr() {
			return true
		}
	}
	return false
}

// Serve lets workers out until the context ends, and then ends all their connections.
func (p *Proxy) Serve(ctx context.Context) error {
	server := &http.Server{
		Handler:           http.HandlerFunc(p.serve),
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       keepAlive,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          slog.NewLogLogger(p.opt.Logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx }, // nothing outlives it
	}
	ended := make(chan struct{})
	defer func() { <-ended }()
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		p.closeAll()
	})
	err := httpserver.Serve(ctx, server, doors{
		Listener: p.listener, places: make(chan struct{}, perConnection*p.opt.Limits.All),
		full: p.metrics.requests.WithLabelValues("limited").Inc,
	}, stopGrace)
	if stop() { // it ended by itself
		p.closeAll()
		close(ended)
	}
	p.tunnels.Wait()
	return err
}

func (p *Proxy) closeAll() {
	p.mu.Lock()
	p.closed = true
	ways := make([]*Way, 0, len(p.ways))
	for _, w := range p.ways {
		ways = append(ways, w)
	}
	p.mu.Unlock()
	for _, w := range ways {
		w.Close()
	}
}

// User is whose worker it is: what its connections are counted and logged for.
type User struct {
	Owner  string
	Digest faas.Digest
}

// Way is one worker's way out.
type Way struct {
	proxy  *Proxy
	secret string
	user   func() User

	mu     sync.Mutex // guards what follows
	closed bool
	taken  int                   // connections
	open   map[*outward]struct{} // those that are made
}

// Let lets one more worker out, until its Way is closed. User is asked at each
// connection: a worker may get its function after its way.
func (p *Proxy) Let(user func() User) *Way {
	w := &Way{proxy: p, secret: rand.Text(), user: user, open: make(map[*outward]struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.closed = p.closed; !w.closed {
		p.ways[w.secret] = w
	}
	return w
}

// Env is what the worker finds its way by. It names the worker to the proxy, so no other
// worker may see it.
func (w *Way) Env() []string {
	url := "http://worker:" + w.secret + "@127.0.0.1:" + strconv.Itoa(w.proxy.Port())
	return []string{"HTTP_PROXY=" + url, "HTTPS_PROXY=" + url, "http_proxy=" + url, "https_proxy=" + url}
}

// Close ends the worker's connections, and lets it make no more.
func (w *Way) Close() {
	p := w.proxy
	p.mu.Lock()
	delete(p.ways, w.secret)
	p.mu.Unlock()
	w.mu.Lock()
	w.closed = true
	open := make([]*outward, 0, len(w.open))
	for conn := range w.open {
		open = append(open, conn)
	}
	w.mu.Unlock()
	for _, conn := range open {
		_ = conn.Close()
	}
}

// take counts a connection that is about to be made, for give to give back. It is false
// where there are too many.
func (w *Way) take() bool {
	p := w.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.taken >= p.opt.Limits.PerWorker || p.taken >= p.opt.Limits.All {
		return false
	}
	w.taken++
	p.taken++
	return true
}

func (w *Way) give() {
	p := w.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken--
	p.taken--
}

// connections counts those under way.
func (p *Proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}
