package egress

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// outward is a connection to where a function wanted. It ends when nothing has passed on
// it for long, and in any case when it is old.
type outward struct {
	net.Conn // no more of its methods: io.Copy must use Read and Write of this type
	way      *Way
	to       target
	began    time.Time
	last     atomic.Int64 // when something passed: nanoseconds since 1970
	in, out  atomic.Int64 // bytes
	watch    *time.Timer
	closeOne sync.Once

	mu   sync.Mutex // guards what follows
	also net.Conn   // the worker's, which ends with it; nil: none
	shut bool
}

// dial connects to a target, by the first of its addresses that answers. What is refused
// is a *refusal.
func (w *Way) dial(ctx context.Context, to target) (*outward, error) {
	p := w.proxy
	if err := p.opt.Rules.refuseName(to); err != nil {
		return nil, err
	}
	began := time.Now()
	dialer := net.Dialer{
		Timeout:  p.opt.Limits.Connect,
		Resolver: p.resolver,
		// It is called with the address that the next system call connects to.
		Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return p.opt.Rules.refuse(to, at, p.isOwn)
		},
	}
	conn, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	p.metrics.connect.Observe(time.Since(began).Seconds())
	o := &outward{Conn: conn, way: w, to: to, began: began}
	o.last.Store(time.Now().UnixNano())
	return o, w.keep(o)
}

// keep makes a connection end with its worker.
func (w *Way) keep(o *outward) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = o.Conn.Close()
		return net.ErrClosed
	}
	w.open[o] = struct{}{}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watch = time.AfterFunc(o.left(), o.look)
	return nil
}

// left is for how long the connection may be left alone.
func (o *outward) left() time.Duration {
	limits := o.way.proxy.opt.Limits
	idle := limits.Idle - time.Since(time.Unix(0, o.last.Load()))
	return min(idle, limits.Total-time.Since(o.began))
}

// look ends the connection when its time has come.
func (o *outward) look() {
	left := o.left()
	if left <= 0 {
		_ = o.Close()
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.shut {
		o.watch.Reset(left)
	}
}

// endWith makes a worker's connection end with this one.
func (o *outward) endWith(conn net.Conn) {
	o.mu.Lock()
	o.also = conn
	shut := o.shut
	o.mu.Unlock()
	if shut {
		_ = conn.Close()
	}
}

func (o *outward) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	o.passed(&o.in, n)
	return n, err
}

func (o *outward) Write(b []byte) (int, error) {
	n, err := o.Conn.Write(b)
	o.passed(&o.out, n)
	return n, err
}

// CloseWrite tells the target that the function sends no more.
func (o *outward) CloseWrite() error { return o.Conn.(*net.TCPConn).CloseWrite() }

func (o *outward) passed(bytes *atomic.Int64, n int) {
	bytes.Add(int64(n))
	o.last.Store(time.Now().UnixNano())
}

// Close ends both connections.
func (o *outward) Close() error {
	err := o.Conn.Close()
	o.mu.Lock()
	o.shut = true
	o.watch.Stop()
	also := o.also
	o.mu.Unlock()
	if also != nil {
		_ = also.Close()
	}
	o.closeOne.Do(o.forget)
	return err
}

func (o *outward) forget() {
	w, m := o.way, o.way.proxy.metrics
	w.mu.Lock()
	delete(w.open, o)
	w.mu.Unlock()
	m.in.Add(float64(o.in.Load()))
	m.out.Add(float64(o.out.Load()))
	user := w.user()
	w.proxy.opt.Logger.Debug("egress ended", "owner", user.Owner, "digest", user.Digest, "to", o.to.String(),
		"bytes_in", o.in.Load(), "bytes_out", o.out.Load(), "duration", time.Since(o.began))
}
