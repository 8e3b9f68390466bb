package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"envoke/internal/rawio"
	"envoke/runtimes/bundle"
)

const (
	// watchEvery is how often connections are looked at: a caller that went away is
	// noticed at most that much too late.
	watchEvery = 100 * time.Millisecond
	// headTimeout ends a connection whose request's head does not come to its end.
	headTimeout = 10 * time.Second

	// What is read after a reply that came before its request's end, so that the
	// peer reads the reply before it learns that nobody reads the rest.
	lingerTimeout = 500 * time.Millisecond
	lingerBytes   = 8 << 20
)

// conns are the connections of a listener. fasthttp tells nobody when a caller goes
// away, and spends a timer on each deadline; one look at all connections, ten times a
// second, costs less than either would for each request.
type conns struct {
	listener net.Listener
	server   *fasthttp.Server
	serving  sync.WaitGroup

	mu   sync.Mutex
	open map[*conn]struct{}
}

func newConns(listener net.Listener, server *fasthttp.Server) *conns {
	return &conns{listener: listener, server: server, open: make(map[*conn]struct{})}
}

// serve answers until ctx ends, then waits for the requests under way.
func (l *conns) serve(ctx context.Context, grace time.Duration) error {
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { l.watch(ended) })
	defer watching.Wait()
	defer close(ended)
	closed := context.AfterFunc(ctx, func() { _ = l.listener.Close() })
	err := l.accept()
	if closed() {
		_ = l.listener.Close() // it ended by itself
	} else {
		err = nil
	}
	return errors.Join(err, l.drain(grace))
}

func (l *conns) accept() error {
	for {
		inner, err := l.listener.Accept()
		if err != nil {
			return err
		}
		c := l.add(inner)
		// What it returns is a socket that broke: its peer knows.
		l.serving.Go(func() { _ = l.server.ServeConn(c) })
	}
}

func (l *conns) add(inner net.Conn) *conn {
	ctx, cancel := context.WithCancel(context.Background())
	c := &conn{Conn: rawio.NewConn(inner), owner: l, ctx: ctx, cancel: cancel}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = struct{}{}
	return c
}

// drain ends each connection when its request under way is answered.
func (l *conns) drain(grace time.Duration) error {
	done := make(chan struct{})
	go func() { l.serving.Wait(); close(done) }()
	timeout := time.NewTimer(grace)
	defer timeout.Stop()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		l.endIdle()
		select {
		case <-done:
			return nil
		case <-timeout.C:
			defer func() { <-done }()
			return l.cutOff()
		case <-tick.C: // an answer that had begun by then is out now
		}
	}
}

// endIdle ends the connections that wait for a request.
func (l *conns) endIdle() {
	for _, c := range l.list() {
		if c.since.Load() == 0 {
			_ = c.Conn.Close()
		}
	}
}

// cutOff ends all connections at once.
func (l *conns) cutOff() error {
	all := l.list()
	for _, c := range all {
		c.cancel()
		_ = c.Conn.Close()
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%d requests under way were cut off", len(all))
}

func (l *conns) list() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.open))
}

// watch looks at the connections until done is closed.
func (l *conns) watch(done <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			for _, c := range l.list() {
				c.look(now)
			}
		}
	}
}

// conn is a connection. Its context ends when the peer has gone away, or with it.
type conn struct {
	net.Conn
	owner  *conns
	ctx    context.Context //nolint:containedctx // it is the connection's life
	cancel context.CancelFunc

	since   atomic.Int64 // when its request's first bytes came, in Unix nanoseconds; 0: it waits for one
	serving atomic.Bool  // the head of the request has come

	// The serving goroutine's.
	unread  bool            // the body was not read to its end
	timing  timing          // of the request
	header  []byte          // that tells it; reused
	session *bundle.Session // that the request runs; nil: not known yet
}

// changed is told by fasthttp when a request begins to come and when it is answered.
func changed(nc net.Conn, state fasthttp.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state { //nolint:exhaustive // the others begin and end the connection
	case fasthttp.StateActive:
		c.since.Store(time.Now().UnixNano())
	case fasthttp.StateIdle:
		c.serving.Store(false)
		c.since.Store(0)
	}
}

// look ends what has gone or takes too long.
func (c *conn) look(now time.Time) {
	since := c.since.Load()
	age := now.Sub(time.Unix(0, since))
	switch {
	case since == 0 || age < watchEvery:
	case !c.serving.Load():
		if age > headTimeout {
			_ = c.Conn.Close()
		}
	case hungUp(c.Conn):
		c.cancel()
	}
}

// hungUp tells whether the peer has closed the connection. It reads nothing.
func hungUp(c net.Conn) bool {
	if secured, ok := c.(interface{ NetConn() net.Conn }); ok {
		return halfClosed(secured.NetConn())
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	var (
		n    int
		next [1]byte
	)
	control := raw.Control(func(fd uintptr) {
		n, _, err = unix.Recvfrom(int(fd), next[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	if control != nil {
		return true
	}
	return n == 0 && err == nil || errors.Is(err, unix.ECONNRESET)
}

// halfClosed is hungUp of a connection with TLS, whose peer says goodbye before it closes: what
// there is to read does not tell that it is gone.
func halfClosed(c net.Conn) bool {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	var gone int16
	control := raw.Control(func(fd uintptr) {
		asked := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if _, err := unix.Poll(asked, 0); err == nil {
			gone = asked[0].Revents & (unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR)
		}
	})
	return control != nil || gone != 0
}

// Close ends the connection. Where a body was left unread, the peer is first given
// time to read the reply.
func (c *conn) Close() error {
	c.cancel()
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.unread && half.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(lingerTimeout))
		_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
	}
	return c.Conn.Close()
}
