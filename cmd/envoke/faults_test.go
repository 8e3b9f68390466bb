package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"envoke/internal/testrig"
)

// faulty is an installation on PostgreSQL and Redis under load, of which either may fail.
type faulty struct {
	*installation
	postgres *testrig.PostgresServer
	address  string // for its user
	admin    string // for PostgreSQL's
	redis    *testrig.RedisServer
	wire     *testrig.Wire // to Redis
	loads    []*callers
}

// callers are some of one kind.
type callers struct {
	name, operation string
	// needsPostgres: they may be refused, by 503 UNAVAILABLE, in faults of that.
	needsPostgres bool
	call          func(n int) (want string, r reply, err error)

	mu                       sync.Mutex
	sent, refused, wrong, ok int
	first                    error // wrong answer
}

func newFaulty(t *testing.T) *faulty {
	f := &faulty{postgres: testrig.NewPostgres(t), redis: testrig.Redis(t)}
	f.admin = f.postgres.NewDatabase(t)
	f.address = withPassword(t, f.admin)
	f.wire = testrig.NewWire(t, strings.TrimPrefix(f.redis.URL(), "unix://"))
	through := "unix://" + f.wire.Path
	f.installation = serve(t, "--database-url", f.address, "--redis-url", through, "--redis-cache-url", through)
	plain := f.base + "/api/v1/execute/" + f.initialize(t, "return event.params.n + 1")
	looked := f.base + "/api/v1/execute/" + f.initialize(t, "return event.params.n + 1")
	cached := f.base + "/function/" + f.defineCached(t, "sum", "return Number(event.params.n) + 1", 60)
	execute := func(url string, headers ...string) func(int) (string, reply, error) {
		return func(n int) (string, reply, error) {
			r, err := send(http.MethodPost, url, fmt.Sprintf(`{"params":{"n":%d}}`, n), headers...)
			return fmt.Sprintf(`{"result":%d,`, n+1), r, err
		}
	}
	f.loads = []*callers{
		{name: "plain executes", operation: "execute", call: execute(plain)},
		{name: "executes through ext_proc", operation: "execute", call: execute(looked, "X-Cache-Control", "no-cache")},
		{name: "calls of a function", operation: "invokehttp", call: func(n int) (string, reply, error) {
			r, err := send(http.MethodGet, fmt.Sprintf("%s?n=%d", cached, n), "")
			return fmt.Sprint(n + 1), r, err
		}},
		{name: "new sessions", operation: "initialize", needsPostgres: true, call: func(n int) (string, reply, error) {
			r, err := send(http.MethodPost, f.base+"/api/v1/initialize", fmt.Sprintf(`{"script_content":"return %d"}`, n%1000), "Language-Title", "nodejs-new")
			return `{"request_id":"`, r, err
		}},
	}
	return f
}

func (l *callers) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		want, r, err := l.call(n)
		l.mu.Lock()
		l.sent++
		switch {
		case err == nil && r.status == http.StatusOK && strings.HasPrefix(string(r.body), want):
			l.ok++
		case err == nil && l.needsPostgres && r.status == http.StatusServiceUnavailable && strings.Contains(string(r.body), `"UNAVAILABLE"`):
			l.refused++
		default:
			if l.wrong++; l.first == nil {
				l.first = fmt.Errorf("call %d: %d %s %w", n, r.status, r.body, err)
			}
		}
		l.mu.Unlock()
	}
}

func (l *callers) answered() int { l.mu.Lock(); defer l.mu.Unlock(); return l.ok }

// under runs what happens with the load on, before which and after which each kind of call
// is answered.
func (f *faulty) under(t *testing.T, happens func(t *testing.T)) {
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, l := range f.loads {
		l.sent, l.refused, l.wrong, l.ok, l.first = 0, 0, 0, 0, nil
		running.Go(func() { l.run(ctx) })
	}
	defer running.Wait()
	defer stop()
	f.more(t, "before the fault", f.loads)
	happens(t)
	f.more(t, "after the fault", f.loads)
}

func (f *faulty) more(t *testing.T, when string, loads []*callers) {
	t.Helper()
	const calls = 20
	for _, l := range loads {
		least := l.answered() + calls
		testrig.Eventually(t, l.name+" "+when, func() bool { return l.answered() >= least })
	}
}

// known are the loads that go on without PostgreSQL.
func (f *faulty) known() (loads []*callers) {
	for _, l := range f.loads {
		if !l.needsPostgres {
			loads = append(loads, l)
		}
	}
	return loads
}

// logged counts rows, which may come late.
func (f *faulty) logged(t *testing.T) map[string]int {
	conn, err := pgx.Connect(t.Context(), f.admin)
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close(t.Context()) }()
	rows, err := conn.Query(t.Context(), "SELECT operation, count(*) FROM request_logs GROUP BY operation")
	if err != nil {
		return nil
	}
	counts := map[string]int{}
	var operation string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&operation, &n}, func() error { counts[operation] = n; return nil }); err != nil {
		return nil
	}
	return counts
}

