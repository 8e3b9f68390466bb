package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
)

var logColumns = []string{
	"request_id", "operation", "session_id", "language_title", "method", "path", "status_code", "duration_ms",
	"timestamp", "client_ip", "user_id", "bytes_in", "bytes_out", "cached", "error_details", "namespace",
}

// payloadColumns follow where hosts tell what requests held.
var payloadColumns = []string{"request_headers", "request_payload", "response_payload", "runtime_metrics"}

// logLock is held by whoever stores rows, until they are there for others. So ids are in the
// order in which rows can be read, and a reader who goes on after the last one misses none.
const logLock = `hashtextextended('envoke request logs', 0)`

const (
	lockLogs = `SELECT pg_advisory_xact_lock(` + logLock + `)`

	// Waits for an append under way, perhaps one whose answer was lost with its connection:
	// what it stores must not be read from the file again.
	awaitAppends = `SELECT pg_advisory_xact_lock_shared(` + logLock + `)`

	sessionNames = `SELECT id, language_title FROM meta.sessions WHERE id = ANY($1)`

	countExecutes = `UPDATE meta.sessions s SET execution_count = s.execution_count + e.count,
		last_executed_at = greatest(s.last_executed_at, e.last)
		FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS e (id, count, last) WHERE s.id = e.id`

	// Rows in an order that all have, so that two who lock several do not wait for each other.
	lockSessions = `SELECT 1 FROM meta.sessions WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`

	findOffset = `SELECT read_offset FROM public.log_files WHERE name = $1`

	putOffset = `INSERT INTO public.log_files (name, read_offset, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET read_offset = excluded.read_offset, updated_at = excluded.updated_at`

	forgetFile = `DELETE FROM public.log_files WHERE name = $1`
)

// LogOffset is how far the log file of that name has been stored; 0 if unknown.
func (s *Store) LogOffset(ctx context.Context, file string) (int64, error) {
	var offset int64
	err := s.update(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, awaitAppends); err != nil {
			return err
		}
		return tx.QueryRow(ctx, findOffset, file).Scan(&offset)
	})
	return offset, wrap(fmt.Sprintf("find offset of %q", file), err, pgx.ErrNoRows)
}

// AppendRequestLogs stores rows of a log file, what they add to their sessions'
// counts, and the offset in the file up to which they reach, in one transaction.
func (s *Store) AppendRequestLogs(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error {
	step := logStep{file, offset, rows}
	err := s.update(ctx, func(tx pgx.Tx) error {
		known, err := step.advance(ctx, tx)
		if err != nil || len(rows) == 0 {
			return err
		}
		if known.pending {
			return copyPayloads(ctx, tx, rows, known.names)
		}
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"public", "request_logs"}, logColumns,
			pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return logValues(&rows[i], known.names), nil }))
		return err
	})
	return wrap(fmt.Sprintf("append request logs of %q", file), err)
}

// copyPayloads stores rows with what hosts have told of them.
func copyPayloads(ctx context.Context, tx pgx.Tx, rows []faas.RequestLog, names map[string]string) error {
	exchanges, err := pending(ctx, tx, rows)
	if err != nil {
		return err
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"public", "request_logs"}, slices.Concat(logColumns, payloadColumns),
		pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			e := exchanges[rowKey{storable(rows[i].RequestID), rows[i].StartedAt.UnixMicro()}]
			return append(logValues(&rows[i], names), document(e.Headers), orNull(e.Request), orNull(e.Response), document(e.Metrics)), nil
		}))
	return err
}

