package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/faas"
)

const (
	insertFailure = `INSERT INTO public.error_logs (timestamp, request_id, session_id, language_title, language, component,
		error_code, error_message, stack_trace, context)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`

	insertExchange = `INSERT INTO public.pending_payloads (request_id, started_at, request_headers, request_payload, response_payload,
		runtime_metrics) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`

	insertSample = `INSERT INTO analytics.runtime_metrics (timestamp, language, host, metric, value)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`

	insertCache = `INSERT INTO analytics.cache_metrics (timestamp, cache, hits, misses, entries, bytes, host)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`

	arePending = `SELECT EXISTS (SELECT FROM public.pending_payloads)`

	takePending = `DELETE FROM public.pending_payloads WHERE (request_id, started_at) IN (SELECT * FROM unnest($1::text[], $2::timestamptz[]))
		RETURNING request_id, started_at, request_headers, request_payload, response_payload, runtime_metrics`

	pendingBetween = `SELECT min(started_at), max(started_at) FROM public.pending_payloads`

	// The times choose the tables of months, and what of them is read.
	joinPending = `WITH joined AS (
			UPDATE public.request_logs l SET request_headers = p.request_headers, request_payload = p.request_payload,
				response_payload = p.response_payload, runtime_metrics = p.runtime_metrics
			FROM public.pending_payloads p
			WHERE l.timestamp BETWEEN $1 AND $2 AND l.request_id = p.request_id AND l.timestamp = p.started_at
			RETURNING p.request_id, p.started_at)
		DELETE FROM public.pending_payloads p USING joined j WHERE p.request_id = j.request_id AND p.started_at = j.started_at`

	// What nobody has asked for within an hour has no row.
	sweepPending = `DELETE FROM public.pending_payloads WHERE received_at < now() - interval '1 hour'`

	sweepFailures = `DELETE FROM public.error_logs WHERE (id, timestamp) IN
		(SELECT id, timestamp FROM public.error_logs WHERE timestamp < $1 ORDER BY timestamp LIMIT $2)`

	sweepSamples = `DELETE FROM analytics.runtime_metrics WHERE ctid IN
		(SELECT ctid FROM analytics.runtime_metrics WHERE timestamp < $1 ORDER BY timestamp LIMIT $2)`

	sweepCaches = `DELETE FROM analytics.cache_metrics WHERE ctid IN
		(SELECT ctid FROM analytics.cache_metrics WHERE timestamp < $1 ORDER BY timestamp LIMIT $2)`

	// Positions of streams (accesslog.Receiver) that ended without forgetting them.
	sweepStreams = `DELETE FROM public.log_files WHERE name IN
		(SELECT name FROM public.log_files WHERE name LIKE 'stream.%' AND updated_at < $1 LIMIT $2)`

	findFailures = `SELECT timestamp, request_id, coalesce(session_id, ''), coalesce(language_title, ''), coalesce(language, ''), component,
		error_code, error_message, coalesce(stack_trace, ''), context FROM public.error_logs WHERE request_id = ANY($1) ORDER BY timestamp, id`

	findExchanges = `SELECT request_id, timestamp, request_headers, coalesce(request_payload, ''), coalesce(response_payload, ''), runtime_metrics
		FROM public.request_logs WHERE id > $2 AND request_id = $1
		AND (request_payload IS NOT NULL OR response_payload IS NOT NULL OR runtime_metrics IS NOT NULL) ORDER BY id`
)

// AppendRecords stores what hosts and controls tell of requests. What is there already stays.
// An exchange is part of its request's row when that is there too.
func (s *Store) AppendRecords(ctx context.Context, r faas.Records) error {
	err := s.update(ctx, func(tx pgx.Tx) error {
		var batch pgx.Batch
		for i := range r.Failures {
			f := &r.Failures[i]
			batch.Queue(insertFailure, f.At, storable(f.RequestID), orNull(storable(string(f.SessionID))), orNull(storable(f.LanguageTitle)),
				orNull(string(f.Language)), string(f.Component), string(f.Code), storable(f.Message), orNull(storable(f.StackTrace)), indexable(f.Details))
		}
		for i := range r.Exchanges {
			e := &r.Exchanges[i]
			batch.Queue(insertExchange, storable(e.RequestID), e.StartedAt, indexable(e.Headers), orNull(storable(e.Request)),
				orNull(storable(e.Response)), indexable(e.Metrics))
		}
		queueSamples(&batch, &r)
		return tx.SendBatch(ctx, &batch).Close()
	})
	return wrap("append records of requests", err)
}

func queueSamples(batch *pgx.Batch, r *faas.Records) {
	for i := range r.Samples {
		s := &r.Samples[i]
		batch.Queue(insertSample, s.At, string(s.Language), storable(s.Host), storable(s.Metric), s.Value)
	}
	for i := range r.Caches {
		c := &r.Caches[i]
		batch.Queue(insertCache, c.At, c.Cache, c.Hits, c.Misses, c.Entries, c.Bytes, storable(c.Host))
	}
}

