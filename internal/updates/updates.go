// Package updates measures what a change of declared routes costs: it has a real Envoy serve
// few and many routes, changes them under load, and tells what came of it.
package updates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// perHost is how many routes each host has.
const perHost = 10

// Config is what a run does.
type Config struct {
	Envoy    string // the binary
	Dir      string // an empty folder, whose path is short
	Routes   []int  // how many, one case after the other; the first is what others are compared with
	Alone    int    // changes of which each is live before the next
	Rate     int    // changes a second, then
	Duration time.Duration
	Rounds   int  // of what a request costs; 0: 7
	Lenient  bool // times and memory are shown but not judged: the machine is busy
	Out      io.Writer
}

// Run measures all cases. The report says which bounds were not kept; the error, what kept it
// from being measured.
func Run(ctx context.Context, c Config) (report Report, err error) {
	report = Report{Rate: c.Rate, Seconds: c.Duration.Seconds(), Lenient: c.Lenient}
	var rigs []*rig
	defer func() {
		for _, r := range rigs {
			err = errors.Join(err, r.stop())
		}
	}()
	for n, routes := range c.Routes {
		r, err := startRig(ctx, c, n, routes)
		if r != nil {
			rigs = append(rigs, r)
		}
		if err != nil {
			return report, fmt.Errorf("%d routes: %w", routes, err)
		}
	}
	costs, err := compare(ctx, rigs, max(c.Rounds, 1))
	if err != nil {
		return report, err
	}
	for n, r := range rigs {
		result, err := r.change(ctx, c)
		if err != nil {
			return report, fmt.Errorf("%d routes: %w", c.Routes[n], err)
		}
		result.Routes, result.Cost, result.Times = c.Routes[n], costs[n], costs[n]/costs[0]
		report.Results = append(report.Results, result)
		_, _ = fmt.Fprintf(c.Out, "%d routes: done\n", c.Routes[n])
	}
	return report, nil
}
