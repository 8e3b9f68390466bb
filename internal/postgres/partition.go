package postgres

import (
	"context"
	"time"
)

const (
	keepPartitions = `SELECT public.envoke_keep_log_partitions($1)`

	// The lowest ids are the oldest rows: they were stored in the order in which requests ended.
	// They are two statements, so that the second is planned for the very ids: as one it reads
	// all of a month (5,000 of a million rows: 400 ms in place of 5).
	lastToSweep = `SELECT coalesce(max(id), 0) FROM (SELECT id FROM public.request_logs ORDER BY id LIMIT $1) AS oldest`
	sweepLogs   = `DELETE FROM public.request_logs WHERE id <= $1 AND timestamp < $2`

	// An Envoy whose clock was ahead has younger rows in front of older ones, and so no order to go
	// by. The index of times, which is one of ranges, has this read what may be due and no more.
	sweepBehind = `DELETE FROM public.request_logs WHERE (id, timestamp) IN
		(SELECT id, timestamp FROM public.request_logs WHERE timestamp < $1 LIMIT $2)`
)

// SweepRequestLogs deletes rows of requests that started before the given time,
// oldest first, and tells how many went, limit at most. Months that are over go as a whole,
// and are not counted. Tables of months to come are made here too.
func (s *Store) SweepRequestLogs(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.keepPartitions(ctx, &before); err != nil {
		return 0, wrap("keep the tables of months", err)
	}
	var last int64
	if err := s.pool.QueryRow(ctx, lastToSweep, limit).Scan(&last); err != nil {
		return 0, wrap("look for old request logs", err)
	}
	deleted, err := s.exec(ctx, sweepLogs, last, before)
	if err == nil && deleted == 0 {
		deleted, err = s.exec(ctx, sweepBehind, before, limit)
	}
	return deleted, wrap("sweep request logs", err)
}

// keepPartitions makes the tables of this month and of the next two, and drops those of months
// that ended before the given time, unless it is nil. Where somebody reads them for too long
// it is left to the next sweep; until then rows have the default table to go to.
func (s *Store) keepPartitions(ctx context.Context, before *time.Time) error {
	_, err := s.exec(ctx, keepPartitions, before)
	if codeOf(err) == lockNotAvailable {
		return nil
	}
	return err
}
