package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"
)

// failure is what a worker is answered in place of a connection.
type failure struct {
	status  int
	outcome string // the metric's label
	text    string
}

// serve answers one request of a worker's.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	way := p.wayOf(r)
	if way == nil {
		w.Header().Set("Proxy-Authenticate", `Basic realm="envoke"`)
		p.fail(w, r, failure{http.StatusProxyAuthRequired, "unknown", "this is a proxy for functions: it takes nobody without the secret of HTTPS_PROXY"})
		return
	}
	to, err := targetOf(r)
	if err != nil {
		p.fail(w, r, failure{http.StatusBadRequest, "malformed", err.Error()})
		return
	}
	if !way.take() {
		p.fail(w, r, failure{http.StatusTooManyRequests, "limited", fmt.Sprintf("too many connections: a worker may have %d at once, and all have %d", p.opt.Limits.PerWorker, p.opt.Limits.All)})
		return
	}
	defer way.give()
	if r.Method == http.MethodConnect {
		p.connect(w, r, way, to)
		return
	}
	p.forward(w, r, way, to)
}

// wayOf is the way of the worker that knows its secret; nil: nobody does.
func (p *Proxy) wayOf(r *http.Request) *Way {
	claim := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	_, secret, _ := claim.BasicAuth()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ways[secret]
}

var errRequest = errors.New("a proxy takes CONNECT host:port, and other methods with a whole http:// URL")

func targetOf(r *http.Request) (target, error) {
	host := r.Host
	if r.Method != http.MethodConnect {
		if r.URL.Scheme != "http" || r.URL.Host == "" {
			return target{}, errRequest
		}
		host = r.URL.Host
		if r.URL.Port() == "" {
			host = net.JoinHostPort(r.URL.Hostname(), "80")
		}
	}
	to, err := parseTarget(host)
	if err != nil {
		return target{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	return to, nil
}

// connect makes a worker's connection one with the target.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request, way *Way, to target) {
	p.tunnels.Add(1) // the server waits no more for what is taken from it
	defer p.tunnels.Done()
	out, err := way.dial(r.Context(), to)
	if err != nil {
		p.fail(w, r, p.failureOf(way, to, err))
		return
	}
	defer func() { _ = out.Close() }()
	conn, early, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.fail(w, r, failure{http.StatusInternalServerError, "failed", "the connection cannot be handed over"})
		return
	}
	out.endWith(conn)
	_ = conn.SetDeadline(time.Time{}) // the watch over out is over both
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	p.metrics.requests.WithLabelValues("connected").Inc()
	join(out, conn.(*inward), early.Reader)
}

// join passes on what either side sends, and its end.
func join(out *outward, conn *inward, fromWorker *bufio.Reader) {
	var both sync.WaitGroup
	both.Go(func() {
		_, err := io.Copy(out, fromWorker)
		if err != nil || out.CloseWrite() != nil {
			_ = out.Close()
		}
	})
	_, err := io.Copy(conn, out)
	if err != nil || conn.CloseWrite() != nil {
		_ = out.Close()
	}
	both.Wait()
}

// forward asks the target in the worker's place. Each request has a connection of its own,
// so that nothing of one worker's is another's.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, way *Way, to target) {
	proxy := httputil.ReverseProxy{
		Rewrite: rewrite,
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return way.dialConn(ctx, to) },
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHead,
		},
		FlushInterval: -1, // at once
		ErrorLog:      slog.NewLogLogger(p.opt.Logger.Handler(), slog.LevelDebug),
		ModifyResponse: func(*http.Response) error {
			p.metrics.requests.WithLabelValues("connected").Inc()
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { p.fail(w, r, p.failureOf(way, to, err)) },
	}
	proxy.ServeHTTP(w, r)
}

// dialConn returns no interface that holds a nil pointer.
func (w *Way) dialConn(ctx context.Context, to target) (net.Conn, error) {
	out, err := w.dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rewrite leaves the request as the function made it, but for what is the proxy's.
func rewrite(r *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
}

// failureOf tells a worker, and operators, why it is not connected.
func (p *Proxy) failureOf(way *Way, to target, err error) failure {
	var refused *refusal
	if errors.As(err, &refused) {
		p.metrics.refused.WithLabelValues(refused.rule).Inc()
		if p.refused.take() {
			user := way.user()
			p.opt.Logger.Info("egress refused", "owner", user.Owner, "digest", user.Digest, "to", to.String(), "reason", refused.Error())
		}
		return failure{http.StatusForbidden, "refused", refused.Error()}
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return failure{http.StatusGatewayTimeout, "failed", "egress to " + to.String() + " timed out"}
	}
	return failure{http.StatusBadGateway, "failed", "egress to " + to.String() + " failed: " + causeOf(err)}
}

// causeOf leaves out addresses of this machine.
func causeOf(err error) string {
	var name *net.DNSError
	if errors.As(err, &name) {
		return name.Err
	}
	var operation *net.OpError
	if errors.As(err, &operation) {
		return operation.Err.Error()
	}
	return err.Error()
}

// fail answers with a text. To CONNECT the status line has it too: clients read no more.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, f failure) {
	p.metrics.requests.WithLabelValues(f.outcome).Inc()
	f.text = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, f.text)
	if r.Method != http.MethodConnect || f.status == http.StatusProxyAuthRequired {
		http.Error(w, f.text, f.status)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, f.text, f.status)
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(headTimeout))
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", f.status, f.text, len(f.text), f.text)
}

// budget bounds the log's lines of each second.
type budget struct {
	mu    sync.Mutex // guards what follows
	until time.Time
	used  int
}

const maxLines = 10 // a second; metrics count all

func (b *budget) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); now.After(b.until) {
		b.until, b.used = now.Add(time.Second), 0
	}
	b.used++
	return b.used <= maxLines
}
