package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
)

const (
	listenChanges = `LISTEN envoke_changes`

	lastChange = `SELECT coalesce(max(revision), 0) FROM meta.changes`

	findChanges = `SELECT revision, kind, name FROM meta.changes WHERE revision > $1 ORDER BY revision LIMIT 1000`

	findDeleted = `SELECT revision, name FROM meta.changes WHERE kind = 'session' AND revision > $1 ORDER BY revision LIMIT $2`

	sweepChanges = `DELETE FROM meta.changes WHERE made_at < $1`
)

const (
	// changesKept is how long a change can be read, and missedFor after how long without a
	// connection a follower no longer relies on that.
	changesKept = time.Hour
	missedFor   = changesKept / 2
	sweepEvery  = 5 * time.Minute
	// askAnyway is how long a follower waits for a notification: a connection that is dead
	// and does not say so is noticed then.
	askAnyway = 2 * time.Second
	// reconnectFirst and reconnectMost bound the pause before a follower connects again.
	reconnectFirst = 20 * time.Millisecond
	reconnectMost  = time.Second
)

// FollowChanges tells heard what any control changes, this one too, in the order of its
// commits and as soon as it is committed, until ctx ends. What was changed while the
// connection was away is told when it is back; lost hears of each time that it goes.
func (s *Store) FollowChanges(ctx context.Context, heard func(faas.Change), lost func(error)) error {
	f := follower{store: s, heard: heard, last: -1}
	for wait := reconnectFirst; ; wait = min(2*wait, reconnectMost) {
		began := time.Now()
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		lost(err)
		if time.Since(began) > reconnectMost {
			wait = reconnectFirst
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// DeletedSessions are sessions that were deleted in the last hour, in the order of their
// deletions: the next, at most so many, after a revision, and the revision of the last of them.
func (s *Store) DeletedSessions(ctx context.Context, after int64, most int) (ids []faas.SessionID, last int64, err error) {
	rows, err := s.pool.Query(ctx, findDeleted, after, most)
	if err == nil {
		var name string
		_, err = pgx.ForEachRow(rows, []any{&last, &name}, func() error {
			ids = append(ids, faas.SessionID(name))
			return nil
		})
	}
	return ids, last, wrap("find deleted sessions", err)
}

// follower is how far one control has heard.
type follower struct {
	store *Store
	heard func(faas.Change)
	last  int64 // revision; -1: it has heard nothing yet
	asked time.Time
	swept time.Time
}

// follow listens by a connection of its own until that ends.
func (f *follower) follow(ctx context.Context) error {
	pooled, err := f.store.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("listen for changes: %w", err)
	}
	conn := pooled.Hijack()
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, listenChanges); err != nil {
		return fmt.Errorf("listen for changes: %w", err)
	}
	if err := f.begin(ctx, conn); err != nil {
		return fmt.Errorf("begin to follow changes: %w", err)
	}
	for {
		if err := f.catchUp(ctx, conn); err != nil {
			return fmt.Errorf("read changes: %w", err)
		}
		if err := await(ctx, conn); err != nil {
			return fmt.Errorf("wait for changes: %w", err)
		}
	}
}

// begin finds out where to go on: where it was, if what came since is still kept.
func (f *follower) begin(ctx context.Context, conn *pgx.Conn) error {
	if f.last >= 0 && time.Since(f.asked) < missedFor {
		return nil
	}
	first := f.last < 0
	if err := conn.QueryRow(ctx, lastChange).Scan(&f.last); err != nil {
		return err
	}
	f.heard(faas.Change{All: !first, Began: first})
	return nil
}

func (f *follower) catchUp(ctx context.Context, conn *pgx.Conn) error {
	for {
		rows, err := conn.Query(ctx, findChanges, f.last)
		if err != nil {
			return err
		}
		n := 0
		var kind, name string
		_, err = pgx.ForEachRow(rows, []any{&f.last, &kind, &name}, func() error {
			n++
			f.tell(kind, name)
			return nil
		})
		if err != nil {
			return err
		}
		if f.asked = time.Now(); n == 0 {
			return f.sweep(ctx)
		}
	}
}

// sweep forgets, now and then, changes that every follower has heard or will not ask for.
func (f *follower) sweep(ctx context.Context) error {
	if f.asked.Sub(f.swept) < sweepEvery {
		return nil
	}
	f.swept = f.asked
	_, err := f.store.exec(ctx, sweepChanges, f.asked.Add(-changesKept))
	return err
}

// tell makes a change of a row. One of a kind that this version does not know may be anything.
func (f *follower) tell(kind, name string) {
	change := faas.Change{All: true}
	switch kind {
	case "session":
		change = faas.Change{Session: faas.SessionID(name)}
	case "key":
		change = faas.Change{Key: name}
	case "config":
		change = faas.Change{Config: true}
	case "secret":
		change = faas.Change{Secrets: true}
	case "function":
		if parsed, err := faas.ParseKey(name); err == nil {
			change = faas.Change{Function: parsed}
		}
	}
	f.heard(change)
}

// await returns when there may be something new.
func await(ctx context.Context, conn *pgx.Conn) error {
	waiting, cancel := context.WithTimeout(ctx, askAnyway)
	defer cancel()
	_, err := conn.WaitForNotification(waiting)
	if err != nil && errors.Is(waiting.Err(), context.DeadlineExceeded) && ctx.Err() == nil && !conn.IsClosed() {
		return nil
	}
	return err
}
