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

// proxyCommand makes this program the reverse proxy of case c. A process of its
// own keeps its CPU time apart from the load generator's.
const proxyCommand = "reverse-proxy"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once: children die with it.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the whole program: a benchmark or, for one, its reverse proxy.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == proxyCommand {
		return serveProxy(ctx, args[1:])
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

func serveProxy(ctx context.Context, addresses []string) error {
	if len(addresses) != 2 {
		return errors.New("the reverse proxy needs two addresses: one to listen on, one upstream")
	}
	return bench.ServeProxy(ctx, addresses[0], addresses[1])
}
