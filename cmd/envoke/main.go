// Command envoke is the function platform: one binary whose subcommands run all
// of it (serve) or its parts (control, runtime, envoy).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"envoke/internal/cli"
)

const serverGroup = "server"

// gcPercent lets the heap grow fivefold before it is collected: it is small (tens
// of MiB, and what it may hold is bounded), and collecting it took a tenth of the
// time of a request through ext_proc. GOGC in the environment wins.
const gcPercent = 400

// memoryLimit is where it is collected more eagerly again: what large bodies took
// is given back. GOMEMLIMIT in the environment wins.
const memoryLimit = 1 << 30

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once: children die with it.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "envoke:", err)
		os.Exit(cli.ExitCode(err))
	}
}

// streams is what a subcommand may use of the world outside.
type streams struct {
	getenv         func(string) string
	stdout, stderr io.Writer
}

// run is the whole program, so that tests can call it. It returns when the
// subcommand ends or, drained, when ctx does.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error { //nolint:revive // all that a process is given
	s := streams{getenv: getenv, stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:           "envoke",
		Short:         "Functions inside Envoy",
		Long:          "Envoke is a function platform that lives inside Envoy: post code once, run it many times.\n\nBegin with: envoke dev hello.js, or envoke serve",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddGroup(&cobra.Group{ID: cli.GroupID, Title: "Functions:"}, &cobra.Group{ID: serverGroup, Title: "Server:"})
	root.AddCommand(cli.Commands(cli.Options{Getenv: getenv, Start: embedded(s)})...)
	for _, c := range []*cobra.Command{serveCommand(s), controlCommand(s), runtimeCommand(s), envoyCommand(s), migrateCommand(s), certsCommand(s), healthCommand(s), meshCommand(s)} {
		c.GroupID = serverGroup
		root.AddCommand(c)
	}
	root.AddCommand(versionCommand(s))
	cli.Adopt(root)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}
