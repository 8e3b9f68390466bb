package main

import (
	"context"
	"time"

	"envoke/internal/upkeep"
)

const (
	// keepExpired is how long a session that has expired can still be read.
	keepExpired = time.Hour
	// maxModuleBytes bounds all modules that were built from source.
	maxModuleBytes = 512 << 20

	// Rows that are deleted at once: each takes some 10 ms.
	fewRows  = 500
	manyRows = 5000

	// joinEvery is how long what a call held may be missing from its row, which came first.
	joinEvery = 5 * time.Second
)

// sweeper is a store that can delete what has had its time, oldest first and no more than so
// many rows, and tells how many it deleted.
type sweeper interface {
	SweepSessions(ctx context.Context, expiredBefore time.Time, limit int) (int, error)
	// SweepModules deletes modules used longest ago, as long as all have more than so many bytes.
	SweepModules(ctx context.Context, bytes int64, limit int) (int, error)
	// SweepRequestLogs keeps the tables of months too, where there are any.
	SweepRequestLogs(ctx context.Context, before time.Time, limit int) (int, error)
	// SweepRecords deletes why requests failed, and what they held.
	SweepRecords(ctx context.Context, before time.Time, limit int) (int, error)
	// JoinExchanges makes what requests held a part of their rows that came later than these.
	JoinExchanges(ctx context.Context) (int, error)
}

// leader is a store that several processes have open, of which it lets one work.
type leader interface {
	Lead(ctx context.Context, work func(context.Context)) error
}

// newUpkeep keeps a store small, in one control of all on it.
func newUpkeep(store store, e *environment) *upkeep.Upkeep {
	o := upkeep.Options{Logger: e.logger, Registerer: e.metrics}
	if l, ok := store.(leader); ok {
		o.Lead = l.Lead
	}
	retention := time.Duration(e.config.LogRetentionHours) * time.Hour
	o.Tasks = []upkeep.Task{
		{Name: "sessions", Limit: fewRows, Batch: before(keepExpired, store.SweepSessions)},
		{Name: "modules", Limit: fewRows, Batch: func(ctx context.Context, _ time.Time, limit int) (int, error) {
			return store.SweepModules(ctx, maxModuleBytes, limit)
		}},
		{Name: "request_logs", Limit: manyRows, Batch: before(retention, store.SweepRequestLogs)},
		{Name: "error_logs", Limit: manyRows, Batch: before(retention, store.SweepRecords)},
		// Somebody waits for them, who looks for what a call held.
		{Name: "payloads", Every: joinEvery, Limit: 1 << 30, Batch: func(ctx context.Context, _ time.Time, _ int) (int, error) { return store.JoinExchanges(ctx) }},
	}
	return upkeep.New(o)
}

// before is a sweep of what is older than it is kept.
func before(kept time.Duration, sweep func(context.Context, time.Time, int) (int, error)) func(context.Context, time.Time, int) (int, error) {
	return func(ctx context.Context, now time.Time, limit int) (int, error) {
		return sweep(ctx, now.Add(-kept), limit)
	}
}
