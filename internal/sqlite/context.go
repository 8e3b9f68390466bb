package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"envoke/internal/faas"
)

const (
	takeContext = `UPDATE meta_sessions SET context_host = ?, context_until = ?
		WHERE id = ? AND retain_session AND (context_until < ? OR context_host = ?) RETURNING context`

	// The host stays known, so that it may say so twice.
	putContext = `UPDATE meta_sessions SET context = coalesce(?, context), context_until = 0 WHERE id = ? AND context_host = ?`

	isRetained = `SELECT retain_session FROM meta_sessions WHERE id = ?`
)

var (
	errContextTaken = &faas.Error{Code: faas.Conflict, Message: "another host runs a call of this session"}
	errNotRetained  = &faas.Error{Code: faas.InvalidRequest, Message: "the session does not retain its context"}
)

// TakeContext gives the context of a retained session to one host, for one call: no other
// gets it until that host has put it back or the given time. CONFLICT: another has it.
// NOT_FOUND: there is no such session.
func (s *Store) TakeContext(ctx context.Context, id faas.SessionID, host string, until time.Time) (taken json.RawMessage, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		now := micros(time.Now())
		err := tx.StmtContext(ctx, s.takeContext).QueryRowContext(ctx, host, micros(until), string(id), now, host).Scan((*[]byte)(&taken))
		if errors.Is(err, sql.ErrNoRows) {
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
	err := s.update(ctx, func(tx *sql.Tx) error {
		done, err := tx.StmtContext(ctx, s.putContext).ExecContext(ctx, document(left), string(id), host)
		if err != nil {
			return err
		}
		if changed, err := done.RowsAffected(); err != nil || changed > 0 {
			return err
		}
		return notTaken(ctx, tx, id)
	})
	return wrap(fmt.Sprintf("put the context of session %q", id), err)
}

// notTaken says why a host does not have the context.
func notTaken(ctx context.Context, tx *sql.Tx, id faas.SessionID) error {
	var retained bool
	err := tx.QueryRowContext(ctx, isRetained, string(id)).Scan(&retained)
	switch {
	case err != nil:
		return notFound(err, faas.ErrNoSession)
	case !retained:
		return errNotRetained
	}
	return errContextTaken
}
