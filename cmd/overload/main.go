// Command overload starts Envoke and sends it more than it can do: see package
// internal/overload.
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
	"slices"
	"strings"
	"syscall"

	"envoke/internal/overload"
	"envoke/internal/soak"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "overload:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	config := overload.Config{Out: out}
	flags := flag.NewFlagSet("overload", flag.ContinueOnError)
	binary := flags.String("envoke", "bin/envoke", "Envoke's `binary`")
	cache := flags.String("cache-dir", filepath.Join(".envoke", "cache"), "`folder` that holds the pinned Envoy")
	more := flags.String("envoke-args", "", "more `arguments` of envoke serve, separated by spaces")
	only := flags.String("only", "", "`cases`, with commas between: "+strings.Join(names(overload.Cases()), ", ")+" (empty: all)")
	report := flags.String("json", "", "`file` for all figures")
	flags.IntVar(&config.Seconds, "seconds", 120, "`seconds` of the flood")
	flags.Float64Var(&config.Times, "times", 5, "`times` the capacity that the flood is")
	flags.IntVar(&config.Connections, "connections", 1024, "most `connections`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cases, err := chosen(*only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "envoke-overload-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := soak.Start(ctx, *binary, dir, append([]string{"--cache-dir", *cache}, strings.Fields(*more)...))
	if err != nil {
		return err
	}
	defer server.Stop()
	config.URL, config.Process = server.URL, server.Process()
	result, err := overload.Run(ctx, config, cases)
	_, _ = fmt.Fprintf(out, "\n%s", result.Markdown())
	return errors.Join(err, write(*report, result), result.Err())
}

func names(cases []overload.Case) (names []string) {
	for _, c := range cases {
		names = append(names, c.Name)
	}
	return names
}

func chosen(only string) ([]overload.Case, error) {
	cases := overload.Cases()
	if only == "" {
		return cases, nil
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if !slices.Contains(names(cases), name) {
			return nil, fmt.Errorf("there is no case %q", name)
		}
	}
	return slices.DeleteFunc(cases, func(c overload.Case) bool { return !slices.Contains(wanted, c.Name) }), nil
}

func write(file string, report overload.Report) error {
	if file == "" {
		return nil
	}
	raw, err := json.MarshalIndent(report, "", "\t")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	return os.WriteFile(file, append(raw, '\n'), 0o644) //nolint:gosec // figures for anybody
}
