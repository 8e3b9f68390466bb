package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
)

const (
	// Of hosts that ask at once, each after the first sees what that has written. The clock is
	// the database's: controls' may differ.
	takeContext = `UPDATE meta.sessions SET context_host = $2, context_until = now() + $3::interval
		WHERE id = $1 AND retain_session AND (context_until IS NULL OR context_until < now() OR context_host = $2) RETURNING context`

	// The host stays known, so that it may say so twice.
	putContext = `UPDATE meta.sessions SET context = coalesce($3, context), context_until = NULL WHERE id = $1 AND context_host = $2`

	isRetained = `SELECT retain_session FROM meta.sessions WHERE id = $1`
)

var (
	errContextTaken = &faas.Error{Code: faas.Conflict, Message: "another host runs a call of this session"}
	errNotRetained  = &faas.Error{Code: faas.InvalidRequest, Message: "the session does not retain its context"}
)

// TakeContext gives the context of a retained session to one host, for one call: no other
// gets it until that host has put it back or the given time. CONFLICT: another has it.
// NOT_FOUND: there is no such session.
func (s *Store) TakeContext(ctx context.Context, id faas.SessionID, host string, until time.Time) (taken json.RawMessage, err error) {
	err = s.update(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, takeContext, string(id), host, time.Until(until)).Scan((*[]byte)(&taken))
		if errors.Is(err, pgx.ErrNoRows) {
			return notTaken(ctx, tx, id)
		}
		return err
	})
	return taken, wrap(fmt.Sprintf("take the context of session %q", id), err)
}

// PutContext ends what TakeContext began, with a new context or, where that is nil, with
// the old one. It may be asked again. CONFLICT: the time was over, and another has taken
// the context. NOT_FOUND: there is no such session.
func (s *Store) PutContext(ctx context.Context, id faas.SessionID, host string, left json.RawMessage) error {
	err := s.update(ctx, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, putContext, string(id), host, document(left))
		if err != nil || done.RowsAffected() > 0 {
			return err
		}
		return notTaken(ctx, tx, id)
	})
	return wrap(fmt.Sprintf("put the context of session %q", id), err)
}

// notTaken says why a host does not have the context.
func notTaken(ctx context.Context, tx pgx.Tx, id faas.SessionID) error {
	var retained bool
	err := tx.QueryRow(ctx, isRetained, string(id)).Scan(&retained)
	switch {
	case err != nil:
		return notFound(err, faas.ErrNoSession)
	case !retained:
		return errNotRetained
	}
	return errContextTaken
}
