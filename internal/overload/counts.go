package overload

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// slice is the finest time that is told apart.
const slice = 250 * time.Millisecond

// counts is what became of calls, by when they were sent.
type counts struct {
	began time.Time

	mu     sync.Mutex
	slices []tally
}

// tally is what became of some calls.
type tally struct {
	Limited, Unavailable, Wrong int             // 429 and 503 as documented; all else
	latencies                   []time.Duration // of the accepted
	why                         string          // of the first wrong one
}

func (t tally) accepted() int { return len(t.latencies) }
func (t tally) refused() int  { return t.Limited + t.Unavailable }

func newCounts(began time.Time, length time.Duration) *counts {
	return &counts{began: began, slices: make([]tally, int(length/slice)+1)}
}

func (c *counts) add(f fate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := min(max(int(f.sent.Sub(c.began)/slice), 0), len(c.slices)-1)
	t := &c.slices[at]
	switch {
	case f.wrong != "":
		t.Wrong++
		t.why = cmp.Or(t.why, f.wrong)
	case f.status == 429:
		t.Limited++
	case f.status == 503:
		t.Unavailable++
	default:
		t.latencies = append(t.latencies, f.ended.Sub(f.sent))
	}
}

// between sums up what was sent in a part of the time.
func (c *counts) between(from, to time.Duration) (sum tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := int(from / slice); at < min(int(to/slice), len(c.slices)); at++ {
		t := c.slices[at]
		sum.Limited += t.Limited
		sum.Unavailable += t.Unavailable
		sum.Wrong += t.Wrong
		sum.why = cmp.Or(sum.why, t.why)
		sum.latencies = append(sum.latencies, t.latencies...)
	}
	slices.Sort(sum.latencies)
	return sum
}

func (c *counts) all() tally { return c.between(0, time.Duration(len(c.slices))*slice) }

func (c *counts) firstWrong() string { return cmp.Or(c.all().why, "no answer was wrong") }

// Figures are a tally's, in milliseconds and calls a second.
type Figures struct {
	Accepted    int     `json:"accepted"`
	PerSecond   float64 `json:"accepted_per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	Limited     int     `json:"status_429"`
	Unavailable int     `json:"status_503"`
	Wrong       int     `json:"wrong"`
	Why         string  `json:"first_wrong,omitempty"`
}

// figures is of a tally of so long a time, whose latencies are sorted.
func (t tally) figures(length time.Duration) Figures {
	return Figures{
		Accepted: t.accepted(), PerSecond: float64(t.accepted()) / length.Seconds(),
		P50: milliseconds(percentile(t.latencies, 0.50)), P99: milliseconds(percentile(t.latencies, 0.99)),
		Limited: t.Limited, Unavailable: t.Unavailable, Wrong: t.Wrong, Why: t.why,
	}
}

// percentile is the nearest-rank percentile of sorted values, 0 for none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(p*float64(len(sorted)))), 1)-1]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
