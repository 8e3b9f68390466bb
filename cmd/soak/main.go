// Command soak starts Envoke and loads it for long: see package internal/soak.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"envoke/internal/soak"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	config := soak.Config{Out: out}
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	binary := flags.String("envoke", "bin/envoke", "Envoke's `binary`")
	cache := flags.String("cache-dir", filepath.Join(".envoke", "cache"), "`folder` that holds the pinned Envoy")
	more := flags.String("envoke-args", "", "more `arguments` of envoke serve, separated by spaces")
	onPostgres := flags.Bool("postgres", false, "have Envoke stand on a PostgreSQL that is started for it (make postgres fetches it)")
	onRedis := flags.Bool("redis", false, "have Envoke look sessions and results up in a Redis that is started for it (make redis fetches it)")
	flags.DurationVar(&config.Duration, "duration", 10*time.Minute, "`duration` of the load")
	flags.Int64Var(&config.Requests, "requests", 0, "`number` of requests after which it ends sooner (0: none)")
	flags.IntVar(&config.Clients, "clients", 32, "`number` of connections")
	flags.BoolVar(&config.HitsOnly, "hits", false, "send only what a cache answers")
	flags.DurationVar(&config.Interval, "interval", 5*time.Second, "`time` between two samples of memory")
	flags.Float64Var(&config.MaxGrowth, "max-growth", 0.1, "largest `share` by which memory may grow from the second quarter of the run to the last")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "envoke-soak-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	databases, err := open(ctx, *cache, *onPostgres, *onRedis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, databases.close()) }()
	config.Servers = databases.servers
	server, err := soak.Start(ctx, *binary, dir, slices.Concat([]string{
		"--cache-dir", *cache,
		// Small bounds on workers, so that those of one-shots come and go within the run.
		"--max-workers", "32", "--worker-idle-seconds", "10",
		"--cache-memory-mb", "2", // full in the first quarter
	}, databases.flags, strings.Fields(*more)))
	if err != nil {
		return err
	}
	defer server.Stop()
	config.URL, config.Process, config.Admin = server.URL, server.Process(), server.Admin
	report, err := soak.Run(ctx, config)
	_, _ = fmt.Fprintf(out, "%d requests, %d from a cache, %d wrong answers\n", report.Requests, report.Hits, report.Wrong)
	return err
}
