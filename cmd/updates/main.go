// Command updates changes the routes of a real Envoy under load, and fails where a change is
// late, loses a request or leaves something behind: see package internal/updates.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"envoke/envoy"
	"envoke/internal/updates"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "updates:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	config := updates.Config{Out: out}
	flags := flag.NewFlagSet("updates", flag.ContinueOnError)
	cache := flags.String("cache-dir", filepath.Join(".envoke", "cache"), "`folder` that holds the pinned Envoy")
	routes := flags.String("routes", "10,1000,10000", "`numbers` of routes, with commas between; others are compared with the first")
	quick := flags.Bool("quick", false, "three seconds for 10 and 1,000 routes; times and memory are shown, and not judged")
	report := flags.String("json", "", "`file` for all figures")
	flags.DurationVar(&config.Duration, "duration", time.Minute, "how `long` each number of routes is changed")
	flags.IntVar(&config.Alone, "alone", 200, "`changes` of which each is live before the next")
	flags.IntVar(&config.Rate, "rate", 100, "changes a `second`, after those")
	flags.IntVar(&config.Rounds, "rounds", 7, "`rounds` in which the cost of a request is compared")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *quick {
		*routes, config.Duration, config.Rounds, config.Alone, config.Lenient = "10,1000", 3*time.Second, 1, 20, true
	}
	if config.Routes, err = numbers(*routes); err != nil {
		return err
	}
	if config.Rate < 1 || config.Duration <= 0 {
		return errors.New("rate and duration must be positive")
	}
	if config.Envoy, err = envoy.Fetch(ctx, *cache, os.Getenv("PYTHON")); err != nil {
		return err
	}
	if config.Dir, err = os.MkdirTemp("", "envoke-updates-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(config.Dir) }()
	result, err := updates.Run(ctx, config)
	_, _ = fmt.Fprintf(out, "\n%s", result.Markdown())
	return errors.Join(err, write(*report, result), result.Err())
}

func numbers(text string) (all []int, err error) {
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || n > 100_000 {
			return nil, fmt.Errorf("%q is no number of routes", field)
		}
		all = append(all, n)
	}
	return all, nil
}

func write(file string, report updates.Report) error {
	if file == "" {
		return nil
	}
	raw, err := json.MarshalIndent(report, "", "\t")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	return os.WriteFile(file, append(raw, '\n'), 0o644) //nolint:gosec // figures for anybody
}
