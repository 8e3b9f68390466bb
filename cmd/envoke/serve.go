package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"envoke/envoy"
	"envoke/xds"
)

// readyTimeout bounds the time from the start of Envoy to the first answer.
const readyTimeout = time.Minute

func serveCommand(s streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run everything: control, the runtimes and Envoy",
		Long: "Run everything on this machine: control, the runtime hosts and a child Envoy. No other service is needed.\n\n" +
			"Each flag is an environment variable too (--max-script-size is MAX_SCRIPT_SIZE) and a key of the --config file (max_script_size). The flag wins over the variable, the variable over the file; NAME_FILE names a file that holds the value.",
	}
	return withSettings(command, nil, func(ctx context.Context, given settings) error {
		return runUntilDone(ctx, s, given, startAll)
	})
}

// startAll starts the components from the ground up and returns once a function
// has been run through them.
func startAll(ctx context.Context, s streams, e *environment, l *lifecycle) (string, error) {
	started := time.Now()
	if err := checkPorts(ctx, e.config); err != nil {
		return "", err
	}
	if err := e.findEnvoy(ctx, s.stderr); err != nil {
		return "", err
	}
	c, err := openControl(ctx, e, nil)
	if err != nil {
		return "", err
	}
	c.start(l)
	if err := startEgress(ctx, e, l); err != nil {
		return "", err
	}
	ready := []func(context.Context) error{c.ready}
	for _, language := range served(e.config) {
		if language.elsewhere(e.config) != "" {
			continue
		}
		h, err := openHost(ctx, e, language)
		if err != nil {
			return "", err
		}
		h.start(l)
		ready = append(ready, h.ready)
	}
	e.startEnvoy(l)
	ready = append(ready, e.envoy.WaitReady)
	if err := startOperators(ctx, e, l, operators{ready: all(ready), scheme: e.config.scheme(), debug: c.debug(), logs: c.logs(e)}); err != nil {
		return "", err
	}
	address, err := awaitFirst(ctx, e, l, c.ownClient())
	if err != nil {
		return "", err
	}
	// Envoy's main thread compiles the filter for seconds: not before it serves.
	if err := c.filter.set(ctx, filterModule(e)); err != nil {
		return "", err
	}
	e.publicURL = e.config.scheme() + "://" + loopback(address)
	e.guardPorts()
	e.logger.Info("ready", slog.String("address", address), slog.Duration("took", time.Since(started)))
	return welcome(e, address), nil
}

func checkPorts(ctx context.Context, c *Config) error {
	return errors.Join(
		checkPort(ctx, "--port", c.Host, c.Port),
		checkPort(ctx, "--admin-port", "127.0.0.1", c.AdminPort),
		checkPort(ctx, "--http-redirect-port", c.Host, c.HTTPRedirectPort),
	)
}

// all is ready when each of the parts is.
func all(ready []func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, part := range ready {
			if err := part(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// awaitFirst waits until Envoy has its config and a function has run through it. It
// returns the address of the public listener.
func awaitFirst(ctx context.Context, e *environment, l *lifecycle, client *http.Client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var address string
	err := l.until(ctx, func(ctx context.Context) (err error) {
		if address, err = e.envoy.ListenerAddr(ctx, xds.ListenerName); err != nil {
			return err
		}
		return runFirst(ctx, first{client, e.keyOfOwn()}, e.config.scheme()+"://"+loopback(address))
	})
	return address, err
}

func welcome(e *environment, address string) string {
	scheme, options := e.config.scheme(), "-s"
	if e.config.publicTLS() {
		options = "-sk" // the certificate names a domain, and this is a try from this machine
	}
	return fmt.Sprintf(`
Envoke %s listens on %s://%s (operators: %s). Ctrl-C drains and stops it.

Run a function:

  curl %s %s://%s/api/v1/execute -H 'Language-Title: nodejs-hello' \
    -d '{"script_content":"return \"Hello, \" + event.params.name","params":{"name":"Envoy"}}'
`, version, scheme, address, e.operatorsURL, options, scheme, loopback(address))
}

// loopback is an address to paste: one that is bound to all addresses is reached
// by this machine's own.
func loopback(address string) string {
	host, port, err := net.SplitHostPort(address)
	switch ip := net.ParseIP(host); {
	case err != nil || !ip.IsUnspecified():
	case ip.To4() == nil:
		return net.JoinHostPort("::1", port)
	default:
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// drainEnvoy runs the child until ctx ends, then lets it finish the requests under
// way before it is stopped.
func drainEnvoy(ctx context.Context, process *envoy.Process, timeout time.Duration, logger *slog.Logger) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	context.AfterFunc(ctx, func() {
		defer stop()
		deadline, cancel := context.WithTimeout(running, timeout)
		defer cancel()
		if err := process.Drain(deadline); err != nil && running.Err() == nil {
			logger.Warn("not every request was finished", slog.Any("error", err))
		}
	})
	return process.Serve(running)
}
