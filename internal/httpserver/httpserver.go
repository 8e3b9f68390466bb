// Package httpserver ties a net/http server to a context, the way every component
// here is stopped.
package httpserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Serve answers on the listener until ctx ends, then lets the requests under way
// finish, for at most the given grace; what is left then is cut off and an error.
// It closes the listener.
func Serve(ctx context.Context, server *http.Server, listener net.Listener, grace time.Duration) error {
	stopped := make(chan error, 1)
	abandon := context.AfterFunc(ctx, func() { stopped <- shutdown(ctx, server, grace) })
	err := server.Serve(listener)
	if abandon() {
		return err // it ended by itself
	}
	return <-stopped
}

func shutdown(ctx context.Context, server *http.Server, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}
