package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"envoke/internal/rawio"
)

// dialWaiting connects a client of which a thread waits in the kernel for what it reads,
// for stallTimeout at most.
func dialWaiting(ctx context.Context, endpoint Endpoint) (*client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, endpoint.Network, endpoint.Address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", endpoint.Address, err)
	}
	socket, err := waitingSocket(conn, stallTimeout)
	if err := errors.Join(err, conn.Close()); err != nil {
		return nil, fmt.Errorf("dial %s: %w", endpoint.Address, err)
	}
	return newClient(ctx, socket, int(socket.fd), socket.interrupt), nil
}

// socket is a connected socket without Go's poller. Go's scheduler is told only of calls
// that wait: where it is told of all, it takes many for such and has another thread go
// on, which was a third of the generator's CPU time.
type socket struct {
	file *os.File
	fd   uintptr
}

// Read implements io.Reader.
func (s socket) Read(p []byte) (int, error) {
	if n, _ := rawio.Receive(s.fd, p); n > 0 {
		return n, nil
	}
	return s.file.Read(p)
}

// Write implements io.Writer.
func (s socket) Write(p []byte) (int, error) {
	n, _ := rawio.Send(s.fd, p)
	if n == len(p) {
		return n, nil
	}
	rest, err := s.file.Write(p[n:])
	return n + rest, err
}

// Close implements io.Closer. It does not end a read under way, as interrupt does.
func (s socket) Close() error { return s.file.Close() }

// interrupt has reads and writes, also those under way, return at once. It may come at
// any time, also after Close.
func (s socket) interrupt() {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}

// waitingSocket is the socket of a connection anew, without Go's poller, which the
// connection leaves when it is closed.
func waitingSocket(conn net.Conn, timeout time.Duration) (s socket, err error) {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return s, err
	}
	fd, failed := -1, error(nil)
	err = raw.Control(func(of uintptr) { fd, failed = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, os.NewSyscallError("fcntl", failed)); err != nil {
		return s, err
	}
	limit := unix.NsecToTimeval(timeout.Nanoseconds())
	err = errors.Join(
		os.NewSyscallError("fcntl", unix.SetNonblock(fd, false)),
		os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)),
		os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)),
	)
	return socket{os.NewFile(uintptr(fd), conn.RemoteAddr().String()), uintptr(fd)}, err
}
