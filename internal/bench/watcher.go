package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// watcher asks for a function by one way of one Envoy.
type watcher struct {
	*changes
	function *changing
	way      string
	query    string
	address  string
	pause    time.Duration
	quiet    time.Duration

	answered time.Time // the change
	old, now int64
}

// holdTries are how many right answers each way gives before a change, so that all that answer
// have one: the ext_proc of both controls, which Envoy asks in turns, from what they keep; the
// filter of this Envoy, from what it keeps.
var holdTries = map[string]int{byHosts: 1, byExtProcs: 2, byFilters: 1}

// hold has the way keep the answer as it is now.
func (w *watcher) hold(ctx context.Context) error {
	tries, want := 0, w.function.value
	return w.until(ctx, func(a answer) bool {
		if a.value == want && (w.way == byHosts || a.by == w.way) { // another value is of before it was registered again
			tries++
		}
		return tries == holdTries[w.way]
	})
}

// until asks until the answer is right. Answers that are none are waited out.
func (w *watcher) until(ctx context.Context, right func(answer) bool) error {
	ctx, cancel := context.WithTimeout(ctx, max(newMost, filterMost))
	defer cancel()
	last := errNotYet
	err := w.ask(ctx, func(a answer, err error) bool {
		if err != nil {
			last = err
			return true
		}
		return !right(a)
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w", w.way, errors.Join(err, last))
	}
	return nil
}

// watch notes when the old answer came last.
func (w *watcher) watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, newMost)
	defer cancel()
	asked, since, last, settled := 0, 0, time.Duration(0), w.answered
	err := w.ask(ctx, func(a answer, err error) bool {
		asked++
		since++
		switch {
		case err != nil:
			w.wrong(fmt.Errorf("%s: %w", w.way, err))
			a.at = time.Now()
		case a.value == w.old:
			last, settled, since = a.at.Sub(w.answered), a.at, 0
		case a.value != w.now:
			w.wrong(fmt.Errorf("%s: it returned %d, which it was neither before (%d) nor after (%d)", w.way, a.value, w.old, w.now))
		}
		return a.at.Sub(settled) < w.quiet || since < quietAnswers
	})
	if err != nil {
		return fmt.Errorf("wait until %s gives the new answer: %w", w.way, err)
	}
	w.note(w.way, asked, last)
	return nil
}

// ask asks on a connection of its own, one after the other, until told to stop.
func (w *watcher) ask(ctx context.Context, goesOn func(answer, error) bool) error {
	c, err := dial(ctx, Endpoint{Network: "tcp", Address: w.address})
	if err != nil {
		return err
	}
	defer c.close()
	request := w.function.ask(w.way, w.query)
	tick := time.NewTicker(w.pause)
	defer tick.Stop()
	for {
		a, err := askFor(c, request)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !goesOn(a, err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
