// Package soak loads a running Envoke for long, with requests of every kind, and
// checks two things that a short test cannot: that every answer is right, and that the
// memory of every process stays flat.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config is what a run needs.
type Config struct {
	URL       string        // of Envoy's public port
	Process   int           // the process id of envoke serve
	Admin     string        // Unix socket of Envoy's admin interface; empty: the filter's heap is not shown
	Duration  time.Duration // of the load
	Requests  int64         // ends the load before Duration; 0: no such limit
	Clients   int           // connections
	HitsOnly  bool          // only what a cache answers
	Interval  time.Duration // between samples of memory
	Out       io.Writer     // a line per sample
	MaxGrowth float64       // of memory, from the second quarter of the run to the last: 0.1 is 10 %
	Servers   []Server      // beside it, whose memory is sampled too
}

// Report is what came of it.
type Report struct {
	Requests, Wrong, Hits int64
	FirstFault            error
	Samples               []Sample
}

// Run sends the load and returns an error if anything was wrong.
func Run(ctx context.Context, config Config) (Report, error) {
	work, err := prepare(ctx, config)
	if err != nil {
		return Report{}, fmt.Errorf("prepare: %w", err)
	}
	l := &load{config: config, work: work}
	group, ctx := errgroup.WithContext(ctx)
	loading, done := context.WithTimeout(ctx, config.Duration)
	defer done()
	var clients errgroup.Group
	for n := range config.Clients {
		clients.Go(func() error { return l.client(loading, n) })
	}
	group.Go(func() error { defer done(); return clients.Wait() })
	group.Go(func() error { return l.sample(loading) })
	err = group.Wait()
	report := Report{
		Requests: l.requests.Load(), Wrong: l.wrong.Load(), Hits: l.hits.Load(), Samples: l.samples,
	}
	if fault := l.fault.Load(); fault != nil {
		report.FirstFault = *fault
	}
	return report, errors.Join(err, report.check(config))
}

func (r Report) check(config Config) error {
	var faults []error
	if r.Wrong > 0 {
		faults = append(faults, fmt.Errorf("%d of %d answers were wrong, the first: %w", r.Wrong, r.Requests, r.FirstFault))
	}
	return errors.Join(append(faults, CheckGrowth(r.Samples, config.MaxGrowth, bounds(config.Servers)))...)
}

// load is a run under way.
type load struct {
	config   Config
	work     []kind
	requests atomic.Int64
	wrong    atomic.Int64
	hits     atomic.Int64
	fault    atomic.Pointer[error]
	samples  []Sample
}

// client sends one request after the other over a connection of its own.
func (l *load) client(ctx context.Context, n int) error {
	c := newClient(l.config.URL)
	defer c.close()
	random := rand.New(rand.NewPCG(uint64(n), 1)) //nolint:gosec // which request is next is no secret
	for ctx.Err() == nil {
		if done := l.requests.Add(1); l.config.Requests > 0 && done > l.config.Requests {
			l.requests.Add(-1)
			return nil
		}
		k := pick(l.work, random)
		hit, err := k.run(c, random)
		if err != nil {
			err = fmt.Errorf("%s: %w", k.name, err)
			l.wrong.Add(1)
			l.fault.CompareAndSwap(nil, &err)
		}
		if hit {
			l.hits.Add(1)
		}
	}
	return nil
}

func pick(work []kind, random *rand.Rand) kind {
	sum := 0
	for _, k := range work {
		sum += k.weight
	}
	n := random.IntN(sum)
	for _, k := range work {
		if n -= k.weight; n < 0 {
			return k
		}
	}
	return work[0]
}
