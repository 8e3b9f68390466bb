package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"envoke/internal/client"
	"envoke/internal/httpserver"
)

const (
	watchPause = 200 * time.Millisecond
	devGrace   = 2 * time.Second // for calls under way when it is stopped
)

func (a *app) devCommand() *cobra.Command {
	var port int
	c := &cobra.Command{
		Use:   "dev <file>",
		Short: "Serve one file over plain HTTP and load it anew on every save",
		Long: `Serve one file over plain HTTP and load it anew on every save.

Each request to the port, of any method and path, is one call, as one to
/function/<name> is: params are the body or the query, context.http is the request,
and an object with a statusCode is the response. What the function prints appears
here. Code that does not load is shown with its line, and the last that did goes on.

An Envoke is started for this, with data that is forgotten at the end. With --address
or ENVOKE_URL a running one is used, where the file is a function with a name of its
own until dev ends; what it prints is in that one's log then (envoke logs).`,
		Example: `  envoke dev hello.js
  curl -s http://127.0.0.1:8787/ -d '{"name":"Envoy"}'
  curl -s http://127.0.0.1:8787/?name=Envoy`,
		Args: takes("<file>"),
	}
	c.Flags().IntVar(&port, "port", 8787, "port on 127.0.0.1 that serves the function, 0 for any free one")
	a.bindAddress(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		code, err := readSource(args[0])
		if err != nil {
			return err
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		listener, err := (&net.ListenConfig{}).Listen(c.Context(), "tcp", address)
		if err != nil {
			return fmt.Errorf("%w: choose another port with --port", err)
		}
		defer func() { _ = listener.Close() }() // where nothing came to serve on it
		out := &screen{w: c.OutOrStdout()}
		return a.onServer(c.Context(), out, func(ctx context.Context, base string) error {
			server, err := a.clientOf(base)
			if err != nil {
				return err
			}
			defer server.Close()
			return dev(ctx, &developed{path: args[0], name: developedName(code.name), out: out, server: server}, listener)
		})
	}
	return c
}

// onServer runs serve on the Envoke that is named, or on one of its own, which ends
// after it.
func (a *app) onServer(ctx context.Context, out *screen, serve func(context.Context, string) error) error {
	if base := first(a.address, a.Getenv("ENVOKE_URL")); base != "" {
		return serve(ctx, base)
	}
	out.say("starting …")
	local, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	work, ctx := errgroup.WithContext(ctx)
	ready := make(chan string, 1)
	work.Go(func() error {
		return a.Start(local, Local{Ready: func(base string) { ready <- base }, Print: out.print})
	})
	work.Go(func() error {
		defer stop()
		select {
		case base := <-ready:
			return serve(ctx, base)
		case <-ctx.Done():
			return nil
		}
	})
	return work.Wait()
}

// dev serves one file by an Envoke until the context ends.
func dev(ctx context.Context, d *developed, listener net.Listener) error {
	if err := d.load(ctx); err != nil {
		var reply *client.ReplyError
		if !errors.As(err, &reply) {
			return err
		}
		d.out.say("✗ %v", err)
	}
	d.out.say("%s answers at http://%s and is loaded anew on every save. Ctrl-C stops.", d.path, listener.Addr())
	d.out.say("It is the function %s of %s meanwhile.", d.name, d.server.Base())
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return d.watch(ctx) })
	work.Go(func() error {
		web := &http.Server{Handler: d, ReadTimeout: time.Minute}
		return httpserver.Serve(ctx, web, listener, devGrace)
	})
	err := work.Wait()
	d.drop(context.WithoutCancel(ctx))
	return err
}

// watch loads the file whenever it has changed. Polling sees every way in which
// editors save.
func (d *developed) watch(ctx context.Context) error {
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	seen := d.stamp()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now := d.stamp()
		if now == seen || now == "" { // gone for a moment, while an editor replaces it
			continue
		}
		seen = now
		if err := d.load(ctx); err != nil && ctx.Err() == nil {
			d.out.say("✗ %v", err)
		} else if err == nil {
			d.out.say("✓ loaded")
		}
	}
}

// stamp is another one after each change of the file.
func (d *developed) stamp() string {
	file, err := os.Stat(d.path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(file.ModTime().UnixNano(), file.Size())
}

// screen is the terminal that a developer looks at: whole lines, one at a time.
type screen struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, format+"\n", args...)
}

func (s *screen) print(level slog.Level, text string) {
	s.say("  %-5s %s", strings.ToLower(level.String()), text)
}
