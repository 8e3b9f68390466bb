package testrig

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Wire is a Unix socket in front of another one, on which what the server answers can be
// late or garbled.
type Wire struct {
	Path string

	to      string
	delay   atomic.Int64 // of answers, nanoseconds
	garbled atomic.Bool
}

// NewWire carries what comes until the test ends.
func NewWire(t testing.TB, to string) *Wire {
	t.Helper()
	w := &Wire{Path: filepath.Join(Dir(t), "wire.sock"), to: to}
	listener := Listen(t, w.Path)
	Serve(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
		var carried sync.WaitGroup
		defer carried.Wait()
		for {
			near, err := listener.Accept()
			if err != nil {
				return nil
			}
			carried.Go(func() { w.carry(ctx, near) })
		}
	})
	return w
}

// Delay has each answer come so much later.
func (w *Wire) Delay(d time.Duration) { w.delay.Store(int64(d)) }

// Garble has answers be other bytes than the server's.
func (w *Wire) Garble(garbled bool) { w.garbled.Store(garbled) }

// carry joins a connection to a new one of the server's.
func (w *Wire) carry(ctx context.Context, near net.Conn) {
	far, err := net.Dial("unix", w.to)
	if err != nil {
		_ = near.Close()
		return
	}
	end := func() { _, _ = near.Close(), far.Close() }
	defer context.AfterFunc(ctx, end)()
	var half sync.WaitGroup
	half.Go(func() {
		defer end()
		_, _ = io.Copy(far, near)
	})
	w.answer(ctx, near, far)
	end()
	half.Wait()
}

func (w *Wire) answer(ctx context.Context, near io.Writer, far io.Reader) {
	for p := make([]byte, 64<<10); ; {
		n, err := far.Read(p)
		if d := time.Duration(w.delay.Load()); d > 0 {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
		}
		if w.garbled.Load() {
			for i := range n {
				p[i] ^= 0x5a
			}
		}
		if _, wrong := near.Write(p[:n]); err != nil || wrong != nil {
			return
		}
	}
}
