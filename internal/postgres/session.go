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
	insertScript = `INSERT INTO meta.scripts (digest, language, source, compile_options, dependencies, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`

	holdScript = `SELECT true FROM meta.scripts WHERE digest = $1 FOR KEY SHARE`

	insertSession = `INSERT INTO meta.sessions (id, language, title, script_hash, function_version, owner, user_id,
		context, schema_definition, timeout_ms, memory_limit_mb, network, cpu_limit_ms, output_limit_bytes, max_concurrency, rate_per_minute,
		retain_session, compile_status, created_at, expires_at, status, environment, namespace)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)`

	findSession = `SELECT language, title, script_hash, function_version, owner, user_id, context, schema_definition, timeout_ms,
		memory_limit_mb, network, cpu_limit_ms, output_limit_bytes, max_concurrency, rate_per_minute, retain_session, compile_status, compile_step, compile_since,
		compile_error, created_at, expires_at, last_executed_at, execution_count, status, environment, namespace
		FROM meta.sessions WHERE id = $1`

	findScript = `SELECT language, source, compile_options, dependencies FROM meta.scripts WHERE digest = $1`

	setBuild = `UPDATE meta.sessions SET compile_status = $2, compile_step = $3, compile_since = $4, compile_error = $5,
		status = CASE WHEN $2 = 'error' THEN 'error' ELSE status END WHERE id = $1`

	deleteSession = `DELETE FROM meta.sessions WHERE id = $1 RETURNING script_hash, user_id, namespace`

	// What somebody else is deleting or counting is left to the next sweep.
	sweepSessions = `DELETE FROM meta.sessions WHERE id IN
		(SELECT id FROM meta.sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING script_hash`

	lockScripts = `SELECT 1 FROM meta.scripts WHERE digest = ANY($1) ORDER BY digest FOR UPDATE`

	deleteScripts = `DELETE FROM meta.scripts WHERE digest = ANY($1)
		AND NOT EXISTS (SELECT 1 FROM meta.sessions WHERE script_hash = digest)
		AND NOT EXISTS (SELECT 1 FROM meta.function_versions WHERE script_digest = digest)`
)

var errNoScript = &faas.Error{Code: faas.NotFound, Message: "no such script"}

// CreateSession stores a new session and, where it is not nil, the script that it
// runs. CONFLICT: the id is taken. NOT_FOUND: there is neither a script nor one
// stored under the session's digest.
func (s *Store) CreateSession(ctx context.Context, session faas.Session, script *faas.Script) error {
	err := s.update(ctx, func(tx pgx.Tx) error {
		if script != nil {
			if err := putScript(ctx, tx, *script); err != nil {
				return err
			}
		}
		return putSession(ctx, tx, session)
	})
	return wrap(fmt.Sprintf("create session %q", session.ID), err)
}

// putScript stores a script, or holds the one that is there until the transaction ends: who
// sweeps it meanwhile waits, and then finds that it is in use.
func putScript(ctx context.Context, tx pgx.Tx, script faas.Script) error {
	for range attempts {
		done, err := tx.Exec(ctx, insertScript, string(script.Digest), string(script.Language),
			[]byte(script.Source), document(script.CompileOptions), document(script.Dependencies), time.Now())
		if err != nil || done.RowsAffected() > 0 {
			return err
		}
		var there bool
		err = tx.QueryRow(ctx, holdScript, string(script.Digest)).Scan(&there)
		if !errors.Is(err, pgx.ErrNoRows) { // else it was swept between the two
			return err
		}
	}
	return &faas.Error{Code: faas.Unavailable, Message: "the script is swept again and again; try again"}
}

func putSession(ctx context.Context, tx pgx.Tx, n faas.Session) error {
	_, err := tx.Exec(ctx, insertSession, string(n.ID), string(n.Name.Language), n.Name.Title,
		string(n.Digest), n.Version, n.Owner, n.UserID, document(n.Context), document(n.Schema), n.Timeout.Milliseconds(),
		n.MemoryMB, string(n.Network), n.Limits.CPU.Milliseconds(), n.Limits.Output, n.Limits.Concurrency, n.Limits.Rate,
		n.Retain, string(n.CompileStatus), n.CreatedAt, n.ExpiresAt, string(n.Status), document(n.Environment.JSON()), string(n.Name.Namespace))
	switch codeOf(err) {
	case uniqueViolation:
		return &faas.Error{Code: faas.Conflict, Message: "the session id is taken", Err: err}
	case foreignKeyViolation:
		return errNoScript
	}
	return err
}

