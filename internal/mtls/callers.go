package mtls

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// firstByteTimeout bounds what a caller may take to say anything at all.
	firstByteTimeout = 2 * time.Second
	// maxHandshakes bounds the callers that have not shown yet who they are, and maxSilent
	// those from one address that have said nothing for longer than courtesy. Envoy may open
	// hundreds of connections at once, and takes its time to begin a handshake on each.
	maxHandshakes = 512
	maxSilent     = 64
	courtesy      = 500 * time.Millisecond
)

// errDisplaced is why a caller was closed that had to give its place to another.
var errDisplaced = errors.New("its place was needed")

// caller is a connection whose other end has not shown yet who it is.
type caller struct {
	conn   net.Conn
	from   netip.Addr
	came   time.Time
	spoke  bool
	closed bool // it had to give its place to another
}

// callers are those that a port waits for. Who says nothing gives its place to who comes later,
// so that nobody can take all places by doing nothing.
type callers struct {
	mu    sync.Mutex
	order []*caller // by when they came
}

// enter takes a caller in. Where there is no place, another loses its own.
func (all *callers) enter(conn net.Conn) *caller {
	c := &caller{conn: conn, from: origin(conn), came: time.Now()}
	all.mu.Lock()
	defer all.mu.Unlock()
	silent := 0
	for _, other := range all.order {
		if other.from == c.from && other.mute(c.came) {
			silent++
		}
	}
	if silent >= maxSilent {
		if at := all.silent(c.from); at >= 0 && all.order[at].mute(c.came) {
			all.displace(at)
		}
	}
	if len(all.order) >= maxHandshakes {
		all.displace(all.victim(c.came))
	}
	all.order = append(all.order, c)
	return c
}

// mute tells whether a caller has said nothing for longer than is fair.
func (c *caller) mute(now time.Time) bool { return !c.spoke && now.Sub(c.came) > courtesy }

// victim is who goes where there is no place: the one that has been silent for longest, of the
// address with most of such, if that is longer than fair. Otherwise it is one of the address
// with most callers, so that who comes from elsewhere has the time to begin.
func (all *callers) victim(now time.Time) int {
	for {
		from, n := all.crowd(func(c *caller) bool { return c.mute(now) })
		if n == 0 {
			break
		}
		if at := all.silent(from); at >= 0 {
			return at
		}
	}
	from, _ := all.crowd(func(*caller) bool { return true })
	if at := all.silent(from); at >= 0 {
		return at
	}
	return slices.IndexFunc(all.order, func(c *caller) bool { return c.from == from })
}

// silent finds the one from an address that has been silent for longest; -1: all have spoken.
// What a caller has sent may wait for a processor to be read.
func (all *callers) silent(from netip.Addr) int {
	return slices.IndexFunc(all.order, func(c *caller) bool {
		if c.spoke || c.from != from {
			return false
		}
		c.spoke = waits(c.conn)
		return !c.spoke
	})
}

// crowd is the address with most callers of a kind, and their number.
func (all *callers) crowd(of func(*caller) bool) (from netip.Addr, n int) {
	counts := map[netip.Addr]int{}
	for _, c := range all.order {
		if !of(c) {
			continue
		}
		counts[c.from]++
		if counts[c.from] > n {
			from, n = c.from, counts[c.from]
		}
	}
	return from, n
}

func (all *callers) displace(at int) {
	c := all.order[at]
	c.closed = true
	_ = c.conn.Close()
	all.order = slices.Delete(all.order, at, at+1)
}

// speaks notes that a caller has said something.
func (all *callers) speaks(c *caller) {
	all.mu.Lock()
	defer all.mu.Unlock()
	c.spoke = true
}

// leave frees the place of a caller. It tells what became of it meanwhile.
func (all *callers) leave(c *caller) (displaced, spoke bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if at := slices.Index(all.order, c); at >= 0 {
		all.order = slices.Delete(all.order, at, at+1)
	}
	return c.closed, c.spoke
}

// origin is the address of a caller. In IPv6 one machine has as many as it likes of a network.
func origin(conn net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	from := at.Addr().Unmap().WithZone("")
	if from.Is6() {
		if network, err := from.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return from
}

// peek tells whether there is something to read, or the end of it, and reads nothing.
func peek(fd uintptr) bool {
	var next [1]byte
	_, _, err := unix.Recvfrom(int(fd), next[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
}

// waits tells whether a caller has sent something.
func waits(conn net.Conn) (sent bool) {
	if raw, err := rawOf(conn); err == nil {
		_ = raw.Control(func(fd uintptr) { sent = peek(fd) })
	}
	return sent
}

// awaitFirst waits until a caller says something.
func awaitFirst(ctx context.Context, conn net.Conn) error {
	raw, err := rawOf(conn)
	if err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(firstByteTimeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = raw.Read(peek)
	if !stop() {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return conn.SetReadDeadline(time.Time{})
}

func rawOf(conn net.Conn) (syscall.RawConn, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("it is no socket")
	}
	return socket.SyscallConn()
}
