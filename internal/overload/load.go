package overload

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// neighbourRate is the calls a second of the function that is not flooded.
const neighbourRate = 20

// closedLoop has so many callers send again when they have their answer.
func closedLoop(ctx context.Context, t target, callers int, length time.Duration) (*counts, error) {
	began := time.Now()
	counted := newCounts(began, length)
	group, ctx := errgroup.WithContext(ctx)
	for range callers {
		group.Go(func() error {
			c := newCaller(t)
			defer c.close()
			for ctx.Err() == nil && time.Since(began) < length {
				counted.add(c.call())
			}
			return ctx.Err()
		})
	}
	return counted, group.Wait()
}

// openLoop sends calls that come when they come, whatever becomes of those before
// (a Poisson process): of a flood, an even spacing would leave out the worst.
type openLoop struct {
	target, beside target
	rate           float64 // calls a second
	length         time.Duration
	most           int // connections

	flooded, neighbour *counts
	calls              sync.WaitGroup
	unsent             atomic.Int64 // calls that found all connections busy

	mu   sync.Mutex
	idle []*caller // the one used last is used next
	made int
}

// run returns when the last call was sent.
func (o *openLoop) run(ctx context.Context) error {
	began := time.Now()
	o.flooded = newCounts(began, o.length)
	group, ctx := errgroup.WithContext(ctx)
	if o.beside.path != "" {
		o.neighbour = newCounts(began, o.length)
		group.Go(func() error { return o.neighbours(ctx, began) })
	}
	group.Go(func() error {
		return o.pace(ctx, began, func(c *caller) {
			o.calls.Go(func() { o.flooded.add(c.call()); o.put(c) })
		})
	})
	return group.Wait()
}

// wait waits until all calls are answered, each of which has a deadline.
func (o *openLoop) wait() {
	o.calls.Wait()
	for _, c := range o.idle {
		c.close()
	}
}

// pace begins each call when it is due.
func (o *openLoop) pace(ctx context.Context, began time.Time, begin func(*caller)) error {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // when a call comes is no secret
	due := began
	for due.Sub(began) < o.length {
		if wait := time.Until(due); wait > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		}
		if c := o.take(); c != nil {
			begin(c)
		} else {
			o.unsent.Add(1)
		}
		due = due.Add(time.Duration(random.ExpFloat64() / o.rate * float64(time.Second)))
	}
	return nil
}

// take is nil where as many calls are under way as there may be connections.
func (o *openLoop) take() *caller {
	o.mu.Lock()
	defer o.mu.Unlock()
	if last := len(o.idle) - 1; last >= 0 {
		c := o.idle[last]
		o.idle = o.idle[:last]
		return c
	}
	if o.made == o.most {
		return nil
	}
	o.made++
	return newCaller(o.target)
}

func (o *openLoop) put(c *caller) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.idle = append(o.idle, c)
}

// neighbours calls the other function, a few times a second and one call after the other.
func (o *openLoop) neighbours(ctx context.Context, began time.Time) error {
	c := newCaller(o.beside)
	defer c.close()
	tick := time.NewTicker(time.Second / neighbourRate)
	defer tick.Stop()
	for time.Since(began) < o.length {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			o.neighbour.add(c.call())
		}
	}
	return nil
}
