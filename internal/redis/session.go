package redis

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"envoke/internal/faas"
)

// SessionStore is what Sessions stands on: where sessions are not lost. Store says what the
// methods promise.
type SessionStore interface {
	CreateSession(ctx context.Context, s faas.Session, script *faas.Script) error
	FindLive(ctx context.Context, id faas.SessionID) (faas.Session, error)
	SetBuild(ctx context.Context, id faas.SessionID, status faas.CompileStatus, b faas.Build) error
	DeleteSession(ctx context.Context, by faas.Actor, id faas.SessionID) error
}

// Sessions keep live sessions in Redis in front of a store: as they were created, but for the
// state of their builds. It is safe for concurrent use.
//
// What was deleted leaves a tombstone for longer than any read of the store lasts, and what
// was read from the store is put only where there is nothing, or in place of an older state of
// the session: so a read that began before a deletion cannot bring the session back. A
// tombstone that Redis did not take is owed to it until it does, by every control that hears of the deletion. One that was just started has
// heard of none, and does not believe Redis before it was told of all.
type Sessions struct {
	client *Client
	store  SessionStore

	deletions Deletions // nil: nobody but this process deletes
	// since when sessions were created that Redis is believed about, Unix time in nanoseconds.
	since atomic.Int64

	mu     sync.Mutex
	graves graves
}

const (
	sessionPrefix = "envoke:session:"
	// tombstone stands for a session that was deleted, or that there is not.
	tombstone = "-"
	// deletedFor is how long one that was deleted is known to be. Reads of the store last
	// seconds.
	deletedFor = time.Minute
	// missingFor is how long an id that the store does not know is not asked about again.
	missingFor = time.Second
	// pendingFor is how long a session is kept whose build is under way.
	pendingFor = 5 * time.Second
)

// NewSessions keeps the store's sessions in the client's Redis. Where the store knows the
// deletions of all controls, Redis is believed from when it was told of them, which begins
// with a faas.Change that Began; else only about sessions that are created from now on.
func NewSessions(client *Client, store SessionStore, deletions Deletions) *Sessions {
	s := &Sessions{client: client, store: store, deletions: deletions, graves: graves{owed: make(map[faas.SessionID]struct{})}}
	s.since.Store(nothing)
	if deletions == nil {
		s.since.Store(time.Now().UnixNano())
	}
	return s
}

// CreateSession stores a session, and lets the other controls find it here.
func (s *Sessions) CreateSession(ctx context.Context, session faas.Session, script *faas.Script) error {
	if err := s.store.CreateSession(ctx, session, script); err != nil {
		return err
	}
	s.put(ctx, session, s.client.putNew)
	return nil
}

// FindLive finds a session as it was created. NOT_FOUND: there is none, or it has expired.
func (s *Sessions) FindLive(ctx context.Context, id faas.SessionID) (faas.Session, error) {
	key := sessionPrefix + string(id)
	since, owed := s.since.Load(), s.owes(id) // before Redis is asked, and may be told
	if value, ok := s.client.find(ctx, key); ok && !owed {
		if string(value) == tombstone {
			s.client.metrics.hits.Inc()
			return faas.Session{}, faas.ErrNoSession
		}
		session, ok := parseSession(id, value)
		switch {
		case !ok:
			s.client.foreign(ctx, key)
		case session.CreatedAt.UnixNano() >= since:
			s.client.metrics.hits.Inc()
			return session, nil
		default:
			s.client.metrics.doubted.Inc()
		}
	}
	session, err := s.store.FindLive(ctx, id)
	switch {
	case err == nil:
		s.put(ctx, session, s.client.putNew)
	case faas.IsNotFound(err):
		s.client.putNew(ctx, key, []byte(tombstone), missingFor)
	}
	return session, err
}

// SetBuild notes where the build of a session's code stands.
func (s *Sessions) SetBuild(ctx context.Context, id faas.SessionID, status faas.CompileStatus, b faas.Build) error {
	if err := s.store.SetBuild(ctx, id, status, b); err != nil {
		return err
	}
	if session, err := s.store.FindLive(ctx, id); err == nil {
		s.put(ctx, session, s.client.putUnlessDeleted)
	}
	return nil
}

// DeleteSession deletes a session for all controls.
func (s *Sessions) DeleteSession(ctx context.Context, by faas.Actor, id faas.SessionID) error {
	err := s.store.DeleteSession(ctx, by, id)
	// Whatever the store said: it may have deleted without being able to say so.
	if !s.bury(ctx, id) {
		s.owe(id)
	}
	return err
}

func (s *Sessions) put(ctx context.Context, session faas.Session, put func(context.Context, string, []byte, time.Duration)) {
	life := time.Until(session.ExpiresAt)
	if session.CompileStatus == faas.CompilePending {
		life = min(life, pendingFor)
	}
	put(ctx, sessionPrefix+string(session.ID), appendSession(session), life)
}

// stored is a session as it lies in Redis. Documents are bytes: JSON in JSON would be written
// anew, and must come back as it was.
type stored struct {
	Format     int
	Session    faas.Session
	Context    []byte
	Schema     []byte
	BuildError []byte
}

const sessionFormat = 1

func appendSession(session faas.Session) []byte {
	s := stored{Format: sessionFormat, Session: session, Context: session.Context, Schema: session.Schema, BuildError: session.Build.Error}
	s.Session.Context, s.Session.Schema, s.Session.Build.Error = nil, nil, nil
	raw, _ := json.Marshal(s) // of plain values: it cannot fail
	return raw
}

// parseSession is the inverse. It is false for what is no session of that id, in this format.
func parseSession(id faas.SessionID, raw []byte) (faas.Session, bool) {
	var s stored
	if json.Unmarshal(raw, &s) != nil || s.Format != sessionFormat || s.Session.ID != id {
		return faas.Session{}, false
	}
	s.Session.Context, s.Session.Schema, s.Session.Build.Error = s.Context, s.Schema, s.BuildError
	return s.Session, true
}
