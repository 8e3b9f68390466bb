package resultcache

import (
	"context"
	"fmt"
	"time"
)

// Flight is one call of a function under way, whose result others wait for.
type Flight struct {
	cache  *Cache
	key    Key
	landed chan struct{} // closed when the flight has ended

	// Written before landed is closed.
	entry *Entry
	alone bool
}

// Outcome is how a wait ended.
type Outcome int

// The outcomes.
const (
	Landed    Outcome = iota // there is an entry
	Alone                    // the result is not for others: run the function yourself
	Abandoned                // the caller went away before there was a result: ask again
)

// Wait returns when the flight has ended. The error is that of ctx.
func (f *Flight) Wait(ctx context.Context) (*Entry, Outcome, error) {
	select {
	case <-f.landed:
	case <-ctx.Done():
		return nil, Abandoned, fmt.Errorf("wait for a result: %w", ctx.Err())
	}
	switch {
	case f.entry != nil:
		return f.entry, Landed, nil
	case f.alone:
		return nil, Alone, nil
	}
	return nil, Abandoned, nil
}

// FindShared asks the shared cache in the name of all who wait. An entry that is not
// too old ends the flight.
func (f *Flight) FindShared(ctx context.Context, limits Limits) *Entry {
	shared := f.cache.Shared
	if shared == nil {
		return nil
	}
	entry := shared.Find(ctx, f.key)
	if entry == nil || f.cache.Now().Sub(entry.Made) > limits.MaxAge {
		return nil
	}
	f.end(entry, false)
	return entry
}

// Land ends the flight with a result that others may have, and holds it.
func (f *Flight) Land(ctx context.Context, entry *Entry) {
	f.end(entry, false)
	if shared := f.cache.Shared; shared != nil {
		shared.Store(ctx, f.key, entry)
	}
}

// Leave ends the flight without a result. Alone tells that there was one and it is
// nobody else's; otherwise the next who asks begins a flight of its own. What has
// ended stays as it is.
func (f *Flight) Leave(alone bool) { f.end(nil, alone) }

func (f *Flight) end(entry *Entry, alone bool) {
	c := f.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[f.key] != f {
		return
	}
	delete(c.flights, f.key)
	if f.entry, f.alone = entry, alone; entry != nil {
		c.hold(f.key, entry)
	}
	close(f.landed)
}

// Age is how old the entry is, in whole seconds.
func (e *Entry) Age(now time.Time) int64 { return max(int64(now.Sub(e.Made)/time.Second), 0) }