type fault struct {
	name    string
	happens func(t *testing.T)
}

// TestFaults is a report: under each fault, how many calls were sent, refused and answered
// wrong, and how many rows of the log are missing after it.
func TestFaults(t *testing.T) {
	f := newFaulty(t)
	before := map[string]int{"initialize": 2}
	for _, fault := range []fault{
		{"Redis killed, and started empty", func(t *testing.T) {
			f.redis.Kill(t)
			f.more(t, "without Redis", f.loads)
			f.redis.Start(t)
		}},
		{"Redis does not answer", func(t *testing.T) {
			f.redis.Stall(t)
			f.more(t, "while Redis does not answer", f.loads)
			f.redis.Resume(t)
		}},
		{"Redis answers 200 ms late", func(t *testing.T) {
			f.wire.Delay(200 * time.Millisecond)
			f.more(t, "while Redis is slow", f.loads)
			f.wire.Delay(0)
		}},
		{"Redis answers garbage", func(t *testing.T) {
			f.wire.Garble(true)
			f.more(t, "while Redis lies", f.loads)
			f.wire.Garble(false)
		}},
		{"Redis is full", func(t *testing.T) {
			f.configure(t, "maxmemory", "1")
			f.more(t, "while Redis is full", f.loads)
			f.configure(t, "maxmemory", "0")
		}},
		{"Redis is read-only", func(t *testing.T) {
			f.redis.Do(t, "REPLICAOF", "127.0.0.1", "1")
			f.more(t, "while Redis is read-only", f.loads)
			f.redis.Do(t, "REPLICAOF", "NO", "ONE")
		}},
		{"PostgreSQL killed", func(t *testing.T) {
			f.postgres.Kill(t)
			over := time.After(outage())
			for away := true; away; {
				f.more(t, "without PostgreSQL", f.known())
				select {
				case <-over:
					away = false
				default:
				}
			}
			f.postgres.Start(t)
		}},
		{"PostgreSQL cuts all connections, again and again", func(t *testing.T) {
			for range 10 {
				f.cut(t)
				f.more(t, "while connections are cut", f.known())
			}
		}},
		{"PostgreSQL has no connection left", func(t *testing.T) {
			f.limitConnections(t, 0)
			f.cut(t)
			f.more(t, "without connections", f.known())
			f.limitConnections(t, -1)
		}},
	} {
		ok := t.Run(fault.name, func(t *testing.T) {
			f.under(t, fault.happens)
			f.report(t, before, strings.HasPrefix(fault.name, "PostgreSQL"))
		})
		if !ok {
			return
		}
	}
}

// report fails for a wrong answer and for a row that does not come. Before are the rows of
// earlier calls, to which these are added.
func (f *faulty) report(t *testing.T, before map[string]int, mayRefuse bool) {
	for _, l := range f.loads {
		before[l.operation] += l.sent
		t.Logf("%-26s %6d sent, %6d refused, %d wrong", l.name, l.sent, l.refused, l.wrong)
		if l.refused > 0 && !mayRefuse {
			t.Errorf("%s: %d were refused", l.name, l.refused)
		}
		if l.wrong > 0 {
			t.Errorf("%s: the first of %d wrong answers: %v", l.name, l.wrong, l.first)
		}
	}
	var counts map[string]int
	missing := func() (n int) {
		counts = f.logged(t)
		for operation, sent := range before {
			n += max(sent-counts[operation], counts[operation]-sent) // one twice is as wrong
		}
		return n
	}
	testrig.Eventually(t, "a row for each call", func() bool { return missing() == 0 })
	t.Logf("rows of the log: %d missing of %v", missing(), counts)
}

// outage is how long PostgreSQL is away: a minute for make test-long.
func outage() time.Duration { return time.Duration(fewOrMany(3, 60)) * time.Second }

func (f *faulty) configure(t *testing.T, setting, value string) {
	t.Helper()
	f.redis.Do(t, "CONFIG", "SET", setting, value)
}

// cut ends all connections of its user.
func (f *faulty) cut(t *testing.T) {
	t.Helper()
	f.asAdmin(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", f.user(t))
}

// limitConnections bounds how many its user may have; -1 is as many as there are.
func (f *faulty) limitConnections(t *testing.T, n int) {
	t.Helper()
	f.asAdmin(t, fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d", pgx.Identifier{f.user(t)}.Sanitize(), n))
}

func (f *faulty) user(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(f.address)
	if err != nil {
		t.Fatal(err)
	}
	return u.User.Username()
}

func (f *faulty) asAdmin(t *testing.T, statement string, args ...any) {
	t.Helper()
	if _, err := connect(t, f.admin).Exec(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}
