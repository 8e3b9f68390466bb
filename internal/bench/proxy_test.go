package bench

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

func TestServeProxy(t *testing.T) {
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/proxy/x" {
			http.NotFound(w, r)
			return
		}
		adder(w, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	listen := filepath.Join(t.TempDir(), "proxy.sock")
	done := make(chan error, 1)
	go func() { done <- ServeProxy(ctx, listen, upstream.Address) }()
	awaitSocket(t, listen)
	endpoint := Endpoint{Network: "unix", Address: listen, Path: "/proxy/x"}
	if _, err := measure(t.Context(), endpoint, Load{Connections: 8, Duration: 50 * time.Millisecond}); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestServeProxyThatCannotListen(t *testing.T) {
	if err := ServeProxy(t.Context(), "/nonexistent/folder/s", "/nonexistent"); err == nil {
		t.Error("no error")
	}
}
