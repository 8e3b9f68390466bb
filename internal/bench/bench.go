package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

// Config is what one run does.
type Config struct {
	Rounds     int
	Duration   time.Duration // of one measurement; the open loop's is openLonger times that
	WarmUp     time.Duration // of each case, before the first round
	Rate       float64       // arrivals a second of the open loop
	ColdStarts int           // one-shots in a round
	Parts      []Part
	Many       Functions // of the part of that name
	Changes    int       // of functions, in the part state

	Envoy       string   // the binary
	Node        string   // the binary, not a shim: its CPU time is found by its name
	Python      string   // the same
	Rustc       string   // the compiler, or a shim of it; empty: builds are missing
	Envoke      string   // the binary; empty: measure only what needs none
	EnvokeArgs  []string // more arguments of `envoke serve`
	CacheDir    string   // of Envoke
	Concurrency int      // worker threads of either Envoy
	PeersDir    string   // what make installed to compare with; what it lacks is missing in the report

	// Self is a program that serves what Command finds in its arguments: processes of
	// their own keep the CPU time of our servers apart from the load generator's.
	Self string
	// Progress is told of what is under way. It may be nil.
	Progress func(line string)
}

// loads are the ways in which every case is asked that is measured in loops.
func (c Config) loads() []Load {
	return []Load{
		{Name: ThirtyTwo, Connections: 32, Every: 1, Duration: c.Duration}, // the targets are of this one
		{Name: One, Connections: 1, Every: seldom, Duration: c.Duration},
		{Name: Open, Connections: 32, Rate: c.Rate, Every: seldom, Duration: openLonger * c.Duration},
	}
}

// seldom is in how many rounds each load without a target is measured once.
const seldom = 3

// openLonger is how much longer the open loop is measured than the others: at its rate
// the few longest of a thousand requests need the time.
const openLonger = 2

// coldRounds is the number of rounds of cold starts.
func (c Config) coldRounds() int { return roundsOf(c.Rounds, seldom) }

// Names of loads.
const (
	One       = "1 connection"
	ThirtyTwo = "32 connections"
	Open      = "open loop"
	Cold      = "cold start"
	Build     = "build"
)

// loadNames are in the order in which loads are shown.
func loadNames() []string { return []string{ThirtyTwo, One, Open, Cold, Build} }

// Run starts all that is compared, measures it, and stops it again.
func Run(ctx context.Context, config Config) (Report, error) {
	if config.Progress == nil {
		config.Progress = func(string) {}
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return Report{}, fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	stand := newStand(config, dir)
	defer stand.stop()
	config.Progress(fmt.Sprintf("%d cases: this takes about %s", len(stand.wanted), Planned(config).Round(10*time.Second)))
	if err := stand.start(ctx); err != nil {
		return Report{}, err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the generator's waking of idle threads costs it a quarter more
	began := time.Now()
	run := &run{config: config, stand: stand, fs: "/proc", series: make(map[resultKey]*series), memories: make(memories)}
	if err := run.measureAll(ctx); err != nil {
		return Report{}, err
	}
	machine := describeMachine(ctx, config)
	machine.OtherLoad = spreadOf(run.otherLoad)
	report := newReport(began, machine, config, run.results())
	report.Missing, report.Bursts, report.State, report.Density = stand.missing, run.bursts, run.state, run.density
	report.Memory = run.memories.list(stand.roots())
	return report, nil
}
