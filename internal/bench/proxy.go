package bench

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"sync"
	"time"

	"envoke/internal/httpserver"
)

// ServeProxy is the controller hop that Envoke does without: a Go reverse proxy
// between two addresses, which serves until the context ends. It looks nothing up,
// so a real controller costs more. It is given every advantage that a careful author
// would: idle connections without limit, pooled buffers, no decompression.
func ServeProxy(ctx context.Context, listen, upstream string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, network(listen), listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", listen, err)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network(upstream), upstream)
		},
		MaxIdleConnsPerHost: 1024,
		DisableCompression:  true,
	}
	defer transport.CloseIdleConnections()
	server := &http.Server{
		Handler: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = "http", "upstream"
			},
			Transport:  transport,
			BufferPool: new(bufferPool),
		},
		ReadHeaderTimeout: 10 * time.Second,
	}
	if err := httpserver.Serve(ctx, server, listener, time.Second); err != nil {
		return fmt.Errorf("serve the reverse proxy: %w", err)
	}
	return nil
}

// network tells a Unix socket's path from host:port.
func network(address string) string {
	if filepath.IsAbs(address) {
		return "unix"
	}
	return "tcp"
}

// bufferPool keeps the buffers that the proxy copies bodies with.
type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

func (b *bufferPool) Put(buffer []byte) { b.pool.Put(&buffer) }
