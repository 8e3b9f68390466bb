package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
)

// rowsPerInsert is where more rows in one statement stop paying (see
// storetest.Bench: AppendRequestLogs).
const rowsPerInsert = 50

const (
	countExecutes = `UPDATE meta_sessions SET execution_count = execution_count + ?,
		last_executed_at = max(coalesce(last_executed_at, 0), ?) WHERE id = ?`

	findOffset = `SELECT read_offset FROM log_files WHERE name = ?`

	putOffset = `INSERT INTO log_files (name, read_offset, updated_at) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET read_offset = excluded.read_offset, updated_at = excluded.updated_at`
)

func insertLogs(rows int) string {
	const row = "(?)"
	return "INSERT INTO request_lines (line) VALUES " + strings.Repeat(row+",", rows-1) + row
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
	var (
		text []byte
		ends [rowsPerInsert]int
		args [rowsPerInsert]any
	)
	for len(rows) > 0 {
		statement, n := many, rowsPerInsert
		if len(rows) < rowsPerInsert {
			statement, n = one, 1
		}
		text = text[:0]
		for i := range rows[:n] {
			text = appendLine(text, &rows[i])
			ends[i] = len(text)
		}
		lines, begin := string(text), 0
		for i, end := range ends[:n] {
			args[i], begin = lines[begin:end], end
		}
		if _, err := statement.ExecContext(ctx, args[:n]...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// appendLine appends a row as it is stored (migrations 11 and 17).
func appendLine(b []byte, r *faas.RequestLog) []byte {
	b = appendText(append(b, '['), r.RequestID)
	b = appendText(append(b, ','), string(r.Operation))
	b = appendTextOrNull(append(b, ','), string(r.SessionID))
	b = appendTextOrNull(append(b, ','), r.LanguageTitle)
	b = appendText(append(b, ','), r.Method)
	b = appendText(append(b, ','), r.Path)
	for _, n := range [...]int64{int64(r.StatusCode), r.Duration.Microseconds(), micros(r.StartedAt)} {
		b = strconv.AppendInt(append(b, ','), n, 10)
	}
	b = appendTextOrNull(append(b, ','), r.ClientIP)
	b = appendTextOrNull(append(b, ','), r.UserID)
	b = strconv.AppendInt(append(b, ','), r.BytesIn, 10)
	b = strconv.AppendInt(append(b, ','), r.BytesOut, 10)
	b = strconv.AppendBool(append(b, ','), r.Cached)
	b = appendTextOrNull(append(b, ','), r.ErrorDetails)
	if r.Namespace != "" { // as lines were before there were any
		b = appendText(append(b, ','), string(r.Namespace))
	}
	return append(b, ']')
}

func appendText(b []byte, text string) []byte {
	b, _ = jsontext.AppendQuote(b, text) // what is no UTF-8 becomes U+FFFD
	return b
}

func appendTextOrNull(b []byte, text string) []byte {
	if text == "" {
		return append(b, "null"...)
	}
	return appendText(b, text)
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
// index. It takes a tenth of a second (storetest.Bench: LatestRequestLogs).
const rowsSearched = 100_000

// findLogs takes the parameters of RequestLogQuery in their order, "" or 0 for any.
// A row that the caller gave no name has its session's, as long as that is known. A
// name selects all its versions and aliases.
const findLogs = `SELECT * FROM (
	SELECT id, request_id, operation, session_id,
		coalesce(language_title, (SELECT language || '-' || title FROM meta_sessions s WHERE s.id = session_id)) AS name,
		method, path, status_code, duration_us, started_at, client_ip, user_id, bytes_in, bytes_out, cached, error_details, namespace
	FROM request_logs WHERE id > max(?5, (SELECT coalesce(max(id), 0) FROM request_lines) - ?6)
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
		r                                      faas.RequestLog
		session, name, ip, user, detail, space sql.NullString
		duration, started                      int64
	)
	err := rows.Scan(&r.ID, &r.RequestID, &r.Operation, &session, &name, &r.Method, &r.Path, &r.StatusCode, &duration, &started,
		&ip, &user, &r.BytesIn, &r.BytesOut, &r.Cached, &detail, &space)
	r.SessionID, r.LanguageTitle, r.ClientIP = faas.SessionID(session.String), name.String, ip.String
	r.UserID, r.ErrorDetails, r.Namespace = user.String, detail.String, faas.Namespace(space.String)
	r.Duration, r.StartedAt = time.Duration(duration)*time.Microsecond, fromMicros(started)
	return r, err
}

// SweepRequestLogs deletes rows of requests that started before the given time,
// oldest first, and tells how many went. It looks at no more than limit rows.
// Rows are stored in the order in which requests ended, so the oldest ids are
// all that it needs to look at.
func (s *Store) SweepRequestLogs(ctx context.Context, before time.Time, limit int) (int, error) {
	result, err := s.write.ExecContext(ctx, `DELETE FROM request_lines WHERE line ->> 8 < ?
		AND id IN (SELECT id FROM request_lines ORDER BY id LIMIT ?)`, micros(before), limit)
	if err != nil {
		return 0, wrap("sweep request logs", err)
	}
	deleted, err := result.RowsAffected()
	return int(deleted), wrap("sweep request logs", err)
}
