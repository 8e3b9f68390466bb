package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"envoke/internal/faas"
)

const file = "access.log.1"

func executed(id faas.SessionID, status int, at time.Time) faas.RequestLog {
	return faas.RequestLog{RequestID: "r", Operation: faas.Execute, SessionID: id, StatusCode: status, StartedAt: at}
}

func wantOffset(t *testing.T, store Store, file string, want int64) {
	t.Helper()
	got, err := store.LogOffset(t.Context(), file)
	wantCode(t, "offset", err, "")
	equal(t, "offset of "+file, got, want)
}

// executes are how often a session was executed, and when last.
type executes struct {
	Count int64
	Last  time.Time
}

func wantExecutes(t *testing.T, store Store, id faas.SessionID, want executes) {
	t.Helper()
	session := mustFind(t, store, id)
	equal(t, "executes", executes{session.ExecutionCount, session.LastExecutedAt}, want)
}

func testRequestLogs(t *testing.T, open Open) {
	place := t.TempDir()
	store := open(t, place)
	full := faas.RequestLog{
		RequestID: "häß-日本語", Operation: faas.OneShot, SessionID: key.NewID(faas.NodeJS, true), LanguageTitle: "nodejs-f",
		Method: "POST", Path: "/api/v1/execute", StatusCode: 504, Duration: 1234567 * time.Microsecond, StartedAt: epoch,
		ClientIP: "::1", UserID: "ada", BytesIn: 1 << 40, BytesOut: 7, Cached: true, ErrorDetails: "response_timeout UT",
	}
	bare := faas.RequestLog{Operation: faas.OtherOperation, StartedAt: epoch}
	wantOffset(t, store, file, 0)
	wantCode(t, "append", store.AppendRequestLogs(t.Context(), file, 100, []faas.RequestLog{full, bare}), "")
	wantCode(t, "append none", store.AppendRequestLogs(t.Context(), "access.log.2", 7, nil), "")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, place)
	defer store.Close()
	got, err := store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 10})
	wantCode(t, "read", err, "")
	full.ID, bare.ID = 1, 2
	equal(t, "rows", got, []faas.RequestLog{bare, full})
	wantOffset(t, store, file, 100)
	wantOffset(t, store, "access.log.2", 7)

	wantCode(t, "forget", store.ForgetLogFile(t.Context(), file), "")
	wantCode(t, "forget again", store.ForgetLogFile(t.Context(), file), "")
	wantOffset(t, store, file, 0)
	wantOffset(t, store, "access.log.2", 7)
}

func testFindRequestLogs(t *testing.T, open Open) {
	store := fresh(t, open)
	session, script := newSession("t", "return 1")
	mustCreate(t, store, session, script)
	rows := []faas.RequestLog{
		{RequestID: "a", Operation: faas.OneShot, LanguageTitle: "nodejs-t", StatusCode: 200, StartedAt: epoch},
		{RequestID: "b", Operation: faas.Execute, SessionID: session.ID, StatusCode: 500, StartedAt: epoch},
		{RequestID: "c", Operation: faas.OneShot, LanguageTitle: "nodejs-other@2", StatusCode: 500, StartedAt: epoch},
		{RequestID: "d", Operation: faas.Health, StatusCode: 200, StartedAt: epoch},
	}
	wantCode(t, "append", store.AppendRequestLogs(t.Context(), file, 1, rows), "")
	for name, test := range map[string]struct {
		query faas.RequestLogQuery
		want  string
	}{
		"all":             {faas.RequestLogQuery{Limit: 10}, "dcba"},
		"the newest":      {faas.RequestLogQuery{Limit: 2}, "dc"},
		"a request":       {faas.RequestLogQuery{Limit: 10, RequestID: "c"}, "c"},
		"a session":       {faas.RequestLogQuery{Limit: 10, SessionID: session.ID}, "b"},
		"a name":          {faas.RequestLogQuery{Limit: 10, LanguageTitle: session.Name.String()}, "ba"},
		"a status":        {faas.RequestLogQuery{Limit: 10, StatusCode: 500}, "cb"},
		"two of these":    {faas.RequestLogQuery{Limit: 10, StatusCode: 500, LanguageTitle: "nodejs-other"}, "c"},
		"what is later":   {faas.RequestLogQuery{Limit: 10, After: 2}, "dc"},
		"what comes next": {faas.RequestLogQuery{Limit: 2, After: 1}, "cb"},
		"nothing":         {faas.RequestLogQuery{Limit: 10, RequestID: "x"}, ""},
	} {
		got, err := store.LatestRequestLogs(t.Context(), test.query)
		wantCode(t, name, err, "")
		var ids strings.Builder
		for _, row := range got {
			ids.WriteString(row.RequestID)
		}
		equal(t, name, ids.String(), test.want)
	}
}

