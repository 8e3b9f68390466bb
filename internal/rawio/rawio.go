// Package rawio reads and writes sockets without telling Go's scheduler of each call.
//
// The scheduler holds a call that takes more than 20 µs for one that waits, and has
// another thread go on. On a busy machine many a call on a socket takes that long, though
// none of a non-blocking one waits: its peer is woken by it and has the core first. The
// threads that come and go so were a sixth of what a runtime host's process took for a
// plain execute.
package rawio

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Receive is recv(2), without waiting. A socket that has ended gives 0 and no error.
func Receive(fd uintptr, p []byte) (int, syscall.Errno) {
	n, err := transfer(unix.SYS_RECVFROM, fd, p)
	received(fd)
	return n, err
}

// Send is send(2), without waiting and without a signal where nobody reads.
func Send(fd uintptr, p []byte) (int, syscall.Errno) {
	sent(fd)
	return transfer(unix.SYS_SENDTO, fd, p)
}

func transfer(call, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, err := unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), //nolint:gosec // as long as the call
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch err {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}

// Stream is a connected stream socket. One goroutine may read while one writes. Waits are
// those of Go's poller: deadlines hold, and Close ends them. Errors but io.EOF are
// *net.OpError.
type Stream struct {
	raw  syscall.RawConn
	in   half
	out  half
	recv func(fd uintptr) (done bool)
	send func(fd uintptr) (done bool)
}

// half is a read or a write under way.
type half struct {
	p   []byte
	n   int
	err syscall.Errno // 0: none
}

// NewStream takes a socket that Go's poller knows, as those of package net.
func NewStream(socket syscall.Conn) (*Stream, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Stream{raw: raw}
	s.recv, s.send = s.receiveOnce, s.sendAll // made once: each would be an allocation
	return s, nil
}

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.in = half{p: p}
	err := s.raw.Read(s.recv)
	n := s.in.n
	switch {
	case err != nil:
		return 0, failed("read", err)
	case s.in.err != 0:
		return 0, failed("read", os.NewSyscallError("recv", s.in.err))
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (s *Stream) receiveOnce(fd uintptr) bool {
	s.in.n, s.in.err = Receive(fd, s.in.p)
	return s.in.err != unix.EAGAIN
}

// Write implements io.Writer.
func (s *Stream) Write(p []byte) (int, error) {
	s.out = half{p: p}
	err := s.raw.Write(s.send)
	n := s.out.n
	switch {
	case err != nil:
		return n, failed("write", err)
	case s.out.err != 0:
		return n, failed("write", os.NewSyscallError("send", s.out.err))
	}
	return n, nil
}

// failed makes each error a *net.OpError, as those of package net are already.
func failed(op string, err error) error {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return err
	}
	return &net.OpError{Op: op, Net: "socket", Err: err}
}

func (s *Stream) sendAll(fd uintptr) bool {
	for s.out.n < len(s.out.p) {
		n, err := Send(fd, s.out.p[s.out.n:])
		switch {
		case err == unix.EAGAIN:
			return false
		case err != 0:
			s.out.err = err
			return true
		}
		s.out.n += n
	}
	return true
}

// Listener has the connections that it accepts read and written by Streams.
type Listener struct{ net.Listener }

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return NewConn(conn), nil
}

// NewConn has a connection read and written by a Stream, if it is a socket's.
func NewConn(conn net.Conn) net.Conn {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	stream, err := NewStream(socket)
	if err != nil {
		return conn // it is closed, and says so
	}
	return &streamConn{Conn: conn, stream: stream}
}

type streamConn struct {
	net.Conn
	stream *Stream
}

func (c *streamConn) Read(p []byte) (int, error)  { return c.stream.Read(p) }
func (c *streamConn) Write(p []byte) (int, error) { return c.stream.Write(p) }

// SyscallConn implements syscall.Conn.
func (c *streamConn) SyscallConn() (syscall.RawConn, error) { return c.stream.raw, nil }

// CloseWrite ends what is written, as that of package net.
func (c *streamConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
