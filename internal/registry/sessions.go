package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
)

const (
	// ackTimeout bounds how long a change waits for the hosts. It is longer than a host
	// trusts a control that it does not hear (800 ms): one that has not acknowledged by then
	// has asked, or asks before it serves.
	ackTimeout = 900 * time.Millisecond
	// undoTimeout bounds the deletion of a session that was not kept.
	undoTimeout = 2 * time.Second
	// entrySize is what a remembered session takes beside its context and schema, about.
	entrySize = 512
)

func sessionSize(a answer[faas.Session]) int64 {
	return entrySize + int64(len(a.value.Context)+len(a.value.Schema)+len(a.value.UserID)+len(a.value.Owner)+len(a.value.Build.Error))
}

// FindSession returns a live session, or faas.ErrNoSession for an id that is
// malformed, forged, unknown, deleted or expired. With the store away it answers
// UNAVAILABLE, unless it remembers the session.
func (r *Registry) FindSession(ctx context.Context, id faas.SessionID) (faas.Session, error) {
	// Forged ids are never remembered, so memory may come before the HMAC.
	if known, ok := r.sessions.Held(id); ok && r.now().Before(known.until) {
		r.metrics.sessions.memory.Inc()
		return known.value, known.err
	}
	if !r.key.Check(id) {
		r.metrics.sessions.forged.Inc()
		return faas.Session{}, faas.ErrNoSession
	}
	found, err := r.sessions.Find(ctx, id, storeTimeout, func(ctx context.Context) (answer[faas.Session], error) {
		return r.askSession(ctx, id)
	})
	r.metrics.sessions.asked(found.err, err)
	if err != nil {
		return faas.Session{}, unavailable(err)
	}
	if found.err != nil {
		r.sessions.Drop(r.unknown.instead(id))
	}
	return found.value, found.err
}

func (r *Registry) askSession(ctx context.Context, id faas.SessionID) (answer[faas.Session], error) {
	s, err := r.store.FindLive(ctx, id)
	if err != nil && !faas.IsNotFound(err) {
		return answer[faas.Session]{}, fmt.Errorf("find session: %w", err)
	}
	now := r.now()
	if err != nil || !s.Live(now) {
		return answer[faas.Session]{err: faas.ErrNoSession, until: now.Add(briefly)}, nil
	}
	return answer[faas.Session]{value: s, until: s.ExpiresAt}, nil
}

// maxUnknown bounds how many ids are remembered that are no session's. They are believed for
// a second only, and must not take the place of sessions.
const maxUnknown = 1024

// unknown are the ids that were last found to be no session's.
type unknown struct {
	mu   sync.Mutex
	ids  [maxUnknown]faas.SessionID
	next int
}

// instead takes an id in and returns the one that is to be forgotten for it.
func (u *unknown) instead(id faas.SessionID) faas.SessionID {
	u.mu.Lock()
	defer u.mu.Unlock()
	oldest := u.ids[u.next]
	u.ids[u.next] = id
	u.next = (u.next + 1) % maxUnknown
	return oldest
}

// CreateSession stores a session and, unless it is nil, its script.
func (r *Registry) CreateSession(ctx context.Context, s faas.Session, script *faas.Script) error {
	// Not remembered before someone asks: a plain session is never asked for, and
	// what is not held cannot outlive a Revoke that came in between.
	defer r.sessions.Drop(s.ID)
	if err := r.store.CreateSession(ctx, s, script); err != nil {
		return fmt.Errorf("create session: %w", unavailable(err))
	}
	return nil
}

// SetBuild notes where the build of a session's code stands. Hosts that hold the session are
// not told: one that takes it for pending finds out for itself.
func (r *Registry) SetBuild(ctx context.Context, id faas.SessionID, status faas.CompileStatus, b faas.Build) error {
	if !r.key.Check(id) {
		return faas.ErrNoSession
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	defer r.sessions.Drop(id)
	if err := r.store.SetBuild(ctx, id, status, b); err != nil {
		return fmt.Errorf("set build: %w", unavailable(err))
	}
	return nil
}

// TakeContext gives the context of a retained session to one host and to no other, until
// that one has put it back or the given time.
func (r *Registry) TakeContext(ctx context.Context, id faas.SessionID, host string, until time.Time) (json.RawMessage, error) {
	if !r.key.Check(id) {
		return nil, faas.ErrNoSession
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	taken, err := r.store.TakeContext(ctx, id, host, until)
	if err != nil {
		return nil, fmt.Errorf("take context: %w", unavailable(err))
	}
	return taken, nil
}

// PutContext ends what TakeContext began. What is remembered of the session keeps its old
// context: hosts take the new one from the store.
func (r *Registry) PutContext(ctx context.Context, id faas.SessionID, host string, left json.RawMessage) error {
	if !r.key.Check(id) {
		return faas.ErrNoSession
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := r.store.PutContext(ctx, id, host, left); err != nil {
		return fmt.Errorf("put context: %w", unavailable(err))
	}
	return nil
}

// undo deletes a session of which nobody has been told. One that it cannot delete stays
// until it expires.
func (r *Registry) undo(ctx context.Context, id faas.SessionID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := r.store.DeleteSession(ctx, faas.Itself(), id); err != nil && !faas.IsNotFound(err) {
		r.logger.WarnContext(ctx, "a session that was not kept stays until it expires", "session", id, "error", err)
	}
	r.sessions.Drop(id)
}

// Revoke deletes a session and tells every host. It returns when all hosts have
// acknowledged or after 900 ms: a host that has not by then hears nothing from
// control, and asks before it serves a session.
func (r *Registry) Revoke(ctx context.Context, by faas.Actor, id faas.SessionID) error {
	if !r.key.Check(id) {
		return faas.ErrNoSession
	}
	err := r.store.DeleteSession(ctx, by, id)
	// Whatever the store said: it may have deleted without being able to say so.
	r.sessions.Drop(id)
	told := r.hosts.publish(&controlpb.WatchResponse{RevokedSessions: []string{string(id)}})
	switch {
	case faas.IsNotFound(err):
		return faas.ErrNoSession
	case err != nil:
		return fmt.Errorf("delete session: %w", unavailable(err))
	}
	r.metrics.revocations.Inc()
	r.await(ctx, told)
	return nil
}

// await waits until all hosts have acknowledged, at most 900 ms.
func (r *Registry) await(ctx context.Context, t told) {
	if missed := t.wait(ctx, ackTimeout); missed > 0 {
		r.metrics.missedAcks.Add(float64(missed))
		r.logger.WarnContext(ctx, "hosts did not acknowledge a change in time", "hosts", missed)
	}
}

// unavailable makes of a question that took too long what its caller may read.
func unavailable(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &faas.Error{Code: faas.Unavailable, Message: "the store does not answer; try again", Err: err}
	}
	return err
}
