package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// tables are those of months, of both logs, and how many rows of requests each has.
func tables(t *testing.T, address string) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	names := query[[]string](t, address, `SELECT array_agg(inhrelid::regclass::text) FROM pg_inherits
		WHERE inhparent IN ('request_logs'::regclass, 'error_logs'::regclass)`)
	for _, name := range names {
		counts[name] = query[int](t, address, "SELECT count(*) FROM "+name)
	}
	return counts
}

func TestMonths(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	now := time.Now().UTC()
	first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	name := func(months int) string { return "request_logs_" + first.AddDate(0, months, 0).Format("200601") }
	want := func(when string, want map[string]int) {
		t.Helper()
		got := tables(t, address)
		for table, rows := range want {
			if n, there := got[table]; !there || n != rows {
				t.Errorf("%s: %s has %d rows (there: %v), want %d", when, table, n, there, rows)
			}
		}
		if len(got) != 2*len(want) {
			t.Errorf("%s: tables are %v", when, got)
		}
	}
	want("at first", map[string]int{name(0): 0, name(1): 0, name(2): 0, "request_logs_default": 0})

	// One month had no table, and one is from before.
	run(t, address, "DROP TABLE "+name(1), "DROP TABLE "+strings.Replace(name(1), "request", "error", 1),
		"SELECT envoke_add_log_partition('request_logs', '2025-01-01')", "SELECT envoke_add_log_partition('error_logs', '2025-01-01')")
	rows := []faas.RequestLog{
		{StartedAt: time.Date(2025, 1, 31, 23, 59, 59, 999999000, time.UTC)},
		{StartedAt: first},
		{StartedAt: now},
		{StartedAt: first.AddDate(0, 1, 0)},
		{StartedAt: first.AddDate(0, 2, 0).Add(-time.Microsecond)},
		{StartedAt: first.AddDate(0, 2, 0)},
	}
	if err := store.AppendRequestLogs(t.Context(), "a", 1, rows); err != nil {
		t.Fatal(err)
	}
	want("with rows", map[string]int{"request_logs_202501": 1, name(0): 2, name(2): 1, "request_logs_default": 2})

	if _, err := store.SweepRequestLogs(t.Context(), time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC).Add(-time.Microsecond), 100); err != nil {
		t.Fatal(err)
	}
	want("swept too early for the month", map[string]int{"request_logs_202501": 1, name(0): 2, name(1): 2, name(2): 1, "request_logs_default": 0})
	if _, err := store.SweepRequestLogs(t.Context(), time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC), 100); err != nil {
		t.Fatal(err)
	}
	want("swept", map[string]int{name(0): 2, name(1): 2, name(2): 1, "request_logs_default": 0})
}

// TestYoungerRowsInFront: an Envoy whose clock was ahead keeps no old row from going.
func TestYoungerRowsInFront(t *testing.T) {
	store := open(t, testrig.Postgres(t))
	defer store.Close()
	now := time.Now()
	rows := []faas.RequestLog{{StartedAt: now.Add(time.Minute)}, {StartedAt: now.AddDate(0, 10, 0)}, {StartedAt: now.Add(-time.Minute)}}
	if err := store.AppendRequestLogs(t.Context(), "a", 1, rows); err != nil {
		t.Fatal(err)
	}
	if n, err := store.SweepRequestLogs(t.Context(), now, 2); err != nil || n != 1 {
		t.Errorf("%d went, %v", n, err)
	}
	if left, err := store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 10}); err != nil || len(left) != 2 {
		t.Errorf("%d are left, %v", len(left), err)
	}
}

