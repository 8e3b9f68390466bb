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
	Ready    int     `json:"ready"`         // workers that were kept ready; 0: as many as by default, or no case of workers
	Failed   int     `json:"failed"`        // were not answered with their result
	Why      string  `json:"why,omitempty"` // of the first of those
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Most     float64 `json:"p99_most_ms"` // 0: it has no target
	Missed   bool    `json:"missed"`
}

const burstTitle = "A burst: new code in each of the requests, which come at one moment"

// measureBursts sends a burst of each case that has a target for its cold starts. Languages
// that have a process for each function get a second one, of an Envoke that keeps as many
// ready as that takes: the target is of a pool that is filled.
func (r *run) measureBursts(ctx context.Context) error {
	var filled []oneShots
	for _, c := range r.stand.cases() {
		i := slices.IndexFunc(functions(), func(f function) bool { return f.cold == c.Key })
		if i < 0 {
			continue
		}
		b, of := Burst{Case: c.Key, Name: c.Name, Most: milliseconds(burstMost)}, functions()[i]
		if of.empty != "" {
			filled, b.Most = append(filled, oneShots{c, of}), 0
		}
		if err := r.measureBurst(ctx, b, r.stand.endpoints[c.Key]); err != nil {
			return err
		}
	}
	if len(filled) == 0 {
		return nil
	}
	return r.measureFilled(ctx, filled)
}

// oneShots are a case of cold starts and what it calls.
type oneShots struct {
	Case
	of function
}

// measureFilled sends the bursts to an Envoke of their own.
func (r *run) measureFilled(ctx context.Context, filled []oneShots) error {
	size := burstOf * r.config.ColdStarts
	r.config.Progress(fmt.Sprintf("starting an Envoke that keeps %d workers of each language ready", size))
	ours, err := r.stand.startEnvoke(ctx, filledName, "--idle-workers", strconv.Itoa(size), "--max-workers", strconv.Itoa(4*size))
	if err != nil {
		return err
	}
	last := len(r.stand.processes) - 1
	p := r.stand.processes[last]
	defer func() {
		p.stop()
		r.stand.processes = r.stand.processes[:last]
	}()
	for _, f := range filled {
		ready := readyWorkers(f.of.host)
		if err := p.waitFor(ctx, func() error { return atLeast(ctx, ours.operators, ready, size) }); err != nil {
			return err
		}
	}
	for _, f := range filled {
		b := Burst{Case: f.Key, Name: f.Name, Most: milliseconds(burstMost), Ready: size}
		if err := r.measureBurst(ctx, b, oneShotOf(ours, f.of)); err != nil {
			return err
		}
	}
	return nil
}

// readyWorkers is the metric of those of a language.
func readyWorkers(language string) string {
	return `envoke_pool_workers{language="` + language + `",state="ready"}`
}

func atLeast(ctx context.Context, operators, metric string, want int) error {
	got, err := readMetric(ctx, operators, metric)
	if err == nil && got < float64(want) {
		err = fmt.Errorf("%s is %.0f, want %d", metric, got, want)
	}
	return err
}

func (r *run) measureBurst(ctx context.Context, b Burst, endpoint Endpoint) error {
	r.config.Progress("a burst of " + b.Name)
	if err := b.measure(ctx, endpoint, burstOf*r.config.ColdStarts); err != nil {
		return fmt.Errorf("burst of %s: %w", b.Name, err)
	}
	r.bursts = append(r.bursts, b)
	return r.rest(ctx)
}

func (b *Burst) measure(ctx context.Context, endpoint Endpoint, size int) error {
	ctx, cancel := context.WithTimeout(ctx, stallTimeout+burstMost)
	defer cancel()
	clients := make([]*client, size)
	for i := range clients {
		c, err := dial(ctx, endpoint)
		if err != nil {
			return err
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
		return errors.Join(err, errors.Join(failures...))
	}
	failures = slices.DeleteFunc(failures, func(err error) bool { return err == nil })
	slices.Sort(latencies)
	b.Requests, b.Failed = size, len(failures)
	b.P50, b.P99 = milliseconds(percentile(latencies, 0.50)), milliseconds(percentile(latencies, 0.99))
	if len(failures) > 0 {
		b.Why = failures[0].Error()
	}
	b.Missed = b.Most > 0 && (b.Failed > 0 || b.P99 > b.Most)
	return nil
}

// burstTable is nil where there was none.
func (r Report) burstTable() *table {
	if len(r.Bursts) == 0 {
		return nil
	}
	t := &table{text: 2}
	t.add("", "", "kept ready", "requests", "failed", "p50 ms", "p99 ms", "p99 target", "")
	for _, b := range r.Bursts {
		ready, target, verdict := "", "", ""
		if b.Ready > 0 {
			ready = strconv.Itoa(b.Ready)
		}
		if b.Most > 0 {
			target, verdict = fmt.Sprintf("≤ %.0f", b.Most), metOr(b.Missed)
		}
		t.add(b.Case, b.Name, ready, strconv.Itoa(b.Requests), strconv.Itoa(b.Failed), number(b.P50, 0), number(b.P99, 0), target, verdict)
	}
	return t
}

func metOr(missed bool) string {
	if missed {
		return "NOT MET"
	}
	return "met"
}
