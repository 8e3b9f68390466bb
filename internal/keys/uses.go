package keys

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// storeUsesEvery is how far the time of last use lags.
	storeUsesEvery = 5 * time.Second
	// storeUsesTimeout bounds one batch, and the last one at the end.
	storeUsesTimeout = 2 * time.Second
	// maxUses bounds the keys whose use waits for the store.
	maxUses = 10_000
)

// uses are times of last use that are not stored yet.
type uses struct {
	store   Store
	logger  *slog.Logger
	metrics *metrics
	failing bool // of serve

	mu     sync.Mutex
	latest map[string]time.Time // by id
}

func (u *uses) note(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, waits := u.latest[id]; !waits && len(u.latest) >= maxUses {
		u.metrics.usesDropped.Inc()
		return
	}
	u.latest[id] = at
}

func (u *uses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.latest
	u.latest = make(map[string]time.Time, len(taken))
	return taken
}

// giveBack has what was not stored wait again, but where there is later.
func (u *uses) giveBack(taken map[string]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, at := range taken {
		switch _, later := u.latest[id]; {
		case later:
		case len(u.latest) >= maxUses:
			u.metrics.usesDropped.Inc()
		default:
			u.latest[id] = at
		}
	}
}

func (u *uses) serve(ctx context.Context) error {
	ticker := time.NewTicker(storeUsesEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			u.write(context.WithoutCancel(ctx))
			return nil
		case <-ticker.C:
			u.write(ctx)
		}
	}
}

// write stores what waits. It says once that the store does not take it.
func (u *uses) write(ctx context.Context) {
	taken := u.take()
	if len(taken) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeUsesTimeout)
	defer cancel()
	err := u.store.NoteKeyUses(ctx, taken)
	if err == nil {
		u.failing = false
		u.metrics.usesStored.Add(float64(len(taken)))
		return
	}
	u.giveBack(taken)
	if !u.failing {
		u.failing = true
		u.logger.WarnContext(ctx, "when API keys were last used cannot be stored; it is tried again", "error", err)
	}
}