// TestBusyMonths: who reads for long holds up no sweep; months are kept next time.
func TestBusyMonths(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	run(t, address, "SELECT envoke_add_log_partition('request_logs', '2025-01-01')")
	reader, err := connect(t, address).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(t.Context(), "SELECT count(*) FROM request_logs"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if _, err := store.SweepRequestLogs(t.Context(), time.Now(), 10); err != nil {
			t.Fatal(err)
		}
		if there := query[bool](t, address, "SELECT to_regclass('request_logs_202501') IS NOT NULL"); there != want {
			t.Errorf("the table is there: %v, want %v", there, want)
		}
		if want {
			if err := reader.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOffsetAwaitsAppend: the connection of an append broke before its answer came, and the
// server is still at it. Who asks for the offset must not be told the old one.
func TestOffsetAwaitsAppend(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	append1, err := connect(t, address).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := append1.Exec(t.Context(), `SELECT pg_advisory_xact_lock(hashtextextended('envoke request logs', 0));
		INSERT INTO log_files VALUES ('a', 100, now())`); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if offset, err := store.LogOffset(short, "a"); faas.AsError(err).Code != faas.Unavailable {
		t.Errorf("the offset is %d, %v while it is written", offset, err)
	}
	told := make(chan int64, 1)
	go func() {
		offset, err := store.LogOffset(t.Context(), "a")
		if err != nil {
			t.Error(err)
		}
		told <- offset
	}()
	testrig.Eventually(t, "the question to wait", func() bool {
		return query[int](t, address, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") > 0
	})
	if err := append1.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if offset := <-told; offset != 100 {
		t.Errorf("the offset is %d, want 100", offset)
	}
}

// TestAppendIsWhole: what fails at its very end leaves neither rows, nor counts, nor the offset.
func TestAppendIsWhole(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	session, script := newSession("return 1")
	if err := store.CreateSession(t.Context(), session, &script); err != nil {
		t.Fatal(err)
	}
	run(t, address, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$",
		"CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON log_files DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()")
	rows := []faas.RequestLog{{SessionID: session.ID, Operation: faas.Execute, StatusCode: 200, StartedAt: time.Now()}}
	if err := store.AppendRequestLogs(t.Context(), "a", 1, rows); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the append failed with %v", err)
	}
	left := query[int](t, address, "SELECT (SELECT count(*) FROM request_logs) + (SELECT count(*) FROM log_files) + (SELECT sum(execution_count)::int FROM meta.sessions)")
	if left != 0 {
		t.Error("something is left")
	}
}

// TestCutConnectionsCountOnce: while connections are cut again and again, also in the middle of
// a commit, who goes on where the offset says stores each row once.
func TestCutConnectionsCountOnce(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	session, script := newSession("return 1")
	if err := store.CreateSession(t.Context(), session, &script); err != nil {
		t.Fatal(err)
	}
	const all, step = 3000, 10
	done := make(chan struct{})
	var cutting sync.WaitGroup
	cuts := 0
	cutting.Go(func() {
		conn := connect(t, address)
		for pause := time.Millisecond; ; pause = pause%(7*time.Millisecond) + time.Millisecond {
			select {
			case <-done:
				return
			case <-time.After(pause):
			}
			var cut int
			err := conn.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name = 'envoke'`).Scan(&cut)
			if err != nil {
				t.Error(err)
				return
			}
			cuts += cut
		}
	})
	failed := 0
	testrig.Eventually(t, "all rows to be stored", func() bool {
		offset, err := store.LogOffset(t.Context(), "a")
		for err == nil && offset < all {
			rows := make([]faas.RequestLog, step)
			for i := range rows {
				rows[i] = faas.RequestLog{RequestID: fmt.Sprint(offset + int64(i)), SessionID: session.ID, Operation: faas.Execute, StatusCode: 200, StartedAt: time.Now()}
			}
			offset += step
			err = store.AppendRequestLogs(t.Context(), "a", offset, rows)
		}
		if err != nil {
			failed++
			if faas.AsError(err).Code != faas.Unavailable {
				t.Errorf("cut off: %v, want %s", err, faas.Unavailable)
			}
		}
		return err == nil
	})
	close(done)
	cutting.Wait()
	t.Logf("%d connections were cut, %d calls failed", cuts, failed)
	if got := query[string](t, address, "SELECT concat_ws(' ', count(*), count(DISTINCT request_id)) FROM request_logs"); got != "3000 3000" {
		t.Errorf("rows and different ones: %s", got)
	}
	if got := query[int](t, address, "SELECT execution_count FROM meta.sessions"); got != all {
		t.Errorf("%d executes were counted", got)
	}
}

// TestReaderMissesNoRow: who reads on after the last row sees each once, however many write.
func TestReaderMissesNoRow(t *testing.T) {
	address := testrig.Postgres(t)
	stores := []interface {
		AppendRequestLogs(context.Context, string, int64, []faas.RequestLog) error
		Close() error
	}{open(t, address), open(t, address)}
	reader := open(t, address)
	defer reader.Close()
	const writers, rounds, rowsEach = 8, 10, 20
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for round := range rounds {
				rows := make([]faas.RequestLog, rowsEach)
				for i := range rows {
					rows[i] = faas.RequestLog{RequestID: fmt.Sprint(w, round, i), StartedAt: time.Now()}
				}
				if err := stores[w%2].AppendRequestLogs(t.Context(), fmt.Sprint(w), int64(round+1), rows); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var last int64
	seen := 0
	testrig.Eventually(t, "all rows", func() bool {
		rows, err := reader.LatestRequestLogs(t.Context(), faas.RequestLogQuery{After: last, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) > 0 {
			last = rows[0].ID
		}
		seen += len(rows)
		return last >= writers*rounds*rowsEach
	})
	writing.Wait()
	if seen != writers*rounds*rowsEach {
		t.Errorf("%d rows were seen, want %d", seen, writers*rounds*rowsEach)
	}
	for _, store := range stores {
		store.Close()
	}
}

// TestLogText: a line with what PostgreSQL refuses in a text does not hold up the log.
func TestLogText(t *testing.T) {
	store := open(t, testrig.Postgres(t))
	defer store.Close()
	odd := "a\x00b\xffc"
	rows := []faas.RequestLog{{RequestID: odd, Path: odd, ClientIP: odd, SessionID: faas.SessionID(odd), LanguageTitle: odd, UserID: odd, Method: odd, ErrorDetails: odd, Operation: faas.Execute, StatusCode: 200, StartedAt: time.Now()}}
	if err := store.AppendRequestLogs(t.Context(), "a", 1, rows); err != nil {
		t.Fatal(err)
	}
	got, err := store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{RequestID: odd, Limit: 1})
	if err != nil || len(got) != 1 || got[0].Path != "a\uFFFDb\uFFFDc" {
		t.Errorf("rows are %+v, %v", got, err)
	}
}

// TestSourceIsBytes: code may have a NUL in it.
func TestSourceIsBytes(t *testing.T) {
	store := open(t, testrig.Postgres(t))
	defer store.Close()
	session, script := newSession("return '\x00'")
	if err := store.CreateSession(t.Context(), session, &script); err != nil {
		t.Fatal(err)
	}
	if got, err := store.FindScript(t.Context(), script.Digest); err != nil || got.Source != script.Source {
		t.Errorf("the script is %q, %v", got.Source, err)
	}
	session, script = newSession("return 1")
	session.UserID = "\x00"
	if err := store.CreateSession(t.Context(), session, &script); faas.AsError(err).Code != faas.InvalidRequest {
		t.Errorf("a user's id with a NUL: %v, want %s", err, faas.InvalidRequest)
	}
}

// TestSweptScript: sessions of a script come and go at once, and no call is refused because
// the script went with the last of them.
func TestSweptScript(t *testing.T) {
	store := open(t, testrig.Postgres(t))
	defer store.Close()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				session, script := newSession("return 'shared'")
				if err := store.CreateSession(t.Context(), session, &script); err != nil {
					t.Error(err)
				}
				if err := store.DeleteSession(t.Context(), faas.Actor{}, session.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
