// Command bench measures Envoke beside what it replaces and prints a table.
// `bench --help` says how; package internal/bench says what and why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run measures, or is the reverse proxy of a run when the first argument says so.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 3 && args[0] == proxyCommand {
		return serveProxy(ctx, args[1], args[2])
	}
	settings, err := parse(args, stderr)
	if err != nil {
		return err
	}
	return measure(ctx, settings, stdout, stderr)
}
