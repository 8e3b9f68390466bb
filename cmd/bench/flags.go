package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"envoke/internal/bench"
)

const usage = `Usage: bench [flags]

Measures, side by side in one run, what a small request costs:

%s
What is alone is asked over a Unix socket, and so is what is behind Envoy: but for case
c, since a controller and its runtimes are services with addresses, and
functions-framework, which listens on ports only.

Each but one-shots and builds is measured in closed loops of 32 connections and of one,
and in an open loop of a fixed rate whose latency counts from the time a request was due.
Cases take turns in short rounds; medians are shown with their least and greatest values.
Each one-shot waits until the pool of ready workers is full again. A build is the time that
initialize takes with Rust source that is compiled then.

The part state has no cases: it measures what PostgreSQL, Redis and several machines cost
(look-ups of sessions, initialize, cached results, rows of the log, and how soon a change of
a function is seen everywhere), with servers that make postgres and make redis fetch. Nor has
many, how many functions one Envoke holds. All of it takes nearly ten minutes.

Build Envoke first (make build), and let the machine rest: the table says how much CPU
other programs took.

Flags:
`

// caseList is the cases of every part.
func caseList() string {
	var list strings.Builder
	for _, part := range bench.Parts() {
		fmt.Fprintf(&list, "%s:\n", part)
		for _, c := range bench.Cases() {
			if c.Part == part {
				fmt.Fprintf(&list, "  %-2s  %s\n", c.Key, c.Name)
			}
		}
	}
	return list.String()
}

// settings are the flags.
type settings struct {
	bench.Config
	bare  bool
	check bool
	json  string
	docs  string
	from  string
}

// parse prints the help to stdout when it is asked for, and returns flag.ErrHelp.
func parse(args []string, stdout io.Writer) (settings, error) {
	s := settings{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints errors
	quick := flags.Bool("quick", false, "a rough run in a third of the time: short rounds, and fewer of them")
	only := flags.String("only", "", "`parts` to measure, with commas between: js, python, wasm, peers, cache, auth, hooks, state, many (default: all)")
	flags.IntVar(&s.Rounds, "rounds", 6, "`number` of rounds")
	flags.DurationVar(&s.Duration, "duration", 500*time.Millisecond, "`duration` of one measurement; of the open loop three times that")
	flags.DurationVar(&s.WarmUp, "warm-up", 600*time.Millisecond, "`duration` of each case's warm-up")
	flags.Float64Var(&s.Rate, "rate", 2000, "`arrivals` a second of the open loop")
	flags.IntVar(&s.ColdStarts, "cold-starts", 20, "`number` of cold starts of each language in a round")
	many := flags.Int("functions", 1000, "`number` of resident Python functions of the part many; the others are in proportion")
	flags.IntVar(&s.Changes, "changes", 110, "`number` of changes of functions on several machines, in the part state")
	flags.IntVar(&s.Concurrency, "concurrency", runtime.NumCPU(), "worker `threads` of either Envoy; the default is one per core, as of envoke serve")
	flags.BoolVar(&s.check, "check", false, "exit with 1 when a target is missed")
	flags.StringVar(&s.json, "json", "", "write the report as JSON to this `file`, with every round")
	flags.StringVar(&s.docs, "docs", "", "write the report as a page with charts into this `folder`")
	flags.StringVar(&s.from, "from", "", "measure nothing: show the report that -json wrote to this `file`")
	flags.BoolVar(&s.bare, "bare", false, "measure only what needs no Envoke")
	flags.StringVar(&s.Envoke, "envoke", "bin/envoke", "Envoke's `binary`")
	flags.StringVar(&s.Envoy, "envoy", os.Getenv("ENVOY"), "Envoy's `binary` (default: $ENVOY, else the pinned one)")
	flags.StringVar(&s.Node, "node", cmp.Or(os.Getenv("NODE"), "node"), "Node's `binary`; $NODE changes the default")
	flags.StringVar(&s.Python, "python", cmp.Or(os.Getenv("PYTHON"), "python3"), "Python's `binary`; $PYTHON changes the default")
	flags.StringVar(&s.Rustc, "rustc", os.Getenv("RUSTC"), "Rust `compiler` (default: $RUSTC, else the one that make rust fetches)")
	flags.StringVar(&s.PeersDir, "peers", "", "`folder` of what make installed to compare with (default: peers in -cache-dir)")
	flags.StringVar(&s.CacheDir, "cache-dir", filepath.Join(".envoke", "cache"), "`folder` that holds the pinned Envoy")
	envokeArgs := flags.String("envoke-args", "", "more `arguments` of envoke serve, separated by spaces")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintf(stdout, usage, caseList())
		flags.SetOutput(stdout)
		flags.PrintDefaults()
	}
	if err != nil {
		return s, err
	}
	if *quick {
		s.Rounds, s.Duration, s.WarmUp, s.ColdStarts, s.Changes = 3, 300*time.Millisecond, 500*time.Millisecond, 10, 33
	}
	if *many < 20 {
		return s, errors.New("-functions must be at least 20")
	}
	s.Many = bench.FunctionsOf(*many)
	s.EnvokeArgs = strings.Fields(*envokeArgs)
	if s.Parts, err = bench.ParseParts(*only); err != nil {
		return s, fmt.Errorf("-only: %w", err)
	}
	return s, s.validate(flags.Args())
}

func (s settings) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case s.Rounds < 1 || s.ColdStarts < 1 || s.Concurrency < 1 || s.Changes < 1:
		return errors.New("-rounds, -cold-starts, -concurrency and -changes must be at least 1")
	case s.Duration <= 0 || s.WarmUp <= 0 || s.Rate <= 0:
		return errors.New("-duration, -warm-up and -rate must be greater than 0")
	}
	return nil
}