// CountRequests is AppendRequestLogs for an installation that stores no rows: the
// sessions' counts and the offset only.
func (s *Store) CountRequests(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error {
	step := logStep{file, offset, rows}
	err := s.update(ctx, func(tx pgx.Tx) error {
		_, err := step.advance(ctx, tx)
		return err
	})
	return wrap(fmt.Sprintf("count requests of %q", file), err)
}

// logStep is a piece of a log file.
type logStep struct {
	file   string
	offset int64 // of its end
	rows   []faas.RequestLog
}

// knownOfRows is what the database knows of rows that are stored.
type knownOfRows struct {
	names   map[string]string // of their sessions
	pending bool              // payloads wait for rows
}

// advance stores the offset and the counts, and asks for what is known of the rows. All goes
// to the server at once.
func (s *logStep) advance(ctx context.Context, tx pgx.Tx) (known knownOfRows, err error) {
	known.names = make(map[string]string)
	var batch pgx.Batch
	batch.Queue(lockLogs)
	batch.Queue(putOffset, s.file, s.offset, time.Now())
	if e := executesOf(s.rows); len(e.ids) > 0 {
		batch.Queue(lockSessions, e.ids)
		batch.Queue(countExecutes, e.ids, e.counts, e.last)
	}
	if nameless := namelessSessions(s.rows); len(nameless) > 0 {
		batch.Queue(sessionNames, nameless).Query(func(found pgx.Rows) error {
			var id, name string
			_, err := pgx.ForEachRow(found, []any{&id, &name}, func() error {
				known.names[id] = name
				return nil
			})
			return err
		})
	}
	batch.Queue(arePending).QueryRow(func(row pgx.Row) error { return row.Scan(&known.pending) })
	err = tx.SendBatch(ctx, &batch).Close() // which fills known
	return known, err
}

// namelessSessions are those of rows to which the caller gave no name.
func namelessSessions(rows []faas.RequestLog) (ids []string) {
	for i := range rows {
		if rows[i].LanguageTitle == "" && rows[i].SessionID != "" {
			ids = append(ids, storable(string(rows[i].SessionID)))
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// executes are what rows add to sessions, each of which is there once.
type executes struct {
	ids    []string
	counts []int64
	last   []time.Time
}

func executesOf(rows []faas.RequestLog) (e executes) {
	at := make(map[faas.SessionID]int)
	for i := range rows {
		if !rows[i].Executed() {
			continue
		}
		n, known := at[rows[i].SessionID]
		if !known {
			n = len(e.ids)
			at[rows[i].SessionID] = n
			e.ids, e.counts, e.last = append(e.ids, storable(string(rows[i].SessionID))), append(e.counts, 0), append(e.last, time.Time{})
		}
		e.counts[n]++
		if rows[i].StartedAt.After(e.last[n]) {
			e.last[n] = rows[i].StartedAt
		}
	}
	return e
}

func logValues(r *faas.RequestLog, names map[string]string) []any {
	session, name := storable(string(r.SessionID)), storable(r.LanguageTitle)
	if name == "" {
		name = names[session]
	}
	return []any{
		storable(r.RequestID), string(r.Operation), orNull(session), orNull(name), storable(r.Method),
		storable(r.Path), r.StatusCode, exactMillis(r.Duration), r.StartedAt, orNull(storable(r.ClientIP)),
		orNull(storable(r.UserID)), r.BytesIn, r.BytesOut, r.Cached, orNull(storable(r.ErrorDetails)), orNull(string(r.Namespace)),
	}
}

// ForgetLogFile forgets the offset of a log file that is gone.
func (s *Store) ForgetLogFile(ctx context.Context, file string) error {
	_, err := s.exec(ctx, forgetFile, file)
	return wrap(fmt.Sprintf("forget log file %q", file), err)
}

// rowsSearched bounds what a search looks at: the newest rows, since the only index is that
// of their order.
const rowsSearched = 100_000

// findLogs takes the parameters of RequestLogQuery in their order, "" or 0 for any. A name
// selects all its versions and aliases.
const findLogs = `SELECT id, request_id, operation, coalesce(session_id, ''), coalesce(language_title, ''), method, path,
	status_code, duration_ms, timestamp, coalesce(client_ip, ''), coalesce(user_id, ''), bytes_in, bytes_out, cached,
	coalesce(error_details, ''), coalesce(namespace, '')
	FROM public.request_logs WHERE id > $5
		AND ($1::text = '' OR request_id = $1) AND ($2::text = '' OR session_id = $2)
		AND ($3::text = '' OR language_title = $3 OR starts_with(language_title, $3 || '@') OR starts_with(language_title, $3 || ':'))
		AND ($4::integer = 0 OR status_code = $4) ORDER BY id `

// newestLog is asked first, so that the search is planned for the very ids.
const newestLog = `SELECT coalesce(max(id), 0) FROM public.request_logs`

// LatestRequestLogs are the last rows stored that the query selects, newest first.
// With After they are the first ones stored after it, so that who reads on misses
// none.
func (s *Store) LatestRequestLogs(ctx context.Context, q faas.RequestLogQuery) ([]faas.RequestLog, error) {
	order := "DESC LIMIT $6"
	if q.After > 0 {
		order = "LIMIT $6"
	}
	var newest int64
	if err := s.pool.QueryRow(ctx, newestLog).Scan(&newest); err != nil {
		return nil, wrap("read request logs", err)
	}
	rows, err := s.pool.Query(ctx, findLogs+order, storable(q.RequestID), storable(string(q.SessionID)), storable(q.LanguageTitle),
		q.StatusCode, max(q.After, newest-rowsSearched), q.Limit)
	if err != nil {
		return nil, wrap("read request logs", err)
	}
	logs, err := pgx.CollectRows(rows, scanLog)
	if q.After > 0 {
		slices.Reverse(logs)
	}
	return logs, wrap("read request logs", err)
}

func scanLog(row pgx.CollectableRow) (r faas.RequestLog, err error) {
	var millis float64
	err = row.Scan(&r.ID, &r.RequestID, &r.Operation, &r.SessionID, &r.LanguageTitle, &r.Method, &r.Path, &r.StatusCode, &millis,
		&r.StartedAt, &r.ClientIP, &r.UserID, &r.BytesIn, &r.BytesOut, &r.Cached, &r.ErrorDetails, &r.Namespace)
	r.Duration, r.StartedAt = fromExactMillis(millis), r.StartedAt.UTC()
	return r, err
}
