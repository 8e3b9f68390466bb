package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"envoke/internal/faas"
)

const (
	insertFailure = `INSERT OR IGNORE INTO error_logs (timestamp, request_id, session_id, language_title, language, component,
		error_code, error_message, stack_trace, context) VALUES (?, ?, nullif(?, ''), nullif(?, ''), nullif(?, ''), ?, ?, ?, nullif(?, ''), ?)`

	insertExchange = `INSERT OR IGNORE INTO request_payloads (request_id, started_at, request_headers, request_payload, response_payload,
		runtime_metrics) VALUES (?, ?, ?, nullif(?, ''), nullif(?, ''), ?)`

	insertSample = `INSERT OR IGNORE INTO analytics_runtime_metrics (timestamp, language, host, metric, value) VALUES (?, ?, ?, ?, ?)`

	insertCache = `INSERT OR IGNORE INTO analytics_cache_metrics (timestamp, cache, hits, misses, entries, bytes, host) VALUES (?, ?, ?, ?, ?, ?, ?)`

	sweepSamples = `DELETE FROM analytics_runtime_metrics WHERE (timestamp, host, language, metric) IN
		(SELECT timestamp, host, language, metric FROM analytics_runtime_metrics WHERE timestamp < ? ORDER BY timestamp LIMIT ?)`
	sweepCaches = `DELETE FROM analytics_cache_metrics WHERE (timestamp, host, cache) IN
		(SELECT timestamp, host, cache FROM analytics_cache_metrics WHERE timestamp < ? ORDER BY timestamp LIMIT ?)`
	// Positions of streams (accesslog.Receiver) that ended without forgetting them.
	sweepStreams = `DELETE FROM log_files WHERE name IN
		(SELECT name FROM log_files WHERE name LIKE 'stream.%' AND updated_at < ? LIMIT ?)`
	sweepFailures  = `DELETE FROM error_logs WHERE timestamp < ? AND id IN (SELECT id FROM error_logs ORDER BY id LIMIT ?)`
	sweepExchanges = `DELETE FROM request_payloads WHERE rowid IN (SELECT rowid FROM request_payloads WHERE started_at < ? ORDER BY started_at LIMIT ?)`

	findFailures = `SELECT timestamp, request_id, coalesce(session_id, ''), coalesce(language_title, ''), coalesce(language, ''), component,
		error_code, error_message, coalesce(stack_trace, ''), context FROM error_logs
		WHERE request_id IN (SELECT value FROM json_each(?)) ORDER BY timestamp, id`

	findExchanges = `SELECT l.request_id, l.started_at, p.request_headers, coalesce(p.request_payload, ''), coalesce(p.response_payload, ''), p.runtime_metrics
		FROM request_payloads p JOIN request_logs l ON l.request_id = p.request_id AND l.started_at = p.started_at
		WHERE p.request_id = ?1 AND l.id > (SELECT coalesce(max(id), 0) FROM request_lines) - ?2 ORDER BY l.id`
)

// AppendRecords stores what hosts and control tell of requests. What is there already stays.
// An exchange is part of its request's row when that is there too.
func (s *Store) AppendRecords(ctx context.Context, r faas.Records) error {
	err := s.update(ctx, func(tx *sql.Tx) error {
		for i := range r.Failures {
			f := &r.Failures[i]
			_, err := tx.ExecContext(ctx, insertFailure, micros(f.At), valid(f.RequestID), valid(string(f.SessionID)), valid(f.LanguageTitle),
				string(f.Language), string(f.Component), string(f.Code), valid(f.Message), valid(f.StackTrace), document(f.Details))
			if err != nil {
				return err
			}
		}
		for i := range r.Exchanges {
			e := &r.Exchanges[i]
			_, err := tx.ExecContext(ctx, insertExchange, valid(e.RequestID), micros(e.StartedAt), document(e.Headers), valid(e.Request),
				valid(e.Response), document(e.Metrics))
			if err != nil {
				return err
			}
		}
		return appendSamples(ctx, tx, &r)
	})
	return wrap("append records of requests", err)
}

func appendSamples(ctx context.Context, tx *sql.Tx, r *faas.Records) error {
	for i := range r.Samples {
		s := &r.Samples[i]
		if _, err := tx.ExecContext(ctx, insertSample, micros(s.At), string(s.Language), valid(s.Host), valid(s.Metric), s.Value); err != nil {
			return err
		}
	}
	for i := range r.Caches {
		c := &r.Caches[i]
		if _, err := tx.ExecContext(ctx, insertCache, micros(c.At), c.Cache, c.Hits, c.Misses, c.Entries, c.Bytes, valid(c.Host)); err != nil {
			return err
		}
	}
	return nil
}

// valid is a text as request rows have it: what is no UTF-8 becomes U+FFFD.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// JoinExchanges has nothing to do: a view joins them.
func (s *Store) JoinExchanges(context.Context) (int, error) { return 0, nil }

// SweepRecords deletes failures, exchanges of requests and samples from before the given time,
// at most limit of each kind, and tells how many of whichever were most.
func (s *Store) SweepRecords(ctx context.Context, before time.Time, limit int) (int, error) {
	var most int64
	for _, sweep := range []string{sweepFailures, sweepExchanges, sweepSamples, sweepCaches, sweepStreams} {
		done, err := s.write.ExecContext(ctx, sweep, micros(before), limit)
		if err != nil {
			return int(most), wrap("sweep records", err)
		}
		deleted, err := done.RowsAffected()
		if err != nil {
			return int(most), wrap("sweep records", err)
		}
		most = max(most, deleted)
	}
	return int(most), nil
}

// FindFailures tells why requests failed, as far as anybody knew, the oldest first.
func (s *Store) FindFailures(ctx context.Context, requestIDs []string) (failures []faas.Failure, err error) {
	ids, err := json.Marshal(requestIDs)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, findFailures, string(ids))
	if err != nil {
		return nil, wrap("find failures", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			f  faas.Failure
			at int64
		)
		err := rows.Scan(&at, &f.RequestID, &f.SessionID, &f.LanguageTitle, &f.Language, &f.Component, &f.Code, &f.Message, &f.StackTrace, (*[]byte)(&f.Details))
		if err != nil {
			return nil, wrap("find failures", err)
		}
		f.At = fromMicros(at)
		failures = append(failures, f)
	}
	return failures, wrap("find failures", rows.Err())
}

// FindExchanges is what the last requests of an id held, and their answers, the oldest first.
func (s *Store) FindExchanges(ctx context.Context, requestID string) (exchanges []faas.Exchange, err error) {
	rows, err := s.read.QueryContext(ctx, findExchanges, requestID, rowsSearched)
	if err != nil {
		return nil, wrap("find payloads", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			e  faas.Exchange
			at int64
		)
		if err := rows.Scan(&e.RequestID, &at, (*[]byte)(&e.Headers), &e.Request, &e.Response, (*[]byte)(&e.Metrics)); err != nil {
			return nil, wrap("find payloads", err)
		}
		e.StartedAt = fromMicros(at)
		exchanges = append(exchanges, e)
	}
	return exchanges, wrap("find payloads", rows.Err())
}
