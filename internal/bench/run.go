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
	quietPolls = 2
)

// What starts goes on to work after it is ready: Envoy compiles the filter for seconds,
// which must be over before anything is measured.
const (
	startPolls = 20
	startMost  = 30 * time.Second
)

// rest waits until what a burst or many new functions have begun is over, as far as the
// length of a measurement allows.
func (r *run) rest(ctx context.Context) error {
	_, _, err := r.settle(ctx, startPolls, min(startMost, 20*r.config.Duration))
	return err
}

// resultKey names a series of rounds.
type resultKey struct{ caseKey, load string }

// series are the rounds of a case under a load, and the latencies of all of them.
type series struct {
	rounds []Round
	pooled []time.Duration
}

// run is a benchmark under way.
type run struct {
	config    Config
	stand     *stand
	fs        procfs
	series    map[resultKey]*series
	memories  memories
	otherLoad []float64
	bursts    []Burst
	state     *State
	density   *Density
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
			if err := r.noteShares(); err != nil {
				return err
			}
		}
	}
	r.memories.endRounds()
	if err := r.measureBuilds(ctx); err != nil {
		return err
	}
	if err := r.measureAllCold(ctx); err != nil {
		return err
	}
	if err := r.measureState(ctx); err != nil {
		return err
	}
	return r.measureMany(ctx)
}

func (r *run) measureAllCold(ctx context.Context) error {
	if !slices.ContainsFunc(r.stand.cases(), func(c Case) bool { return c.Cold }) {
		return nil
	}
	for i := range r.config.coldRounds() {
		if err := r.measureCold(ctx, i); err != nil {
			return err
		}
		if err := r.noteShares(); err != nil {
			return err
		}
	}
	return r.measureBursts(ctx)
}

func (r *run) warmUp(ctx context.Context) error {
	r.config.Progress("waiting until what was started rests")
	if _, _, err := r.settle(ctx, startPolls, startMost); err != nil {
		return err
	}
	if err := r.stand.checkFilter(ctx); err != nil {
		return err
	}
	r.config.Progress("warming up")
	load := r.config.loads()[0]
	load.Duration = r.config.WarmUp
	for _, c := range r.stand.cases() {
		if !c.looped() {
			continue
		}
		if _, err := measure(ctx, r.stand.endpoints[c.Key], load); err != nil {
			return fmt.Errorf("warm up %s: %w", c.Name, err)
		}
	}
	return nil
}

// measureCases goes through the cases, in every other round from the last to the
// first: a machine that slows down meanwhile then favours neither end.
func (r *run) measureCases(ctx context.Context, load Load, backwards bool) error {
	cases := r.stand.cases()
	if backwards {
		slices.Reverse(cases)
	}
	for _, c := range cases {
		if !c.looped() {
			continue
		}
		err := r.account(ctx, resultKey{c.Key, load.Name}, func() (outcome, error) {
			return measure(ctx, r.stand.endpoints[c.Key], load)
		})
		if err != nil {
			return fmt.Errorf("measure %s, %s: %w", c.Name, load.Name, err)
		}
	}
	return nil
}

func (r *run) measureCold(ctx context.Context, round int) error {
	r.config.Progress(fmt.Sprintf("cold starts, round %d of %d", round+1, r.config.coldRounds()))
	for _, c := range r.stand.cases() {
		if !c.Cold {
			continue
		}
		err := r.account(ctx, resultKey{c.Key, Cold}, func() (outcome, error) {
			return r.coldStarts(ctx, r.stand.endpoints[c.Key], round)
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
	after, busyAfter, err := r.settle(ctx, quietPolls, settleMost)
	if err != nil {
		return err
	}
	spent := after.sub(before)
	s := r.series[key]
	if s == nil {
		s = new(series)
		r.series[key] = s
	}
	s.rounds = append(s.rounds, newRound(o, spent.of(r.stand.endpoints[key.caseKey].Of)))
	s.pooled = append(s.pooled, o.sorted...)
	others := busyAfter - busyBefore - spent.sum()
	r.otherLoad = append(r.otherLoad, max(0, others.Seconds()/time.Since(began).Seconds()))
	return nil
}

// settle waits until the measured processes rest for some polls in a row, but no
// longer than most, and reads their CPU times.
func (r *run) settle(ctx context.Context, polls int, most time.Duration) (times cpuTimes, busy time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	times, busy, err = r.readCPU()
	for quiet := 0; err == nil && quiet < polls; {
		select {
		case <-ctx.Done():
			return times, busy, nil
		case <-poll.C:
		}
		earlier := times
		times, busy, err = r.readCPU()
		spent := times.sub(earlier)
		if delete(spent, generator); spent.sum() == 0 {
			quiet++
		} else {
			quiet = 0
		}
	}
	return times, busy, err
}

// readCPU notes the memory that it comes across.
func (r *run) readCPU() (times cpuTimes, busy time.Duration, err error) {
	u, err := r.fs.read(r.stand.roots())
	if err != nil {
		return nil, 0, err
	}
	r.memories.note(u.held)
	u.cpu[generator] = ownCPU()
	busy, err = r.fs.readBusy()
	return u.cpu, busy, err
}

// noteShares notes the memory that needs more time to be read.
func (r *run) noteShares() error {
	u, err := r.fs.read(r.stand.roots())
	if err != nil {
		return err
	}
	r.memories.noteShares(r.fs, u.held)
	return nil
}

// coldStarts sends one-shots one after another, each with code that nobody has seen
// before. In between it waits until the machine rests: the pool of ready workers is
// then full again.
func (r *run) coldStarts(ctx context.Context, endpoint Endpoint, round int) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, stallTimeout+time.Duration(r.config.ColdStarts)*(time.Second+settleMost))
	defer cancel()
	c, err := dial(ctx, endpoint)
	if err != nil {
		return outcome{}, err
	}
	defer c.close()
	var o outcome
	for i := range r.config.ColdStarts {
		q := newQuestion(endpoint, firstOperand, ","+endpoint.Unseen(fmt.Sprintf("%d-%d", round, i)))
		sent := time.Now()
		if err := q.ask(c); err != nil {
			return outcome{}, err
		}
		latency := time.Since(sent)
		o.elapsed += latency
		o.sorted = append(o.sorted, latency)
		if _, _, err := r.settle(ctx, quietPolls, settleMost); err != nil {
			return outcome{}, err
		}
	}
	slices.Sort(o.sorted)
	return o, nil
}
