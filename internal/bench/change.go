package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// ChangesReport is how changes of functions come to all of several machines.
type ChangesReport struct {
	Seen  []Seen       `json:"seen"`
	Calls []ChangeCall `json:"calls"`
	// Asked is the requests whose replies were looked at, Wrong those which were neither the
	// old answer nor the new one, Why the first of these.
	Asked int    `json:"asked"`
	Wrong int    `json:"wrong"`
	Why   string `json:"why,omitempty"`
}

// Seen is how long after a change was answered the old answer was last received by a way, in
// ms; 0 where it was not at all.
type Seen struct {
	Way     string  `json:"way"`
	Samples int     `json:"samples"` // changes, Envoys and hosts, or the like
	Old     int     `json:"old"`     // samples in which the old answer was received at all
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Longest float64 `json:"max_ms"`
	Most    float64 `json:"p99_most_ms"`
	Missed  bool    `json:"missed"`
}

// ChangeCall is how long changes of a kind took to be answered.
type ChangeCall struct {
	Kind    string  `json:"kind"`
	Changes int     `json:"changes"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Longest float64 `json:"max_ms"`
}

// What the design asks for at the 99th percentile.
const (
	seenMost       = 100 * time.Millisecond
	seenFilterMost = time.Second
)

// How an answer is waited for.
const (
	askPause       = 4 * time.Millisecond
	askFilterPause = 10 * time.Millisecond
	// quietFor is how long, and quietAnswers in how many answers, no old one has to come until
	// all are thought to be new. That begins with the change. A new version may take longer
	// to answer first than old ones are looked for.
	quietFor       = 60 * time.Millisecond
	quietAnswers   = 8
	quietForFilter = 1200 * time.Millisecond // longer than it keeps anything
	newMost        = 5 * time.Second         // until all are
	filterMost     = 20 * time.Second        // until Envoys have compiled it
	// changesMost ends the changes where the machine is too busy for all of them.
	changesMost = 25 * time.Second
)

// changesOfEach is how often each function is changed, where there are enough changes.
func changesOfEach() int { return len(changeKinds()) }

// changes is the measurement under way.
type changes struct {
	*fleet
	functions []*changing
	values    int64

	mu    sync.Mutex // guards what follows
	seen  map[string][]time.Duration
	calls map[string][]time.Duration
	ChangesReport
}

func (s *state) measureChanges(ctx context.Context) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU()))
	defer s.stand.stopSince(len(s.stand.processes))
	f, err := s.startFleet(ctx)
	if err != nil {
		return err
	}
	c := &changes{fleet: f, values: firstOperand, seen: make(map[string][]time.Duration), calls: make(map[string][]time.Duration)}
	if err := c.register(ctx); err != nil {
		return err
	}
	s.config.Progress("waiting for the filter in both Envoys")
	if err := c.awaitFilter(ctx); err != nil {
		return err
	}
	s.config.Progress(fmt.Sprintf("changing functions %d times", s.config.Changes))
	err = c.changeAll(ctx)
	for _, function := range c.functions {
		function.watched.Wait()
	}
	if err != nil {
		return err
	}
	c.summarize()
	s.Changes = &c.ChangesReport
	return nil
}

// register registers the functions, at least one of each language.
func (c *changes) register(ctx context.Context) error {
	n := max(len(functions()), c.config.Changes/changesOfEach())
	for i := range n {
		function := &changing{language: functions()[i%len(functions())].host, title: "changing-" + strconv.Itoa(i)}
		c.functions = append(c.functions, function)
		err := c.call(ctx, function, "", nil)
		if err == nil {
			err = c.findHosts(ctx, function)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// call changes a function, and tells when that was answered.
func (c *changes) call(ctx context.Context, f *changing, kind string, answered *time.Time) error {
	value := c.values + 1
	c.values = value
	r := f.request(kind, value)
	client, err := dial(ctx, Endpoint{Network: "tcp", Address: c.envoys[0].address})
	if err != nil {
		return err
	}
	defer client.close()
	began := time.Now()
	if err := client.send(newCall(r.method, r.path, r.body)); err != nil {
		return err
	}
	status, reply, err := client.read()
	took := time.Since(began)
	if err == nil && status != r.status {
		err = fmt.Errorf("status %d: %.300s", status, reply)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	if answered != nil {
		*answered = began.Add(took)
		c.calls[kind] = append(c.calls[kind], took)
	}
	return f.changed(kind, value, reply)
}

// awaitFilter waits until the filter in both Envoys answers. Where it does not in time, as
// where the binary has none, that way is missing.
func (c *changes) awaitFilter(ctx context.Context) error {
	inTime, cancel := context.WithTimeout(ctx, filterMost)
	defer cancel()
	for _, e := range c.envoys {
		w := &watcher{changes: c, function: c.functions[0], way: byFilters, address: e.address, pause: settlePoll}
		err := w.until(inTime, func(a answer) bool { return a.by == byFilters })
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			c.stand.missing = append(c.stand.missing, Missing{Case: string(StatePart), Name: "changes in the filter", Why: err.Error()})
			return nil
		}
	}
	c.seen[byFilters] = []time.Duration{} // it is looked at
	return nil
}

func (c *changes) changeAll(ctx context.Context) error {
	began := time.Now()
	for i := range c.config.Changes {
		if time.Since(began) > changesMost {
			c.config.Progress(fmt.Sprintf("after %d changes the time is over", i))
			return nil
		}
		f := c.functions[i%len(c.functions)]
		f.watched.Wait()
		if f.value == 0 {
			if err := c.call(ctx, f, "", nil); err != nil {
				return err
			}
		}
		if err := c.change(ctx, f); err != nil {
			return fmt.Errorf("change %d, of %s-%s: %w", i, f.language, f.title, err)
		}
		f.steps++
	}
	return nil
}

// change has all ways hold an answer, changes the function, and asks all until none gives the
// old answer any more. The filter is waited for while others are changed.
func (c *changes) change(ctx context.Context, f *changing) error {
	watchers := c.watchers(f)
	if err := all(watchers, func(w *watcher) error { return w.hold(ctx) }); err != nil {
		return err
	}
	old, answered := f.value, time.Time{}
	if err := c.call(ctx, f, f.nextKind(), &answered); err != nil {
		return err
	}
	now := f.value
	return all(watchers, func(w *watcher) error {
		w.answered, w.old, w.now = answered, old, now
		if w.way != byFilters {
			return w.watch(ctx)
		}
		f.watched.Go(func() {
			if err := w.watch(ctx); err != nil {
				c.wrong(err)
			}
		})
		return nil
	})
}

// watchers ask by each way of each Envoy.
func (c *changes) watchers(f *changing) (watchers []*watcher) {
	for _, e := range c.envoys {
		add := func(way, query string) {
			w := &watcher{changes: c, function: f, way: way, query: query, address: e.address, pause: askPause, quiet: quietFor}
			if way == byFilters {
				w.pause, w.quiet = askFilterPause, quietForFilter
			}
			watchers = append(watchers, w)
		}
		for _, query := range f.queries {
			add(byHosts, query)
		}
		for range c.controls { // each ask is of another of them
			add(byExtProcs, "")
		}
		if c.seen[byFilters] != nil {
			add(byFilters, "")
		}
	}
	return watchers
}

// all has watchers do something at once.
func all(watchers []*watcher, do func(*watcher) error) error {
	var group errgroup.Group
	for _, w := range watchers {
		group.Go(func() error { return do(w) })
	}
	return group.Wait()
}

func (c *changes) wrong(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Wrong++; c.Wrong == 1 {
		c.Why = err.Error()
	}
}

func (c *changes) note(way string, asked int, last time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Asked += asked
	c.seen[way] = append(c.seen[way], last)
}

func (c *changes) summarize() {
	for _, way := range []string{byHosts, byExtProcs, byFilters} {
		if c.seen[way] == nil {
			continue
		}
		c.Seen = append(c.Seen, newSeen(way, c.seen[way]))
	}
	for _, kind := range []string{newVersion, rollback, deletion} {
		if took := c.calls[kind]; len(took) > 0 {
			slices.Sort(took)
			c.Calls = append(c.Calls, ChangeCall{
				Kind: kind, Changes: len(took), P50: milliseconds(percentile(took, 0.50)),
				P99: milliseconds(percentile(took, 0.99)), Longest: milliseconds(took[len(took)-1]),
			})
		}
	}
}

func newSeen(way string, last []time.Duration) Seen {
	slices.Sort(last)
	s := Seen{
		Way: way, Samples: len(last), P50: milliseconds(percentile(last, 0.50)), P99: milliseconds(percentile(last, 0.99)),
		Longest: milliseconds(percentile(last, 1)), Most: milliseconds(seenMost),
	}
	if way == byFilters {
		s.Most = milliseconds(seenFilterMost)
	}
	for _, d := range last {
		if d > 0 {
			s.Old++
		}
	}
	s.Missed = s.P99 > s.Most
	return s
}

func (r *ChangesReport) missed() (missed []string) {
	for _, s := range r.Seen {
		if s.Missed {
			missed = append(missed, "changes by "+s.Way)
		}
	}
	if r.Wrong > 0 {
		missed = append(missed, "answers while functions change")
	}
	return missed
}

var errNotYet = errors.New("it does not answer from what it keeps")
