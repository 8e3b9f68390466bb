package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"envoke/internal/bench"
)

const usage = `Usage: bench [flags]

Measures, side by side in one run, what a small POST costs:

  a  Envoy's direct response                  the limit of any proxy
  b  Envoy → node:http                        what Envoy alone costs
  c  Envoy → Go reverse proxy → node:http     the controller hop that Envoke replaces: over TCP,
                                              as services are
  u  the same over Unix sockets               the hop at its cheapest
  d  node:http alone, over a Unix socket
  e  the nodejs host alone, over its Unix socket
  f  a plain execute through Envoke's Envoy
  g  an execute through ext_proc
  h  a one-shot of new code: initialize and the first execute

each but h in closed loops of 32 connections and of one, and in an open loop of a
fixed rate whose latency counts from the time a request was due. Cases take turns
in short rounds; medians are shown with their least and greatest values. Build
Envoke first (make build), and let the machine rest: the table says how much CPU
other programs took.

Flags:
`

// settings are the flags.
type settings struct {
	bench.Config
	bare  bool
	check bool
	json  string
}

// parse prints the help to stdout when it is asked for, and returns flag.ErrHelp.
func parse(args []string, stdout io.Writer) (settings, error) {
	s := settings{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints errors
	quick := flags.Bool("quick", false, "a rough run of less than a minute: short rounds, and fewer of them")
	flags.IntVar(&s.Rounds, "rounds", 25, "`number` of rounds")
	flags.DurationVar(&s.Duration, "duration", 500*time.Millisecond, "`duration` of one measurement")
	flags.DurationVar(&s.WarmUp, "warm-up", 1500*time.Millisecond, "`duration` of each case's warm-up")
	flags.Float64Var(&s.Rate, "rate", 2000, "`arrivals` a second of the open loop")
	flags.IntVar(&s.ColdStarts, "cold-starts", 100, "`number` of cold starts in a round")
	flags.IntVar(&s.Concurrency, "concurrency", 1, "worker threads of either Envoy")
	flags.BoolVar(&s.check, "check", false, "exit with 1 when a target is missed")
	flags.StringVar(&s.json, "json", "", "write the report as JSON to this `file`, with every round")
	flags.BoolVar(&s.bare, "bare", false, "measure a to d only, without Envoke")
	flags.StringVar(&s.Envoke, "envoke", "bin/envoke", "Envoke's `binary`")
	flags.StringVar(&s.Envoy, "envoy", os.Getenv("ENVOY"), "Envoy's `binary` (default: $ENVOY, else the pinned one)")
	flags.StringVar(&s.Node, "node", cmp.Or(os.Getenv("NODE"), "node"), "Node's `binary`; $NODE changes the default")
	flags.StringVar(&s.CacheDir, "cache-dir", filepath.Join(".envoke", "cache"), "`folder` that holds the pinned Envoy")
	envokeArgs := flags.String("envoke-args", "", "more `arguments` of envoke serve, separated by spaces")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
	}
	if err != nil {
		return s, err
	}
	if *quick {
		s.Rounds, s.Duration, s.WarmUp, s.ColdStarts = 3, 400*time.Millisecond, time.Second, 10
	}
	s.EnvokeArgs = strings.Fields(*envokeArgs)
	return s, s.validate(flags.Args())
}

func (s settings) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case s.Rounds < 1 || s.ColdStarts < 1 || s.Concurrency < 1:
		return errors.New("-rounds, -cold-starts and -concurrency must be at least 1")
	case s.Duration <= 0 || s.WarmUp <= 0 || s.Rate <= 0:
		return errors.New("-duration, -warm-up and -rate must be greater than 0")
	}
	return nil
}
