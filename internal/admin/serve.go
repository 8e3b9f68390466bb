package admin

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"envoke/internal/httpserver"
)

const (
	readTimeout = 5 * time.Second
	// writeTimeout bounds a profile too: pprof refuses a longer one by itself.
	writeTimeout   = 2 * time.Minute
	idleTimeout    = time.Minute
	maxHeaderBytes = 16 << 10
	grace          = 5 * time.Second
)

// Serve answers on the listener until the context ends, then finishes what is
// under way: profiles end early, anything else has 5 s. It closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:        s,
		ReadTimeout:    readTimeout,
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       s.errorLog(),
		BaseContext:    func(net.Listener) context.Context { return ctx },
	}
	if err := httpserver.Serve(ctx, server, listener, grace); err != nil {
		return fmt.Errorf("serve operators: %w", err)
	}
	return nil
}

// errorLog is the logger in the form that net/http and promhttp take.
func (s *Server) errorLog() *log.Logger {
	return slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelWarn)
}
