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

	"envoke/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once: children die with it.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the whole program: a benchmark or, for one, a server that it measures.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if serve := bench.Command(args); serve != nil {
		return serve(ctx)
	}
	settings, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	return measure(ctx, settings, stdout, stderr)
}
