package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// A lock of the connection's session: it goes with the connection.
	tryToLead = `SELECT pg_try_advisory_lock(hashtextextended('envoke upkeep', 0))`

	// The server lets go of the lock of a machine that is gone when its keepalives are not
	// answered, and no sooner than that machine has noticed by itself: see leadAskEvery. On a
	// Unix socket they mean nothing, and are needed for nothing.
	leadKeepalives = `SELECT set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false),
		set_config('tcp_keepalives_count', '3', false)`
)

const (
	// leadTryEvery is how often who does not lead tries to.
	leadTryEvery = 2 * time.Second
	// leadAgain is how long who led, or could not ask, lets others be first.
	leadAgain = 2 * leadTryEvery
	// leadAskEvery is how often the leader asks whether its connection is still there, and
	// leadAskTimeout how long for. A connection that the server ends is noticed at once.
	leadAskEvery   = time.Second
	leadAskTimeout = time.Second
	// leadSettle is how long a new leader waits before it works: so long the last one may take
	// to notice that it leads no more.
	leadSettle = leadAskEvery + leadAskTimeout + 500*time.Millisecond
)

// Lead runs work in one process of all that have this database open: in whichever has a lock of
// the database, by a connection of its own. Its context ends as soon as that connection does.
// Another process then leads within seconds, and this one tries again when work has returned.
// Lead returns when ctx ends.
func (s *Store) Lead(ctx context.Context, work func(context.Context)) error {
	for ctx.Err() == nil {
		_ = s.leadOnce(ctx, work) // the store is away, as everybody else says too, or was a moment ago
		pause(ctx, leadAgain)
	}
	return nil
}

// leadOnce leads when nobody else does, until its connection ends.
func (s *Store) leadOnce(ctx context.Context, work func(context.Context)) error {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to lead: %w", err)
	}
	conn := pooled.Hijack()
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, leadKeepalives); err != nil {
		return fmt.Errorf("set keepalives: %w", err)
	}
	for leads := false; !leads; {
		if err := ask(ctx, conn, tryToLead, &leads); err != nil {
			return fmt.Errorf("try to lead: %w", err)
		}
		if !leads && !pause(ctx, leadTryEvery) {
			return ctx.Err()
		}
	}
	leading, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if pause(leading, leadSettle) {
			work(leading)
		}
	}()
	err = watchLead(ctx, conn)
	stop()
	<-done // before the connection is closed, and with it the lock is given back
	return err
}

// watchLead returns when the connection has ended, or ctx.
func watchLead(ctx context.Context, conn *pgx.Conn) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, leadAskEvery)
		_, err := conn.WaitForNotification(waiting)
		asleep := waiting.Err() != nil
		cancel()
		if err != nil && (!asleep || ctx.Err() != nil || conn.IsClosed()) {
			return err
		}
		var one int
		if err := ask(ctx, conn, "SELECT 1", &one); err != nil {
			return fmt.Errorf("go on leading: %w", err)
		}
	}
}

// ask asks for one value, and not for long.
func ask(ctx context.Context, conn *pgx.Conn, question string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, leadAskTimeout)
	defer cancel()
	return conn.QueryRow(ctx, question).Scan(answer)
}

// pause tells whether ctx goes on after so long.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
