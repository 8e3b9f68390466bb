package mtls

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// handshakeTimeout bounds what a caller may take to show who it is.
	handshakeTimeout = 5 * time.Second
	// acceptPause is what a port waits that has no file descriptors left.
	acceptPause = 50 * time.Millisecond
)

// Port is one TCP port for both protocols: who connects shows a certificate and asks for one
// of them (ALPN), and the connection goes to the listener of that protocol.
type Port struct {
	inner  net.Listener
	config *tls.Config
	logger *slog.Logger
	taken  *prometheus.CounterVec

	branches map[string]*branch
	callers  callers
	running  sync.WaitGroup
	open     atomic.Int32 // branches
}

// PortOptions make a Port. All are required.
type PortOptions struct {
	Listener   net.Listener
	Identity   *Identity
	Allowed    Allowed
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// NewPort makes a port that Serve serves.
func NewPort(o PortOptions) *Port {
	p := &Port{
		inner: o.Listener, config: o.Identity.Server(o.Allowed), logger: o.Logger,
		taken: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_tls_connections_total",
			Help: "Connections to this part's port, by outcome; refused: no certificate of ours or of a wanted role; silent: closed, since nothing was said in time or others needed the place; dropped: too many at once.",
		}, []string{"outcome"}),
		branches: map[string]*branch{},
	}
	o.Registerer.MustRegister(p.taken)
	for protocol := range o.Allowed {
		p.branches[protocol] = &branch{port: p, conns: make(chan net.Conn), closed: make(chan struct{})}
	}
	p.open.Store(int32(len(p.branches)))
	return p
}

// Of is the listener of one of the allowed protocols.
func (p *Port) Of(protocol string) net.Listener { return p.branches[protocol] }

// Serve takes connections until ctx ends or both listeners are closed, and closes the port.
func (p *Port) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.inner.Close() })
	defer stop()
	defer p.running.Wait()
	defer p.close()
	for {
		conn, err := p.inner.Accept()
		var temporary net.Error
		switch {
		case err == nil:
			p.take(ctx, conn)
		case errors.Is(err, net.ErrClosed):
			<-ctx.Done()
			return nil
		case errors.As(err, &temporary) && temporary.Temporary(): //nolint:staticcheck // no descriptors left
			p.logger.Warn("cannot take connections", "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(acceptPause):
			}
		default:
			return err
		}
	}
}

// close ends the listeners, so that no handshake waits for who takes its connection.
func (p *Port) close() {
	for _, b := range p.branches {
		_ = b.Close()
	}
}

func (p *Port) take(ctx context.Context, conn net.Conn) {
	c := p.callers.enter(conn)
	p.running.Go(func() {
		b, secured, err := p.handshake(ctx, c)
		displaced, spoke := p.callers.leave(c)
		if displaced {
			err = errDisplaced
		}
		if err != nil {
			outcome := "refused"
			switch {
			case !spoke:
				outcome = "silent"
			case displaced:
				outcome = "dropped"
			}
			p.taken.WithLabelValues(outcome).Inc()
			p.logger.Debug("refused a connection", "from", conn.RemoteAddr(), "error", err)
			_ = conn.Close()
			return
		}
		p.taken.WithLabelValues("taken").Inc()
		b.give(secured)
	})
}

func (p *Port) handshake(ctx context.Context, c *caller) (*branch, *tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	limitSilence(c.conn)
	if err := awaitFirst(ctx, c.conn); err != nil {
		return nil, nil, err
	}
	p.callers.speaks(c)
	secured := tls.Server(c.conn, p.config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	b := p.branches[secured.ConnectionState().NegotiatedProtocol]
	if b == nil {
		return nil, nil, errors.New("it asked for no protocol that is spoken here")
	}
	return b, secured, nil
}

// branch is the listener of one protocol.
type branch struct {
	port   *Port
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (b *branch) give(conn net.Conn) {
	select {
	case b.conns <- conn:
	case <-b.closed:
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (b *branch) Accept() (net.Conn, error) {
	select {
	case conn := <-b.conns:
		return conn, nil
	case <-b.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The port ends with the last of its listeners: who connects
// then is refused at once.
func (b *branch) Close() error {
	b.once.Do(func() {
		close(b.closed)
		if b.port.open.Add(-1) == 0 {
			_ = b.port.inner.Close()
		}
	})
	return nil
}

// Addr implements net.Listener.
func (b *branch) Addr() net.Addr { return b.port.inner.Addr() }
