package mtls_test

import (
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/mtls"
	"envoke/internal/testrig"
)

// flood holds n connections open from an address, each of which says so much and nothing more,
// and makes each again that is closed, until the test ends.
func flood(t *testing.T, n int, from, to, says string) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Second}
	var running, first sync.WaitGroup
	ctx := t.Context()
	for range n {
		first.Add(1)
		running.Go(func() {
			once := sync.OnceFunc(first.Done)
			defer once()
			for ctx.Err() == nil {
				conn, err := dialer.DialContext(ctx, "tcp", to)
				if err != nil {
					continue
				}
				_, _ = conn.Write([]byte(says))
				once()
				_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_, _ = conn.Read(make([]byte, 64))
				}()
				select {
				case <-ended:
				case <-ctx.Done():
				}
				_ = conn.Close()
				<-ended
				time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the pace of the flood
			}
		})
	}
	t.Cleanup(running.Wait)
	first.Wait()
}

// TestFlood: who has a certificate gets in, whatever others hold open from another address, and
// from the same address where they say nothing.
func TestFlood(t *testing.T) {
	s := newSet(t)
	for _, test := range []struct{ name, from, says string }{
		{"silent", "127.0.0.2", ""},
		{"silent, from the same address", "127.0.0.1", ""},
		{"that begin a handshake", "127.0.0.2", "\x16"},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := servePort(t, open(t, s, mtls.Control), mtls.Allowed{mtls.HTTP: {mtls.Envoy}, mtls.GRPC: {mtls.Envoy}}, nil)
			flood(t, 600, test.from, address, test.says)
			config := open(t, s, mtls.Envoy).Client(mtls.Control, mtls.HTTP)
			for n := range 50 {
				if text, err := getBy(config, address); err != nil || text != "hello" {
					t.Fatalf("try %d: %q, %v", n, text, err)
				}
			}
		})
	}
}

// TestManyAtOnce: hundreds of connections of one Envoy, all at once, get in.
func TestManyAtOnce(t *testing.T) {
	s := newSet(t)
	address := servePort(t, open(t, s, mtls.Control), mtls.Allowed{mtls.HTTP: {mtls.Envoy}, mtls.GRPC: {mtls.Envoy}}, nil)
	config := open(t, s, mtls.Envoy).Client(mtls.Control, mtls.HTTP)
	var callers sync.WaitGroup
	for range 300 {
		callers.Go(func() {
			if text, err := getBy(config, address); err != nil || text != "hello" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	callers.Wait()
}

// TestSilence: who says nothing is closed soon, and counted.
func TestSilence(t *testing.T) {
	s := newSet(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metrics := prometheus.NewPedanticRegistry()
	testrig.Serve(t, mtls.NewPort(mtls.PortOptions{
		Listener: inner, Identity: open(t, s, mtls.Control), Allowed: mtls.Allowed{mtls.HTTP: {mtls.Envoy}},
		Logger: slog.New(slog.DiscardHandler), Registerer: metrics,
	}).Serve)
	conn, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	started := time.Now()
	_ = conn.SetReadDeadline(started.Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("it was answered")
	}
	if took := time.Since(started); took > 4*time.Second {
		t.Errorf("it was closed after %v", took)
	}
	testrig.Eventually(t, "the count", func() bool {
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() == "silent" {
					return m.GetCounter().GetValue() == 1
				}
			}
		}
		return false
	})
}
