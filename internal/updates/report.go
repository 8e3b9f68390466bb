package updates

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of a run.
const (
	mostLive  = 100.0 // ms, of 99 in 100 changes that come alone
	mostTimes = 1.10  // what a request costs, beside the first case
	// Memory may be so much more at the end than after a fifth of the time: allocators keep
	// what they had.
	mostGrowth = 1.15
	growthFree = 16 << 20
)

// Latency is in ms.
type Latency struct {
	P50, P99 float64
	Count    int
}

func quantiles(ms []float64) Latency {
	return Latency{quantile(ms, 0.5), quantile(ms, 0.99), len(ms)}
}

// Result is what came of one number of routes.
type Result struct {
	Routes    int
	Changes   int
	PerSecond float64
	Lost      int // hosts that are not as their last change has them
	Late      int // changes that were followed and did not become live
	Requests  int64
	Failed    int64
	Fault     string  // of a request that failed
	Alone     Latency // from a change alone to the first answer by it
	Live      Latency // the same of many at once
	Moved     Latency // and where it brought a new upstream
	Cost      float64 // Envoy's CPU time for a request, in µs
	Times     float64 // that of the first case
	Start     memory  // after a fifth of the time
	End       memory
}

// Report is what came of a run.
type Report struct {
	Rate    int
	Seconds float64
	Lenient bool
	Results []Result
}

// Err says which bounds were not kept.
func (r Report) Err() error {
	var faults []error
	for _, c := range r.Results {
		for _, fault := range c.faults(r.Lenient) {
			faults = append(faults, fmt.Errorf("%d routes: %s", c.Routes, fault))
		}
	}
	return errors.Join(faults...)
}

func (r Result) faults(lenient bool) (faults []string) {
	not := func(broken bool, format string, args ...any) {
		if broken {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	not(r.Failed > 0, "%d of %d requests failed: %s", r.Failed, r.Requests, r.Fault)
	not(r.Lost > 0, "%d hosts are not as they were changed", r.Lost)
	not(r.Late > 0, "%d changes did not become live", r.Late)
	if lenient {
		return faults
	}
	not(r.Alone.P99 > mostLive, "a change is live after %.0f ms (p99), more than %.0f", r.Alone.P99, mostLive)
	not(r.Times > mostTimes, "a request costs %.2f times that of few routes, more than %.2f", r.Times, mostTimes)
	not(grew(r.Start.Envoy, r.End.Envoy), "Envoy's memory grew from %d to %d MiB", r.Start.Envoy>>20, r.End.Envoy>>20)
	not(grew(r.Start.Control, r.End.Control), "control's memory grew from %d to %d MiB", r.Start.Control>>20, r.End.Control>>20)
	return faults
}

func grew(start, end int64) bool { return float64(end) > float64(start)*mostGrowth+growthFree }

// Markdown is a table of all.
func (r Report) Markdown() string {
	var out strings.Builder
	_, _ = fmt.Fprintf(&out, "Changes of one host of ten routes each, under load: first each by itself, then %d a second for %.0f s. Live: from the change to the first answer by it.\n\n", r.Rate, r.Seconds)
	out.WriteString("| routes | changes | a second | requests | failed | one live p50, p99 ms | many | with a new upstream | CPU a request µs | × | Envoy MiB | control MiB |\n")
	out.WriteString("|--:|--:|--:|--:|--:|---|---|---|--:|--:|---|---|\n")
	for _, c := range r.Results {
		_, _ = fmt.Fprintf(&out, "| %d | %d | %.0f | %d | %d | %.0f, %.0f | %.0f, %.0f | %.0f, %.0f | %.1f | %.2f | %d → %d | %d → %d |\n",
			c.Routes, c.Changes, c.PerSecond, c.Requests, c.Failed, c.Alone.P50, c.Alone.P99, c.Live.P50, c.Live.P99, c.Moved.P50, c.Moved.P99,
			c.Cost, c.Times, c.Start.Envoy>>20, c.End.Envoy>>20, c.Start.Control>>20, c.End.Control>>20)
	}
	return out.String()
}
