package rawio_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"envoke/internal/rawio"
)

// pair is two ends of a connection on a Unix socket, or on TCP; the first one is ours.
func pair(t *testing.T, network string) (ours, theirs net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if theirs, err = new(net.Dialer).DialContext(t.Context(), network, listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = (rawio.Listener{Listener: listener}).Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

// TestBytesArrive: more than the kernel holds goes both ways, to its end.
func TestBytesArrive(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			ours, theirs := pair(t, network)
			want := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
			var group sync.WaitGroup
			for _, conn := range []net.Conn{ours, theirs} {
				group.Go(func() {
					n, err := conn.Write(want)
					err = errors.Join(err, conn.(interface{ CloseWrite() error }).CloseWrite())
					if err != nil || n != len(want) {
						t.Errorf("%d of %d bytes were written: %v", n, len(want), err)
					}
				})
				group.Go(func() {
					if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%d of %d bytes were read: %v", len(got), len(want), err)
					}
				})
			}
			group.Wait()
		})
	}
}

// TestEnds: each way in which a connection ends is an error that says so.
func TestEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(ours, theirs net.Conn) error
		read func(error) bool
	}{
		{"the peer has closed", func(_, theirs net.Conn) error { return theirs.Close() }, func(err error) bool { return errors.Is(err, io.EOF) }},
		{
			"the peer has left something unread", func(ours, theirs net.Conn) error {
				_, err := ours.Write([]byte("x"))
				return errors.Join(err, theirs.Close())
			},
			func(err error) bool { return errors.Is(err, syscall.ECONNRESET) },
		},
		{"closed", func(ours, _ net.Conn) error { return ours.Close() }, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		{
			"its deadline is past", func(ours, _ net.Conn) error { return ours.SetDeadline(time.Unix(1, 0)) },
			func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs := pair(t, "unix")
			if err := test.end(ours, theirs); err != nil {
				t.Fatal(err)
			}
			n, err := ours.Read(make([]byte, 1))
			if _, isOp := errors.AsType[*net.OpError](err); n != 0 || !test.read(err) || !errors.Is(err, io.EOF) && !isOp {
				t.Errorf("read %d bytes: %v (%T)", n, err, err)
			}
		})
	}
}

// TestCloseEndsAWait, as it does of any net.Conn.
func TestCloseEndsAWait(t *testing.T) {
	ours, _ := pair(t, "unix")
	ended := make(chan error, 1)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		ended <- err
	}()
	_ = ours.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the read ended by %v", err)
	}
}

// TestSocketpair: files are sockets too, as the host's end of a worker's.
func TestSocketpair(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer func() { _, _ = ours.Close(), theirs.Close() }()
	stream, err := rawio.NewStream(ours)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write([]byte("to")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2)
	if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "to" {
		t.Fatalf("%q, %v", got, err)
	}
	_ = ours.SetReadDeadline(time.Unix(1, 0))
	_, err = stream.Read(got)
	if _, isOp := errors.AsType[*net.OpError](err); !isOp || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past its deadline: %v (%T)", err, err)
	}
}

func TestNoAllocations(t *testing.T) {
	ours, theirs := pair(t, "unix")
	p := make([]byte, 8)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = ours.Write(p)
		_, _ = theirs.Read(p)
		_, _ = theirs.Write(p)
		_, _ = ours.Read(p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestNoSocket stays as it is.
func TestNoSocket(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _, _ = ours.Close(), theirs.Close() }()
	if conn := rawio.NewConn(ours); conn != ours {
		t.Errorf("%T", conn)
	}
}
