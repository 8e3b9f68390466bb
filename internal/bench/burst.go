package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// burstOf is how many one-shots come at one moment, for each of a round's cold starts: 200
// where nothing else is said.
const burstOf = 10

// burstMost is the greatest 99th percentile that the design asks of a burst.
const burstMost = 3 * time.Second

// Burst is what became of one-shots of different new code that came at one moment.
type Burst struct {
	Case     string  `json:"case"`
	Name     string  `json:"name"`
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`        // were not answered with their result
	Why      string  `json:"why,omitempty"` // of the first of those
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Most     float64 `json:"p99_most_ms"`
	Missed   bool    `json:"missed"`
}

const burstTitle = "A burst: new code in each of the requests, which come at one moment"

// measureBursts sends a burst of each case that has a target for its cold starts.
func (r *run) measureBursts(ctx context.Context) error {
	for _, c := range r.stand.cases() {
		if c.Most == 0 {
			continue
		}
		r.config.Progress("a burst of " + c.Name)
		b, err := burst(ctx, r.stand.endpoints[c.Key], burstOf*r.config.ColdStarts)
		if err != nil {
			return fmt.Errorf("burst of %s: %w", c.Name, err)
		}
		b.Case, b.Name = c.Key, c.Name
		r.bursts = append(r.bursts, b)
		if err := r.rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

func burst(ctx context.Context, endpoint Endpoint, size int) (Burst, error) {
	ctx, cancel := context.WithTimeout(ctx, stallTimeout+burstMost)
	defer cancel()
	clients := make([]*client, size)
	for i := range clients {
		c, err := dial(ctx, endpoint)
		if err != nil {
			return Burst{}, err
		}
		defer c.close()
		clients[i] = c
	}
	latencies, failures := make([]time.Duration, size), make([]error, size)
	var group errgroup.Group
	began := time.Now()
	for i, c := range clients {
		group.Go(func() error {
			q := newQuestion(endpoint, firstOperand, ","+endpoint.Unseen("burst-"+strconv.Itoa(i)))
			failures[i] = q.ask(c)
			latencies[i] = time.Since(began)
			return nil
		})
	}
	_ = group.Wait() // none fails
	if err := ctx.Err(); err != nil {
		return Burst{}, errors.Join(err, errors.Join(failures...))
	}
	failures = slices.DeleteFunc(failures, func(err error) bool { return err == nil })
	slices.Sort(latencies)
	b := Burst{
		Requests: size, Failed: len(failures), Most: milliseconds(burstMost),
		P50: milliseconds(percentile(latencies, 0.50)), P99: milliseconds(percentile(latencies, 0.99)),
	}
	if len(failures) > 0 {
		b.Why = failures[0].Error()
	}
	b.Missed = b.Failed > 0 || b.P99 > b.Most
	return b, nil
}

// burstTable is nil where there was none.
func (r Report) burstTable() *table {
	if len(r.Bursts) == 0 {
		return nil
	}
	t := &table{text: 2}
	t.add("", "", "requests", "failed", "p50 ms", "p99 ms", "p99 target", "")
	for _, b := range r.Bursts {
		t.add(b.Case, b.Name, strconv.Itoa(b.Requests), strconv.Itoa(b.Failed), number(b.P50, 0), number(b.P99, 0),
			fmt.Sprintf("≤ %.0f", b.Most), metOr(b.Missed))
	}
	return t
}

func metOr(missed bool) string {
	if missed {
		return "NOT MET"
	}
	return "met"
}
