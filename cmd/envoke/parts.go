package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// The parts of serve, one by one. They meet by the sockets in --run-dir, which
// must be the same for all of them.

func controlCommand(s streams) *cobra.Command {
	return partCommand(s, flagsOfControl, startControl, &cobra.Command{
		Use:   "control",
		Short: "Run control alone: ext_proc, xDS, the API for reading, the store",
		Long:  "Run control alone. Runtime hosts and Envoy meet it by the sockets in --run-dir; it may be restarted under them.",
	})
}

func envoyCommand(s streams) *cobra.Command {
	return partCommand(s, flagsOfEnvoy, startEnvoyAlone, &cobra.Command{
		Use:   "envoy",
		Short: "Run the pinned Envoy alone",
		Long:  "Run the pinned Envoy alone, fetched where it is missing. It takes its config from control by the socket in --run-dir.",
	})
}

// partCommand makes the command of a part that has the named flags.
func partCommand(s streams, flags []string, start part, command *cobra.Command) *cobra.Command {
	return withSettings(command, flags, func(ctx context.Context, given settings) error {
		if given.config.RunDir == "" {
			given.config.RunDir = defaultRunDir(s.getenv)
		}
		return runUntilDone(ctx, s, given, start)
	})
}

// withSettings gives a subcommand the named settings as flags, or all of them.
func withSettings(command *cobra.Command, names []string, run func(context.Context, settings) error) *cobra.Command {
	given := newSettings(names)
	given.show(command.Flags())
	command.Args = cobra.NoArgs
	command.RunE = func(c *cobra.Command, _ []string) error { return run(c.Context(), given) }
	return command
}

// part starts components and returns what to tell of where they are. Where it
// fails, what was started is in l for the caller to stop.
type part func(ctx context.Context, s streams, e *environment, l *lifecycle) (greeting string, err error)

// runUntilDone runs a part until the context ends or a component fails.
func runUntilDone(ctx context.Context, s streams, given settings, start part) error {
	e, remove, err := newEnvironment(s, given)
	if err != nil {
		return err
	}
	defer remove()
	l := newLifecycle(e.logger)
	greeting, err := start(ctx, s, e, l)
	if err == nil {
		e.greet(s.stdout, greeting)
		err = l.wait(ctx)
	}
	if ctx.Err() != nil {
		e.logger.Info("stopping: what is under way is finished first")
	}
	return errors.Join(err, l.stop())
}

// greet tells where things are: people on stdout, and those who collect records as
// a record, of the first line.
func (e *environment) greet(stdout io.Writer, greeting string) {
	if e.config.LogFormat == "json" {
		line, _, _ := strings.Cut(strings.TrimSpace(greeting), "\n")
		e.logger.Info("started", slog.String("greeting", line))
		return
	}
	fmt.Fprintln(stdout, greeting)
}

// defaultRunDir is the same for all parts that one user starts.
func defaultRunDir(getenv func(string) string) string {
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "envoke")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("envoke-%d", os.Getuid()))
}

func startControl(ctx context.Context, _ streams, e *environment, l *lifecycle) (string, error) {
	if err := e.newEnvoy(""); err != nil {
		return "", err
	}
	c, err := openControl(ctx, e, filterModule(e))
	if err != nil {
		return "", err
	}
	c.start(l)
	err = startOperators(ctx, e, l, operators{ready: c.ready, scheme: e.config.scheme(), debug: c.debug(), logs: c.logs(e)})
	return fmt.Sprintf("Control listens on %s (operators: %s)", c.grpcListener.Addr(), e.operatorsURL), err
}

func startHost(language language) part {
	return func(ctx context.Context, _ streams, e *environment, l *lifecycle) (string, error) {
		if language.hasWorkers() {
			if err := startEgress(ctx, e, l); err != nil {
				return "", err
			}
		}
		h, err := openHost(ctx, e, language)
		if err != nil {
			return "", err
		}
		h.start(l)
		err = startOperators(ctx, e, l, operators{ready: h.ready})
		e.guardPorts()
		return fmt.Sprintf("The %s host listens on %s (operators: %s)", h.language, h.link.http.Addr(), e.operatorsURL), err
	}
}

func startEnvoyAlone(ctx context.Context, s streams, e *environment, l *lifecycle) (string, error) {
	if err := checkSocket(ctx, e.sockets.admin()); err != nil {
		return "", err
	}
	if err := checkPort(ctx, "--admin-port", "127.0.0.1", e.config.AdminPort); err != nil {
		return "", err
	}
	if err := e.findEnvoy(ctx, s.stderr); err != nil {
		return "", err
	}
	control := e.sockets.control()
	if e.config.remote() {
		control = e.config.ControlAddresses
		if err := startRemoteEnvoy(e, l); err != nil {
			return "", err
		}
	}
	e.startEnvoy(l)
	err := startOperators(ctx, e, l, operators{ready: e.envoy.WaitReady})
	return fmt.Sprintf("Envoy waits for control at %s (operators: %s)", control, e.operatorsURL), err
}