// indexable is JSON as jsonb takes it: that cannot hold NUL, nor what is no UTF-8.
func indexable(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	return storable(string(bytes.ReplaceAll(raw, []byte(`\u0000`), []byte(`\ufffd`))))
}

// JoinExchanges makes exchanges parts of their rows that came later than these, forgets those
// that have waited for one for an hour, and tells how many it joined.
func (s *Store) JoinExchanges(ctx context.Context) (joined int, err error) {
	err = s.update(ctx, func(tx pgx.Tx) error {
		var from, to *time.Time
		if err := tx.QueryRow(ctx, pendingBetween).Scan(&from, &to); err != nil || from == nil {
			return err
		}
		done, err := tx.Exec(ctx, joinPending, from, to)
		if err != nil {
			return err
		}
		joined = int(done.RowsAffected())
		_, err = tx.Exec(ctx, sweepPending)
		return err
	})
	return joined, wrap("join payloads with their requests", err)
}

// rowKey tells a request's row.
type rowKey struct {
	requestID string
	started   int64 // microseconds
}

// pending takes the exchanges that wait for rows.
func pending(ctx context.Context, tx pgx.Tx, rows []faas.RequestLog) (map[rowKey]faas.Exchange, error) {
	ids, times := make([]string, len(rows)), make([]time.Time, len(rows))
	for i := range rows {
		ids[i], times[i] = storable(rows[i].RequestID), rows[i].StartedAt
	}
	found, err := tx.Query(ctx, takePending, ids, times)
	if err != nil {
		return nil, err
	}
	exchanges := make(map[rowKey]faas.Exchange)
	var (
		e                 faas.Exchange
		request, response *string
	)
	_, err = pgx.ForEachRow(found, []any{&e.RequestID, &e.StartedAt, (*[]byte)(&e.Headers), &request, &response, (*[]byte)(&e.Metrics)}, func() error {
		taken := e
		taken.Headers, taken.Metrics = bytes.Clone(e.Headers), bytes.Clone(e.Metrics)
		taken.Request, taken.Response = orEmpty(request), orEmpty(response)
		exchanges[rowKey{e.RequestID, e.StartedAt.UnixMicro()}] = taken
		return nil
	})
	return exchanges, err
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// SweepRecords deletes failures and samples from before the given time, at most limit of each
// kind, and tells how many of whichever were most. Months that are over go with those of request
// logs, and exchanges with their rows.
func (s *Store) SweepRecords(ctx context.Context, before time.Time, limit int) (int, error) {
	most := 0
	for _, sweep := range []string{sweepFailures, sweepSamples, sweepCaches, sweepStreams} {
		deleted, err := s.exec(ctx, sweep, before, limit)
		if err != nil {
			return most, wrap("sweep records", err)
		}
		most = max(most, deleted)
	}
	return most, nil
}

// FindFailures tells why requests failed, as far as anybody knew, the oldest first.
func (s *Store) FindFailures(ctx context.Context, requestIDs []string) ([]faas.Failure, error) {
	rows, err := s.pool.Query(ctx, findFailures, storables(requestIDs))
	if err != nil {
		return nil, wrap("find failures", err)
	}
	failures, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f faas.Failure, err error) {
		err = row.Scan(&f.At, &f.RequestID, &f.SessionID, &f.LanguageTitle, &f.Language, &f.Component, &f.Code, &f.Message, &f.StackTrace, (*[]byte)(&f.Details))
		f.At = f.At.UTC()
		return f, err
	})
	return failures, wrap("find failures", err)
}

func storables(texts []string) []string {
	out := make([]string, len(texts))
	for i := range texts {
		out[i] = storable(texts[i])
	}
	return out
}

// FindExchanges is what the last requests of an id held, and their answers, the oldest first.
func (s *Store) FindExchanges(ctx context.Context, requestID string) ([]faas.Exchange, error) {
	var newest int64
	if err := s.pool.QueryRow(ctx, newestLog).Scan(&newest); err != nil {
		return nil, wrap("find payloads", err)
	}
	rows, err := s.pool.Query(ctx, findExchanges, storable(requestID), newest-rowsSearched)
	if err != nil {
		return nil, wrap("find payloads", err)
	}
	exchanges, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e faas.Exchange, err error) {
		err = row.Scan(&e.RequestID, &e.StartedAt, (*[]byte)(&e.Headers), &e.Request, &e.Response, (*[]byte)(&e.Metrics))
		e.StartedAt = e.StartedAt.UTC()
		return e, err
	})
	return exchanges, wrap("find payloads", err)
}
