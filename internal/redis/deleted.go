package redis

import (
	"context"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"envoke/internal/faas"
)

// Deletions are what a store says of sessions that any control has deleted.
type Deletions interface {
	// DeletedSessions are the next, at most so many, after a revision, and the revision of
	// the last of them. None: there are no more.
	DeletedSessions(ctx context.Context, after int64, most int) (ids []faas.SessionID, last int64, err error)
}

const (
	// maxOwed bounds the tombstones that are remembered for Redis.
	maxOwed    = 10_000
	owedPeriod = 200 * time.Millisecond
	// buriedAtOnce is how many tombstones go in one question.
	buriedAtOnce = 500
	// catchUpTimeout bounds one try to tell Redis of all deletions that it may have missed.
	// The next goes on where it ended.
	catchUpTimeout = 10 * time.Second
	nothing        = math.MaxInt64 // was created so late
)

// graves are the deletions that Redis may not know of. They are guarded by Sessions.mu.
type graves struct {
	owed map[faas.SessionID]struct{} // tombstones
	// asked counts what makes all of Redis doubtful, caught is how much of that is over.
	asked, caught int
	told          int64 // revision of the store's deletions up to which Redis was told
}

// Serve gives Redis the tombstones that it did not take, until ctx ends.
func (s *Sessions) Serve(ctx context.Context) error {
	ticker := time.NewTicker(owedPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.pay(ctx)
			s.catchUp(ctx)
		}
	}
}

// Heard takes what some control on the same store has changed: that one may have been killed
// before Redis took the tombstone. It waits for nobody.
func (s *Sessions) Heard(c faas.Change) {
	switch {
	case c.Session != "":
		s.owe(c.Session)
	case c.All, c.Began:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.doubt()
	}
}

// doubt has nothing of Redis believed until it was told of all deletions. Where the store does
// not keep them, what was created until now is not believed any more.
func (s *Sessions) doubt() {
	s.graves.asked++
	if s.deletions == nil {
		s.since.Store(time.Now().UnixNano())
		return
	}
	s.since.Store(nothing)
}

// owe notes a tombstone for later. Of too many none is remembered, and all are doubted.
func (s *Sessions) owe(id faas.SessionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.graves.owed) >= maxOwed {
		clear(s.graves.owed)
		s.doubt()
	}
	s.graves.owed[id] = struct{}{}
}

func (s *Sessions) owes(id faas.SessionID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, owed := s.graves.owed[id]
	return owed
}

func (s *Sessions) pay(ctx context.Context) {
	for {
		s.mu.Lock()
		ids := make([]faas.SessionID, 0, min(len(s.graves.owed), buriedAtOnce))
		for id := range s.graves.owed {
			if len(ids) == buriedAtOnce {
				break
			}
			ids = append(ids, id)
		}
		s.mu.Unlock()
		if len(ids) == 0 || !s.bury(ctx, ids...) {
			return
		}
		s.mu.Lock()
		for _, id := range ids {
			delete(s.graves.owed, id)
		}
		s.mu.Unlock()
	}
}

// catchUp tells Redis of the deletions that the store still knows, if it may have missed any.
// Only one may run.
func (s *Sessions) catchUp(ctx context.Context) {
	s.mu.Lock()
	asked, told := s.graves.asked, s.graves.told
	wanted := s.deletions != nil && asked != s.graves.caught
	s.mu.Unlock()
	if !wanted {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	for {
		ids, last, err := s.deletions.DeletedSessions(ctx, told, buriedAtOnce)
		if err != nil || len(ids) > 0 && !s.bury(ctx, ids...) {
			return // and tried again; until then the store is asked
		}
		s.mu.Lock()
		if len(ids) == 0 {
			s.graves.caught = asked
			if asked == s.graves.asked {
				s.since.Store(0)
			}
			s.mu.Unlock()
			return
		}
		told = last
		s.graves.told = last
		s.mu.Unlock()
	}
}

// bury puts tombstones, all or it is false.
func (s *Sessions) bury(ctx context.Context, ids ...faas.SessionID) bool {
	if s.client.resting() {
		return false
	}
	bounded, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	_, err := s.client.redis.Pipelined(bounded, func(p redis.Pipeliner) error {
		for _, id := range ids {
			p.Set(bounded, sessionPrefix+string(id), tombstone, deletedFor)
		}
		return nil
	})
	if err != nil {
		s.client.failed(ctx, "bury", err)
	}
	return err == nil
}
