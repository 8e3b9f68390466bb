// Package testrig has what the tests of many packages need: to run a component, to
// wait for what it does, to reach it without a port.
package testrig

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

const (
	patience = 30 * time.Second // a whole installation starts in less, on a busy machine too
	pause    = 5 * time.Millisecond
)

// Serve runs a component until the test ends, which fails if serve did.
func Serve(t testing.TB, serve func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

// Eventually asks again and again until ok says so, and fails the test after 30 s.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	notYet := errors.New("waited in vain for: " + what)
	Succeeds(t, func() error {
		if ok() {
			return nil
		}
		return notYet
	})
}

// Succeeds tries again and again until the error is nil, and fails the test with the
// last one after 30 s.
func Succeeds(t testing.TB, try func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal(err)
		}
	}
}

// Dir makes a temporary folder whose name is short enough for Unix sockets in it:
// their paths have at most 107 bytes, and t.TempDir takes the test's name in.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "envoke")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// OpenDir is a folder of the test's that all users may pass through.
func OpenDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "envoke-open-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Dial serves gRPC in memory until the test ends and returns a connection to it.
func Dial(t testing.TB, server *grpc.Server) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		<-served
	})
	return conn
}

// Connect is a connection to a server of gRPC, without TLS, until the test ends. It
// takes answers of up to 8 MiB.
func Connect(t testing.TB, target string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(8<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Listen listens on a Unix socket. Who serves on it closes it.
func Listen(t testing.TB, path string) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// Text is what is printed, readable while it grows. The zero Text is empty.
type Text struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (t *Text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *Text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}
