package main

import (
	"context"
	"errors"
	"io"
	"os"

	"envoke/internal/cli"
	"envoke/runtimes/pool"
)

// embedded runs all of an Envoke inside this process for one command: on free
// ports, with data that is forgotten at its end, and silent but for what is wrong.
func embedded(s streams) cli.Start {
	return func(ctx context.Context, local cli.Local) (err error) {
		dir, err := os.MkdirTemp("", "envoke-data-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		given := newSettings(nil)
		flags := []string{
			"--host=127.0.0.1", "--port=0", "--admin-port=0", "--data-dir=" + dir, "--run-dir=", "--database-url=",
			"--control-listen=", "--control-addresses=", "--host-listen=",
			"--filter=false", "--idle-workers=1", "--drain-timeout-seconds=2", "--log-level=warn",
		}
		for _, name := range []string{"tls-cert-file", "tls-key-file", "tls-client-ca-file", "cors-origins"} {
			flags = append(flags, "--"+name+"=")
		}
		flags = append(flags, "--http-redirect-port=0", "--http-redirect-to-port=0", "--hsts-max-age-seconds=0")
		for _, l := range languages() {
			flags = append(flags, "--"+l.hostsFlag()+"=")
		}
		if err := given.all.Parse(flags); err != nil {
			return err
		}
		quiet := streams{getenv: s.getenv, stdout: io.Discard, stderr: s.stderr}
		return runUntilDone(ctx, quiet, given, func(ctx context.Context, s streams, e *environment, l *lifecycle) (string, error) {
			e.print = func(line pool.LogLine) { local.Print(line.Level, line.Text) }
			greeting, err := startAll(ctx, s, e, l)
			if err == nil {
				local.Ready(e.publicURL)
			}
			return greeting, err
		})
	}
}
