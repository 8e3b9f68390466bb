package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Settling: deferred work, such as rows of a log that are still to be stored, is
// waited for, so that it is charged to the case that caused it and not to the
// next one.
const (
	settlePoll = 50 * time.Millisecond
	settleMost = time.Second
)

// resultKey names a series of rounds.
type resultKey struct{ caseKey, load string }

// run is a benchmark under way.
type run struct {
	config    Config
	stand     *stand
	fs        procfs
	rounds    map[resultKey][]Round
	otherLoad []float64
}

// measureAll lets the cases take turns. Cold starts come last: the workers that
// they leave behind would disturb the others.
func (r *run) measureAll(ctx context.Context) error {
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	for i := range r.config.Rounds {
		r.config.Progress(fmt.Sprintf("round %d of %d", i+1, r.config.Rounds))
		for _, load := range r.config.loads() {
			if i%load.Every != 0 {
				continue
			}
			if err := r.measureCases(ctx, load, i%2 == 1); err != nil {
				return err
			}
		}
	}
	for i := range r.config.coldRounds() {
		if err := r.measureCold(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) warmUp(ctx context.Context) error {
	r.config.Progress("warming up")
	for _, c := range r.stand.cases {
		if c.Cold {
			continue
		}
		if _, err := measure(ctx, c.Endpoint, r.config.loads()[0], r.config.WarmUp); err != nil {
			return fmt.Errorf("warm up %s: %w", c.Name, err)
		}
	}
	return nil
}

// measureCases goes through the cases, in every other round from the last to the
// first: a machine that slows down meanwhile then favours neither end.
func (r *run) measureCases(ctx context.Context, load Load, backwards bool) error {
	cases := slices.Clone(r.stand.cases)
	if backwards {
		slices.Reverse(cases)
	}
	for _, c := range cases {
		if c.Cold {
			continue
		}
		err := r.account(ctx, resultKey{c.Key, load.Name}, func() (outcome, error) {
			return measure(ctx, c.Endpoint, load, r.config.Duration)
		})
		if err != nil {
			return fmt.Errorf("measure %s, %s: %w", c.Name, load.Name, err)
		}
	}
	return nil
}

func (r *run) measureCold(ctx context.Context, round int) error {
	for _, c := range r.stand.cases {
		if !c.Cold {
			continue
		}
		r.config.Progress(fmt.Sprintf("cold starts, round %d of %d", round+1, r.config.coldRounds()))
		err := r.account(ctx, resultKey{c.Key, Cold}, func() (outcome, error) {
			return coldStarts(ctx, c.Endpoint, round, r.config.ColdStarts)
		})
		if err != nil {
			return fmt.Errorf("measure %s: %w", c.Name, err)
		}
	}
	return nil
}

// account measures once and keeps the figures with the CPU time that they took.
func (r *run) account(ctx context.Context, key resultKey, measure func() (outcome, error)) error {
	before, busyBefore, err := r.readCPU()
	if err != nil {
		return err
	}
	began := time.Now()
	o, err := measure()
	if err != nil {
		return err
	}
	after, busyAfter, err := r.settle(ctx)
	if err != nil {
		return err
	}
	spent := after.sub(before)
	r.rounds[key] = append(r.rounds[key], newRound(o, spent))
	others := busyAfter - busyBefore - spent.sum()
	r.otherLoad = append(r.otherLoad, max(0, others.Seconds()/time.Since(began).Seconds()))
	return nil
}

// settle waits until the measured processes rest, and reads their CPU times.
func (r *run) settle(ctx context.Context) (times cpuTimes, busy time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleMost)
	defer cancel()
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	times, busy, err = r.readCPU()
	for quiet := 0; err == nil && quiet < 2; {
		select {
		case <-ctx.Done():
			return times, busy, nil
		case <-poll.C:
		}
		earlier := times
		times, busy, err = r.readCPU()
		spent := times.sub(earlier)
		if delete(spent, Client); spent.sum() == 0 {
			quiet++
		} else {
			quiet = 0
		}
	}
	return times, busy, err
}

func (r *run) readCPU() (times cpuTimes, busy time.Duration, err error) {
	if times, err = r.fs.readCPU(r.stand.roots()); err != nil {
		return nil, 0, err
	}
	times[Client] = ownCPU()
	busy, err = r.fs.readBusy()
	return times, busy, err
}

// coldStarts sends one-shots one after another, each with code that nobody has
// seen before.
func coldStarts(ctx context.Context, endpoint Endpoint, round, n int) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, stallTimeout+time.Duration(n)*time.Second)
	defer cancel()
	c, err := dial(ctx, endpoint)
	if err != nil {
		return outcome{}, err
	}
	defer c.close()
	var latencies []time.Duration
	began := time.Now()
	for i := range n {
		code := fmt.Sprintf("%s // %d-%d", addFunction, round, i)
		q := newQuestion(endpoint, firstOperand, fmt.Sprintf(`,"script_content":%q`, code))
		sent := time.Now()
		if err := q.ask(c); err != nil {
			return outcome{}, err
		}
		latencies = append(latencies, time.Since(sent))
	}
	slices.Sort(latencies)
	return outcome{elapsed: time.Since(began), sorted: latencies}, nil
}
