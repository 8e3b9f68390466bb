package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"envoke/internal/faas"
)

const (
	insertScript = `INSERT INTO meta_scripts (digest, language, source, compile_options, dependencies, created_at)
		VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

	insertSession = `INSERT INTO meta_sessions (id, language, title, script_digest, function_version, owner, user_id,
		context, schema_definition, timeout_ms, memory_limit_mb, network, cpu_limit_ms, output_limit_bytes, max_concurrency, rate_per_minute,
		retain_session, compile_status, created_at, expires_at, last_executed_at, execution_count, status, environment, namespace)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, 0, ?, ?, ?)`

	findSession = `SELECT language, title, script_digest, function_version, owner, user_id, context, schema_definition, timeout_ms,
		memory_limit_mb, network, cpu_limit_ms, output_limit_bytes, max_concurrency, rate_per_minute, retain_session, compile_status, compile_step, compile_since,
		compile_error, created_at, expires_at, last_executed_at, execution_count, status, environment, namespace
		FROM meta_sessions WHERE id = ?`

	findScript = `SELECT language, source, compile_options, dependencies FROM meta_scripts WHERE digest = ?`

	setBuild = `UPDATE meta_sessions SET compile_status = ?, compile_step = ?, compile_since = ?, compile_error = ?,
		status = iif(? = 'error', 'error', status) WHERE id = ?`

	deleteSession = `DELETE FROM meta_sessions WHERE id = ? RETURNING script_digest, user_id, namespace`

	sweepSessions = `DELETE FROM meta_sessions WHERE id IN
		(SELECT id FROM meta_sessions WHERE expires_at < ? ORDER BY expires_at LIMIT ?) RETURNING script_digest`
)

var errNoScript = &faas.Error{Code: faas.NotFound, Message: "no such script"}

// CreateSession stores a new session and, where it is not nil, the script that it
// runs. CONFLICT: the id is taken. NOT_FOUND: there is neither a script nor one
// stored under the session's digest.
func (s *Store) CreateSession(ctx context.Context, session faas.Session, script *faas.Script) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		if script != nil {
			if err := s.putScript(ctx, tx, *script); err != nil {
				return err
			}
		}
		return s.putSession(ctx, tx, session)
	})
	return wrap(fmt.Sprintf("create session %q", session.ID), err)
}

func (s *Store) putScript(ctx context.Context, tx *sql.Tx, script faas.Script) error {
	_, err := tx.StmtContext(ctx, s.insertScript).ExecContext(ctx, string(script.Digest), string(script.Language),
		script.Source, document(script.CompileOptions), document(script.Dependencies), micros(time.Now()))
	return err
}

func (s *Store) putSession(ctx context.Context, tx *sql.Tx, n faas.Session) error {
	_, err := tx.StmtContext(ctx, s.insertSession).ExecContext(ctx, string(n.ID), string(n.Name.Language), n.Name.Title,
		string(n.Digest), n.Version, n.Owner, n.UserID, document(n.Context), document(n.Schema), n.Timeout.Milliseconds(),
		n.MemoryMB, string(n.Network), n.Limits.CPU.Milliseconds(), n.Limits.Output, n.Limits.Concurrency, n.Limits.Rate,
		n.Retain, string(n.CompileStatus), micros(n.CreatedAt), micros(n.ExpiresAt), string(n.Status), document(n.Environment.JSON()),
		string(n.Name.Namespace))
	switch extendedCode(err) {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return &faas.Error{Code: faas.Conflict, Message: "the session id is taken", Err: err}
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return errNoScript
	}
	return err
}

// FindSession finds a session, an expired one too until it is swept: the caller
// asks Live.
func (s *Store) FindSession(ctx context.Context, id faas.SessionID) (faas.Session, error) {
	n := faas.Session{ID: id}
	var (
		environment                    []byte
		timeout, cpu, created, expires int64
		executed, building             sql.NullInt64
	)
	err := s.findSession.QueryRowContext(ctx, string(id)).Scan(&n.Name.Language, &n.Name.Title, &n.Digest, &n.Version,
		&n.Owner, &n.UserID, (*[]byte)(&n.Context), (*[]byte)(&n.Schema), &timeout, &n.MemoryMB, &n.Network,
		&cpu, &n.Limits.Output, &n.Limits.Concurrency, &n.Limits.Rate, &n.Retain, &n.CompileStatus, &n.Build.Step, &building, (*[]byte)(&n.Build.Error),
		&created, &expires, &executed, &n.ExecutionCount, &n.Status, &environment, &n.Name.Namespace)
	if err == nil {
		n.Environment, err = faas.ParseEnvironment(environment)
	}
	if err != nil {
		return faas.Session{}, wrap(fmt.Sprintf("find session %q", id), notFound(err, faas.ErrNoSession))
	}
	n.Timeout, n.Limits.CPU = fromMillis(timeout), fromMillis(cpu)
	n.CreatedAt, n.ExpiresAt, n.LastExecutedAt = fromMicros(created), fromMicros(expires), fromNullMicros(executed)
	n.Build.Since = fromNullMicros(building)
	return n, nil
}

// FindLive is FindSession where nobody asks how often the session was executed.
func (s *Store) FindLive(ctx context.Context, id faas.SessionID) (faas.Session, error) {
	return s.FindSession(ctx, id)
}

// SetBuild notes where the build of a session's code stands. One that failed ends the
// session. NOT_FOUND: there is no such session.
func (s *Store) SetBuild(ctx context.Context, id faas.SessionID, status faas.CompileStatus, b faas.Build) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, setBuild, string(status), b.Step, nullMicros(b.Since), document(b.Error), string(status), string(id))
		if err != nil {
			return err
		}
		if changed, err := done.RowsAffected(); err != nil || changed > 0 {
			return err
		}
		return faas.ErrNoSession
	})
	return wrap(fmt.Sprintf("set the build of session %q", id), err)
}

// FindScript finds code by its digest.
func (s *Store) FindScript(ctx context.Context, digest faas.Digest) (faas.Script, error) {
	script := faas.Script{Digest: digest}
	err := s.findScript.QueryRowContext(ctx, string(digest)).Scan(&script.Language, &script.Source,
		(*[]byte)(&script.CompileOptions), (*[]byte)(&script.Dependencies))
	if err != nil {
		return faas.Script{}, wrap(fmt.Sprintf("find script %q", digest), notFound(err, errNoScript))
	}
	return script, nil
}

// DeleteSession deletes a session, and its script if it was the last to run it.
func (s *Store) DeleteSession(ctx context.Context, by faas.Actor, id faas.SessionID) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		var (
			digest, user string
			namespace    faas.Namespace
		)
		if err := tx.QueryRowContext(ctx, deleteSession, string(id)).Scan(&digest, &user, &namespace); err != nil {
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
// went. Small limits keep the write connection free for others.
func (s *Store) SweepSessions(ctx context.Context, expiredBefore time.Time, limit int) (int, error) {
	var digests []string
	err := s.update(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, sweepSessions, micros(expiredBefore), limit)
		if err != nil {
			return err
		}
		if digests, err = collect(rows); err != nil {
			return err
		}
		return deleteOrphans(ctx, tx, digests)
	})
	return len(digests), wrap("sweep sessions", err)
}

func collect(rows *sql.Rows) ([]string, error) {
	defer rows.Close()
	var all []string
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// deleteOrphans deletes those scripts that no session and no version refers to.
// Whatever stores a script stores who refers to it in the same transaction, so
// looking at what was just let go of is enough.
func deleteOrphans(ctx context.Context, tx *sql.Tx, digests []string) error {
	if len(digests) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM meta_scripts WHERE digest IN (SELECT value FROM json_each(?))
		AND NOT EXISTS (SELECT 1 FROM meta_sessions WHERE script_digest = digest)
		AND NOT EXISTS (SELECT 1 FROM meta_function_versions WHERE script_digest = digest)`,
		`["`+strings.Join(digests, `","`)+`"]`)
	return err
}
