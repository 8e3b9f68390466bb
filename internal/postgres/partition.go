package postgres

import (
	"context"
	"time"
)

const (
	keepPartitions = `SELECT public.envoke_keep_log_partitions($1)`

	// The lowest ids are the oldest rows: they were stored in the order in which requests ended.
	sweepLogs = `DELETE FROM public.request_logs WHERE timestamp < $1 AND (id, timestamp) IN
		(SELECT id, timestamp FROM public.request_logs ORDER BY id LIMIT $2)`
)

// SweepRequestLogs deletes rows of requests that started before the given time,
// oldest first, and tells how many went: it looks at no more than limit rows. Months that
// are over go as a whole, and are not counted. Tables of months to come are made here too.
func (s *Store) SweepRequestLogs(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.keepPartitions(ctx, &before); err != nil {
		return 0, wrap("keep the tables of months", err)
	}
	deleted, err := s.exec(ctx, sweepLogs, before, limit)
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