// FindSession finds a session, an expired one too until it is swept: the caller
// asks Live.
func (s *Store) FindSession(ctx context.Context, id faas.SessionID) (faas.Session, error) {
	n := faas.Session{ID: id}
	var (
		environment        []byte
		timeout, cpu       int64
		executed, building *time.Time
	)
	err := s.pool.QueryRow(ctx, findSession, string(id)).Scan(&n.Name.Language, &n.Name.Title, &n.Digest, &n.Version,
		&n.Owner, &n.UserID, (*[]byte)(&n.Context), (*[]byte)(&n.Schema), &timeout, &n.MemoryMB, &n.Network,
		&cpu, &n.Limits.Output, &n.Limits.Concurrency, &n.Limits.Rate, &n.Retain, &n.CompileStatus, &n.Build.Step, &building, (*[]byte)(&n.Build.Error),
		&n.CreatedAt, &n.ExpiresAt, &executed, &n.ExecutionCount, &n.Status, &environment, &n.Name.Namespace)
	if err == nil {
		n.Environment, err = faas.ParseEnvironment(environment)
	}
	if err != nil {
		return faas.Session{}, wrap(fmt.Sprintf("find session %q", id), notFound(err, faas.ErrNoSession))
	}
	n.Timeout, n.Limits.CPU = fromMillis(timeout), fromMillis(cpu)
	n.CreatedAt, n.ExpiresAt, n.LastExecutedAt = n.CreatedAt.UTC(), n.ExpiresAt.UTC(), orNever(executed)
	n.Build.Since = orNever(building)
	return n, nil
}

// FindLive is FindSession where nobody asks how often the session was executed.
func (s *Store) FindLive(ctx context.Context, id faas.SessionID) (faas.Session, error) {
	return s.FindSession(ctx, id)
}

// SetBuild notes where the build of a session's code stands. One that failed ends the
// session. NOT_FOUND: there is no such session.
func (s *Store) SetBuild(ctx context.Context, id faas.SessionID, status faas.CompileStatus, b faas.Build) error {
	changed, err := s.exec(ctx, setBuild, string(id), string(status), b.Step, nullTime(b.Since), document(b.Error))
	if err == nil && changed == 0 {
		err = faas.ErrNoSession
	}
	return wrap(fmt.Sprintf("set the build of session %q", id), err)
}

// FindScript finds code by its digest.
func (s *Store) FindScript(ctx context.Context, digest faas.Digest) (faas.Script, error) {
	script := faas.Script{Digest: digest}
	var source []byte
	err := s.pool.QueryRow(ctx, findScript, string(digest)).Scan(&script.Language, &source,
		(*[]byte)(&script.CompileOptions), (*[]byte)(&script.Dependencies))
	if err != nil {
		return faas.Script{}, wrap(fmt.Sprintf("find script %q", digest), notFound(err, errNoScript))
	}
	script.Source = string(source)
	return script, nil
}

// DeleteSession deletes a session, and its script if it was the last to run it.
func (s *Store) DeleteSession(ctx context.Context, by faas.Actor, id faas.SessionID) error {
	err := s.update(ctx, func(tx pgx.Tx) error {
		var (
			digest, user string
			namespace    faas.Namespace
		)
		if err := tx.QueryRow(ctx, deleteSession, string(id)).Scan(&digest, &user, &namespace); err != nil {
			return notFound(err, faas.ErrNoSession)
		}
		if err := deleteOrphans(ctx, tx, []string{digest}); err != nil || !by.Audits(namespace, user) {
			return err
		}
		return audit(ctx, tx, by, faas.AuditSession(id, namespace, user))
	})
	return wrap(fmt.Sprintf("delete session %q", id), err)
}

// SweepSessions deletes up to limit sessions that expired before the given time,
// with the scripts that nobody refers to any more, and tells how many sessions
// went.
func (s *Store) SweepSessions(ctx context.Context, expiredBefore time.Time, limit int) (int, error) {
	deleted := 0
	err := s.update(ctx, func(tx pgx.Tx) error {
		digests, err := collect[string](ctx, tx, sweepSessions, expiredBefore, limit)
		if err != nil {
			return err
		}
		deleted = len(digests)
		return deleteOrphans(ctx, tx, digests)
	})
	return deleted, wrap("sweep sessions", err)
}

// collect is the only column of all rows that a statement gives.
func collect[T any](ctx context.Context, tx pgx.Tx, query string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// deleteOrphans deletes those scripts that no session and no version refers to.
// Whatever stores a script stores who refers to it in the same transaction, and holds the
// script until that ends; so once we have locked them, looking at what was just let go of is
// enough, by a statement that begins after that and sees whoever was first.
func deleteOrphans(ctx context.Context, tx pgx.Tx, digests []string) error {
	if len(digests) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, lockScripts, digests); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, deleteScripts, digests)
	return err
}
