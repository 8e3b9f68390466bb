package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/postgres"
	"envoke/internal/testrig"
)

// contenders are stores of one database of which one leads: how many work, and who worked.
type contenders struct {
	working atomic.Int32
	mu      sync.Mutex
	turns   []int // whose turn it was, in order
}

func (c *contenders) turn(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.turns) > n
}

// who is whose turn it was.
func (c *contenders) who(n int) int { c.mu.Lock(); defer c.mu.Unlock(); return c.turns[n] }

// leads lets a store contend for the lead, and swept counts what it sweeps then.
func (c *contenders) leads(t *testing.T, number int, store *postgres.Store, swept *atomic.Int64) {
	testrig.Serve(t, func(ctx context.Context) error {
		return store.Lead(ctx, func(ctx context.Context) {
			if n := c.working.Add(1); n != 1 {
				t.Errorf("%d work at once", n)
			}
			defer c.working.Add(-1)
			c.mu.Lock()
			c.turns = append(c.turns, number)
			c.mu.Unlock()
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				n, err := store.SweepSessions(ctx, time.Now(), 1)
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				swept.Add(int64(n))
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	})
}

// expire creates sessions that have expired.
func expire(t *testing.T, store *postgres.Store, count int) {
	t.Helper()
	for i := range count {
		session, script := newSession(fmt.Sprint("return ", i))
		session.CreatedAt, session.ExpiresAt = session.CreatedAt.Add(-2*time.Hour), session.CreatedAt.Add(-time.Hour)
		if err := store.CreateSession(t.Context(), session, &script); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOneLeads: of two stores one works. When its connection is cut, the other takes over, and
// each session that has expired is swept once.
func TestOneLeads(t *testing.T) {
	t.Parallel()
	address := testrig.Postgres(t)
	stores := []*postgres.Store{open(t, address), open(t, address)}
	for _, store := range stores {
		t.Cleanup(func() { store.Close() })
	}
	var (
		c     contenders
		swept [2]atomic.Int64
	)
	const all = 40
	expire(t, stores[0], all)
	for i, store := range stores {
		c.leads(t, i, store, &swept[i])
	}
	testrig.Eventually(t, "somebody to lead", func() bool { return c.turn(0) })
	first := c.who(0)
	testrig.Eventually(t, "the first to sweep", func() bool { return swept[first].Load() == all })
	if other := swept[1-first].Load(); other != 0 {
		t.Errorf("who does not lead has swept %d sessions", other)
	}

	cutLeader(t, address)
	expire(t, stores[0], all)
	testrig.Eventually(t, "the lead to go on", func() bool { return c.turn(1) })
	second := c.who(1)
	testrig.Eventually(t, "all to be swept once", func() bool { return swept[0].Load()+swept[1].Load() == 2*all })
	if second == first {
		t.Error("the one that was cut off leads again")
	}
	if left := query[int](t, address, "SELECT count(*) FROM meta.sessions"); left != 0 {
		t.Errorf("%d sessions are left", left)
	}
}

// TestTheOtherTakesOver when who leads is gone for good.
func TestTheOtherTakesOver(t *testing.T) {
	t.Parallel()
	address := testrig.Postgres(t)
	stores := []*postgres.Store{open(t, address), open(t, address)}
	for _, store := range stores {
		t.Cleanup(func() { store.Close() })
	}
	led := make(chan int, 4)
	ends := make([]context.CancelFunc, len(stores))
	for i, store := range stores {
		ctx, end := context.WithCancel(t.Context())
		ends[i] = end
		testrig.Serve(t, func(serving context.Context) error {
			defer context.AfterFunc(serving, end)()
			return store.Lead(ctx, func(ctx context.Context) { led <- i; <-ctx.Done() })
		})
	}
	first := <-led
	ends[first]()
	if second := <-led; second == first {
		t.Errorf("store %d leads although it has ended", second)
	}
}

// TestTheLeadIsKept while nothing happens: a connection that is quiet is not lost.
func TestTheLeadIsKept(t *testing.T) {
	t.Parallel()
	store := open(t, testrig.Postgres(t))
	t.Cleanup(func() { store.Close() })
	var turns atomic.Int32
	began := make(chan time.Time, 10)
	testrig.Serve(t, func(ctx context.Context) error {
		return store.Lead(ctx, func(ctx context.Context) { turns.Add(1); began <- time.Now(); <-ctx.Done() })
	})
	first := <-began
	testrig.Eventually(t, "some seconds to go by", func() bool { return time.Since(first) > 3*time.Second })
	if n := turns.Load(); n != 1 {
		t.Errorf("it led %d times", n)
	}
}

// cutLeader ends the connection that has the lead's lock.
func cutLeader(t *testing.T, address string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var cut int
	err = conn.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND (classid::bigint << 32) | objid::bigint = hashtextextended('envoke upkeep', 0)`).Scan(&cut)
	if err != nil || cut != 1 {
		t.Fatalf("%d connections that lead were cut, %v", cut, err)
	}
}
