package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"envoke/internal/faas"
)

// rowsPerInsert is where more rows in one statement stop paying (measured; see
// BenchmarkAppendRequestLogs): 1 row 180 k/s, 10 rows 300 k/s, 50 rows 340 k/s,
// 500 rows 240 k/s on one core.
const rowsPerInsert = 50

const logColumns = `request_id, operation, session_id, language_title, method, path, status_code, duration_us,
	started_at, client_ip, user_id, bytes_in, bytes_out, cached, error_details`

const (
	countExecutes = `UPDATE meta_sessions SET execution_count = execution_count + ?,
		last_executed_at = max(coalesce(last_executed_at, 0), ?) WHERE id = ?`

	findOffset = `SELECT read_offset FROM log_files WHERE name = ?`

	putOffset = `INSERT INTO log_files (name, read_offset, updated_at) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET read_offset = excluded.read_offset, updated_at = excluded.updated_at`
)

func insertLogs(rows int) string {
	const row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	return "INSERT INTO request_logs (" + logColumns + ") VALUES " + strings.Repeat(row+",", rows-1) + row
}

// LogOffset is how far the log file of that name has been stored; 0 if unknown.
func (s *Store) LogOffset(ctx context.Context, file string) (int64, error) {
	var offset int64
	err := s.findOffset.QueryRowContext(ctx, file).Scan(&offset)
	return offset, wrap(fmt.Sprintf("find offset of %q", file), err, sql.ErrNoRows)
}

// AppendRequestLogs stores rows of a log file, what they add to their sessions'
// counts, and the offset in the file up to which they reach, in one transaction.
func (s *Store) AppendRequestLogs(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		if err := s.appendRows(ctx, tx, rows); err != nil {
			return err
		}
		if err := s.addExecutes(ctx, tx, rows); err != nil {
			return err
		}
		return s.advance(ctx, tx, file, offset)
	})
	return wrap(fmt.Sprintf("append request logs of %q", file), err)
}

// CountRequests is AppendRequestLogs for an installation that stores no rows: the
// sessions' counts and the offset only.
func (s *Store) CountRequests(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		if err := s.addExecutes(ctx, tx, rows); err != nil {
			return err
		}
		return s.advance(ctx, tx, file, offset)
	})
	return wrap(fmt.Sprintf("count requests of %q", file), err)
}

