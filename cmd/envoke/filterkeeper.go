package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// The pause between the failure of a filter and its next generation. A filter that goes
// on failing costs a request per thread and generation.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = time.Minute
	quiet        = time.Minute // without a failure, after which the pause is the first again
)

// filterKeeper decides which filter Envoy has, and publishes it anew when it failed: Envoy
// passes by a filter that trapped until another generation of it comes.
type filterKeeper struct {
	publish  func(ctx context.Context, module []byte, generation int) error
	logger   *slog.Logger
	failures chan time.Time // holds the last that Serve has not seen

	mu         sync.Mutex // guards what follows, and lets one publish after the other
	module     []byte     // empty: no filter
	generation int
	renewed    time.Time // when the generation came; zero: it is the first
}

func newFilterKeeper(logger *slog.Logger, publish func(ctx context.Context, module []byte, generation int) error) *filterKeeper {
	return &filterKeeper{publish: publish, logger: logger, failures: make(chan time.Time, 1)}
}

// set publishes a module, or with nil that there is none.
func (k *filterKeeper) set(ctx context.Context, module []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.module = module
	return k.publish(ctx, k.module, k.generation)
}

// failed notes that the filter failed a request which began then. It never waits.
func (k *filterKeeper) failed(began time.Time) {
	select {
	case other := <-k.failures:
		if other.After(began) {
			began = other
		}
	default:
	}
	select {
	case k.failures <- began:
	default: // somebody else's
	}
}

// Serve publishes a filter that fails anew, until ctx ends.
func (k *filterKeeper) Serve(ctx context.Context) error {
	var pause time.Duration
	for {
		select {
		case <-ctx.Done():
			return nil
		case began := <-k.failures:
			since, current := k.age(began)
			if !current {
				continue
			}
			pause = nextPause(pause, since)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if err := k.renew(ctx, pause); err != nil {
			k.logger.Error("cannot publish the filter anew", slog.Any("error", err))
		}
	}
}

// age is how long ago the filter was renewed, and tells whether it is this generation that
// failed a request which began then. The one before goes on failing what it holds, for as
// long as that lasts.
func (k *filterKeeper) age(began time.Time) (since time.Duration, current bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	since = time.Since(k.renewed)
	// After a quiet time it is, whatever was done to the clock.
	return since, len(k.module) > 0 && (began.After(k.renewed) || since >= quiet)
}

func nextPause(last, since time.Duration) time.Duration {
	if since >= quiet {
		return firstPause
	}
	return min(max(2*last, firstPause), longestPause)
}

// renew publishes the next generation.
func (k *filterKeeper) renew(ctx context.Context, pause time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.generation++
	k.renewed = time.Now()
	k.logger.Warn("the filter failed in Envoy, where requests pass by it since: publishing it anew",
		slog.Int("generation", k.generation), slog.Duration("pause", pause))
	return k.publish(ctx, k.module, k.generation)
}
