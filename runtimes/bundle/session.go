package bundle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/internal/schema"
)

const (
	verifyTimeout = 250 * time.Millisecond
	// respite is how long a control that did not answer is not asked again about
	// sessions that are held: a dead control must cost next to nothing.
	respite = 100 * time.Millisecond
)

// Session returns a live session, or faas.ErrNoSession for an id that is
// malformed, forged, of another language, unknown, deleted or expired. It is
// UNAVAILABLE when the session is not held and control does not answer.
func (b *Bundles) Session(ctx context.Context, id faas.SessionID) (*Session, error) {
	now := time.Now()
	known, ok := b.sessions.Held(id)
	switch {
	case !ok:
		return b.fetch(ctx, id)
	case !known.session.Live(now):
		b.sessions.Drop(id)
		return b.noSession()
	case b.trust.covers(known.generation, now) && b.current(known.session.Variables):
		b.metrics.sessions.held.Inc()
		return known.session, nil
	default:
		return b.verify(ctx, id, known.session)
	}
}

// Forget drops what is held of a session: the next who wants it has it fetched.
func (b *Bundles) Forget(id faas.SessionID) { b.sessions.Drop(id) }

func (b *Bundles) noSession() (*Session, error) {
	b.metrics.sessions.missing.Inc()
	return nil, faas.ErrNoSession
}

// fetch gets a session that is not held. Forged ids end here, at no cost to
// control.
func (b *Bundles) fetch(ctx context.Context, id faas.SessionID) (*Session, error) {
	key := b.awaitKey(ctx)
	if key == nil {
		b.metrics.sessions.failed.Inc()
		return nil, errNoControl
	}
	if language, _ := id.Language(); language != b.language || !key.Check(id) {
		b.metrics.sessions.forged.Inc()
		return nil, faas.ErrNoSession
	}
	found, err := b.find(ctx, id, fetchTimeout, nil)
	switch {
	case errors.Is(err, faas.ErrNoSession):
		return b.noSession()
	case err != nil:
		b.metrics.sessions.failed.Inc()
		return nil, err
	}
	b.metrics.sessions.fetched.Inc()
	return found, nil
}

// verify asks control whether a held session still is one. Without an answer it is
// served until it expires.
func (b *Bundles) verify(ctx context.Context, id faas.SessionID, known *Session) (*Session, error) {
	if b.trust.resting(time.Now()) {
		b.metrics.sessions.unverified.Inc()
		return known, nil
	}
	found, err := b.find(ctx, id, verifyTimeout, known)
	switch {
	case err == nil:
		b.metrics.sessions.verified.Inc()
		return found, nil
	case errors.Is(err, faas.ErrNoSession):
		b.sessions.Drop(id)
		return b.noSession()
	case ctx.Err() == nil: // else the caller gave up, which says nothing of control
		b.trust.rest(time.Now())
	}
	b.metrics.sessions.unverified.Inc()
	return known, nil
}

// find asks control, once for all who want to know, and holds the answer. Where
// the session is known already its code is not asked for again.
func (b *Bundles) find(ctx context.Context, id faas.SessionID, timeout time.Duration, known *Session) (*Session, error) {
	found, err := b.sessions.Find(ctx, id, timeout, func(ctx context.Context) (held, error) {
		// Another's answer may have come since the caller looked.
		if landed, ok := b.sessions.Held(id); ok && known == nil && b.trust.covers(landed.generation, time.Now()) && b.current(landed.session.Variables) {
			return landed, nil
		}
		generation := b.trust.generation.Load() // before asking: what comes after may revoke
		session, err := b.ask(ctx, id, known)
		return held{session: session, generation: generation}, err
	})
	return found.session, err
}

func (b *Bundles) ask(ctx context.Context, id faas.SessionID, known *Session) (*Session, error) {
	changes := b.secretChanges.Load() // before asking, as its generation
	message, err := b.control.FindSession(ctx, &controlpb.FindSessionRequest{Id: string(id)}, largeMessages...)
	if err = controlpb.FromStatus(err); faas.IsNotFound(err) {
		return nil, faas.ErrNoSession
	}
	if err != nil {
		return nil, fmt.Errorf("find session: %w", err)
	}
	session, err := message.Session()
	if err != nil {
		return nil, notMeant("session", err)
	}
	if !session.Live(time.Now()) {
		return nil, faas.ErrNoSession
	}
	script, err := b.scriptOf(ctx, &session, known)
	if err != nil {
		return nil, err
	}
	params, err := b.paramsOf(ctx, &session, known)
	session.Schema = nil // compiled, it is held once for all sessions
	return &Session{
		Session: session, Script: script, Params: params,
		Variables: newVariables(session.Environment, message.GetSecrets(), changes),
	}, err
}

// paramsOf is the schema of the session's version. The session brings it along, since
// the function may have been deleted meanwhile.
func (b *Bundles) paramsOf(ctx context.Context, session *faas.Session, known *Session) (*schema.Schema, error) {
	if known != nil {
		return known.Params, nil
	}
	return b.params(ctx, faas.Ref{Name: session.Name, Version: session.Version}, session.Schema)
}

func (b *Bundles) scriptOf(ctx context.Context, session *faas.Session, known *Session) (faas.Script, error) {
	switch {
	case known != nil && known.Digest == session.Digest:
		return known.Script, nil
	case session.Version > 0:
		return b.sharedScript(ctx, session.Digest)
	default:
		return b.fetchScript(ctx, session.Digest)
	}
}