func (s *Store) appendRows(ctx context.Context, tx *sql.Tx, rows []faas.RequestLog) error {
	many, one := tx.StmtContext(ctx, s.insertLogs), tx.StmtContext(ctx, s.insertLog)
	args := make([]any, 0, rowsPerInsert*15)
	for len(rows) > 0 {
		statement, n := many, rowsPerInsert
		if len(rows) < rowsPerInsert {
			statement, n = one, 1
		}
		args = args[:0]
		for i := range rows[:n] {
			args = appendLog(args, &rows[i])
		}
		if _, err := statement.ExecContext(ctx, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func appendLog(args []any, r *faas.RequestLog) []any {
	return append(args, r.RequestID, string(r.Operation), orNull(string(r.SessionID)), orNull(r.LanguageTitle), r.Method,
		r.Path, r.StatusCode, r.Duration.Microseconds(), micros(r.StartedAt), orNull(r.ClientIP), orNull(r.UserID),
		r.BytesIn, r.BytesOut, r.Cached, orNull(r.ErrorDetails))
}

// addExecutes updates each session once, however often it was executed.
func (s *Store) addExecutes(ctx context.Context, tx *sql.Tx, rows []faas.RequestLog) error {
	type executes struct{ count, last int64 }
	bySession := make(map[faas.SessionID]executes)
	for i := range rows {
		if rows[i].Executed() {
			e := bySession[rows[i].SessionID]
			bySession[rows[i].SessionID] = executes{e.count + 1, max(e.last, micros(rows[i].StartedAt))}
		}
	}
	count := tx.StmtContext(ctx, s.countExecutes)
	for id, e := range bySession {
		if _, err := count.ExecContext(ctx, e.count, e.last, string(id)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) advance(ctx context.Context, tx *sql.Tx, file string, offset int64) error {
	_, err := tx.StmtContext(ctx, s.putOffset).ExecContext(ctx, file, offset, micros(time.Now()))
	return err
}

// ForgetLogFile forgets the offset of a log file that is gone.
func (s *Store) ForgetLogFile(ctx context.Context, file string) error {
	_, err := s.write.ExecContext(ctx, "DELETE FROM log_files WHERE name = ?", file)
	return wrap(fmt.Sprintf("forget log file %q", file), err)
}

// rowsSearched bounds what a search looks at: the newest rows, since there is no
// index. It takes a tenth of a second, or half of one by name (2 shared cores).
const rowsSearched = 100_000

// findLogs takes the parameters of RequestLogQuery in their order, "" or 0 for any.
// A row that the caller gave no name has its session's, as long as that is known. A
// name selects all its versions and aliases.
const findLogs = `SELECT * FROM (
	SELECT id, request_id, operation, session_id,
		coalesce(language_title, (SELECT language || '-' || title FROM meta_sessions s WHERE s.id = session_id)) AS name,
		method, path, status_code, duration_us, started_at, client_ip, user_id, bytes_in, bytes_out, cached, error_details
	FROM request_logs WHERE id > max(?5, (SELECT coalesce(max(id), 0) FROM request_logs) - ?6)
		AND (?1 = '' OR request_id = ?1) AND (?2 = '' OR session_id = ?2)
		AND (?4 = 0 OR status_code = ?4))
	WHERE ?3 = '' OR name = ?3 OR name GLOB ?3 || '[@:]*' `

// LatestRequestLogs are the last rows stored that the query selects, newest first.
// With After they are the first ones stored after it, so that who reads on misses
// none.
func (s *Store) LatestRequestLogs(ctx context.Context, q faas.RequestLogQuery) ([]faas.RequestLog, error) {
	statement := findLogs + "ORDER BY id DESC LIMIT ?7"
	if q.After > 0 {
		statement = "SELECT * FROM (" + findLogs + "ORDER BY id LIMIT ?7) ORDER BY id DESC"
	}
	rows, err := s.read.QueryContext(ctx, statement,
		q.RequestID, string(q.SessionID), q.LanguageTitle, q.StatusCode, q.After, rowsSearched, q.Limit)
	if err != nil {
		return nil, wrap("read request logs", err)
	}
	defer rows.Close()
	var logs []faas.RequestLog
	for rows.Next() {
		r, err := scanLog(rows)
		if err != nil {
			return nil, wrap("read request logs", err)
		}
		logs = append(logs, r)
	}
	return logs, wrap("read request logs", rows.Err())
}

func scanLog(rows *sql.Rows) (faas.RequestLog, error) {
	var (
		r                               faas.RequestLog
		session, name, ip, user, detail sql.NullString
		duration, started               int64
	)
	err := rows.Scan(&r.ID, &r.RequestID, &r.Operation, &session, &name, &r.Method, &r.Path, &r.StatusCode, &duration, &started,
		&ip, &user, &r.BytesIn, &r.BytesOut, &r.Cached, &detail)
	r.SessionID, r.LanguageTitle, r.ClientIP = faas.SessionID(session.String), name.String, ip.String
	r.UserID, r.ErrorDetails = user.String, detail.String
	r.Duration, r.StartedAt = time.Duration(duration)*time.Microsecond, fromMicros(started)
	return r, err
}

// SweepRequestLogs deletes rows of requests that started before the given time,
// oldest first, and tells how many went. It looks at no more than limit rows.
// Rows are stored in the order in which requests ended, so the oldest ids are
// all that it needs to look at.
func (s *Store) SweepRequestLogs(ctx context.Context, before time.Time, limit int) (int, error) {
	result, err := s.write.ExecContext(ctx, `DELETE FROM request_logs WHERE started_at < ?
		AND id IN (SELECT id FROM request_logs ORDER BY id LIMIT ?)`, micros(before), limit)
	if err != nil {
		return 0, wrap("sweep request logs", err)
	}
	deleted, err := result.RowsAffected()
	return int(deleted), wrap("sweep request logs", err)
}