func testRequestLogsAtomic(t *testing.T, open Open) {
	store := fresh(t, open)
	session, script := newSession("t", "return 1")
	mustCreate(t, store, session, script)
	var rows []faas.RequestLog
	for i, status := range []int{200, 500, 504, 507, 404, 429, 503, 400, 200} {
		rows = append(rows, executed(session.ID, status, epoch.Add(time.Duration(i)*time.Second)))
	}
	rows[8].Operation = faas.SessionRead
	rows = append(rows, executed(key.NewID(faas.NodeJS, true), 200, epoch), executed("", 200, epoch))
	wantCode(t, "append", store.AppendRequestLogs(t.Context(), file, 10, rows), "")
	wantExecutes(t, store, session.ID, executes{4, epoch.Add(3 * time.Second)})

	// An older request that is logged later does not turn the clock back.
	wantCode(t, "append", store.AppendRequestLogs(t.Context(), file, 20, []faas.RequestLog{executed(session.ID, 200, epoch)}), "")
	wantExecutes(t, store, session.ID, executes{5, epoch.Add(3 * time.Second)})

	// An append that fails leaves nothing behind: neither rows, nor counts, nor the offset.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.AppendRequestLogs(ctx, file, 30, rows); err == nil {
		t.Error("an append with a cancelled context succeeded")
	}
	wantExecutes(t, store, session.ID, executes{5, epoch.Add(3 * time.Second)})
	wantOffset(t, store, file, 20)
	got, err := store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 100})
	wantCode(t, "read", err, "")
	equal(t, "rows", len(got), len(rows)+1)
}

func testCountRequests(t *testing.T, open Open) {
	store := fresh(t, open)
	session, script := newSession("t", "return 1")
	mustCreate(t, store, session, script)
	wantCode(t, "count", store.CountRequests(t.Context(), file, 10, []faas.RequestLog{executed(session.ID, 200, epoch)}), "")
	wantExecutes(t, store, session.ID, executes{1, epoch})
	wantOffset(t, store, file, 10)
	got, err := store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 10})
	wantCode(t, "read", err, "")
	equal(t, "rows", got, []faas.RequestLog(nil))
}

func testSweepRequestLogs(t *testing.T, open Open) {
	store := fresh(t, open)
	var rows []faas.RequestLog
	for i := range 10 {
		rows = append(rows, faas.RequestLog{RequestID: fmt.Sprint(i), StartedAt: epoch.Add(time.Duration(i) * time.Hour)})
	}
	wantCode(t, "append", store.AppendRequestLogs(t.Context(), file, 1, rows), "")
	for _, want := range []int{4, 2, 0} {
		got, err := store.SweepRequestLogs(t.Context(), epoch.Add(6*time.Hour), 4)
		wantCode(t, "sweep", err, "")
		equal(t, "swept", got, want)
	}
	left, err := store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 100})
	wantCode(t, "read", err, "")
	equal(t, "rows left", len(left), 4)
	equal(t, "the oldest left", left[len(left)-1].RequestID, "6")
}

// testConcurrency: nothing is lost when many write at once, through two openers.
func testConcurrency(t *testing.T, open Open) {
	place := t.TempDir()
	stores := []Store{open(t, place), open(t, place)}
	session, script := newSession("t", "return 1")
	mustCreate(t, stores[0], session, script)
	const writers, rounds, rowsEach = 16, 5, 60
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			store := stores[w%len(stores)]
			rows := make([]faas.RequestLog, rowsEach)
			for i := range rows {
				rows[i] = executed(session.ID, 200, epoch)
			}
			for round := range rounds {
				own, script := newSession("t", fmt.Sprint("return ", round)) // shared with the other writers
				wantCode(t, "create", store.CreateSession(t.Context(), own, script), "")
				wantCode(t, "append", store.AppendRequestLogs(t.Context(), fmt.Sprint(w), int64(round+1), rows), "")
				_, err := store.FindSession(t.Context(), own.ID)
				wantCode(t, "find", err, "")
				if round%2 == 0 {
					wantCode(t, "delete", store.DeleteSession(t.Context(), faas.Actor{}, own.ID), "")
				}
			}
		})
	}
	work.Wait()
	wantExecutes(t, stores[0], session.ID, executes{writers * rounds * rowsEach, epoch})
	for w := range writers {
		wantOffset(t, stores[1], fmt.Sprint(w), rounds)
	}
	_, total, err := stores[1].ListFunctions(t.Context(), faas.FunctionQuery{Type: faas.Dynamic, Page: 1, PerPage: 1})
	wantCode(t, "list", err, "")
	equal(t, "sessions left", total, 1+writers*(rounds/2))
	for _, store := range stores {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// testCancelled: a caller that gave up is told so, and the next one is served.
func testCancelled(t *testing.T, open Open) {
	store := fresh(t, open)
	session, script := newSession("t", "return 1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.CreateSession(ctx, session, script); err == nil {
		t.Error("create with a cancelled context succeeded")
	}
	expired, cancel := context.WithDeadline(t.Context(), epoch)
	defer cancel()
	_, err := store.FindSession(expired, session.ID)
	wantCode(t, "find past the deadline", err, faas.Unavailable)
	mustCreate(t, store, session, script)
	mustFind(t, store, session.ID)
}
