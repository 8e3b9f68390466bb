package sqlite_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/sqlite"
)

// BenchmarkAppendRequestLogs appends batches as the tail of Envoy's log does: all
// rows are executes of existing sessions.
func BenchmarkAppendRequestLogs(b *testing.B) {
	for _, sessions := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("sessions=", sessions), func(b *testing.B) {
			store := open(b, filepath.Join(b.TempDir(), "envoke.db"))
			defer store.Close()
			const batch = 1000
			rows := make([]faas.RequestLog, batch)
			ids := make([]faas.SessionID, sessions)
			for i := range ids {
				session, script := newSession(fmt.Sprint(i))
				ids[i] = session.ID
				if err := store.CreateSession(b.Context(), session, &script); err != nil {
					b.Fatal(err)
				}
			}
			for i := range rows {
				id := ids[i%sessions]
				rows[i] = faas.RequestLog{
					RequestID: "0a1b2c3d-0000-4000-8000-000000000000", Operation: faas.Execute, SessionID: id,
					Method: "POST", Path: "/api/v1/execute/" + string(id), StatusCode: 200, StartedAt: time.Now(),
					Duration: time.Millisecond, ClientIP: "127.0.0.1", BytesIn: 30, BytesOut: 180,
				}
			}
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				if err := store.AppendRequestLogs(b.Context(), "access.log.1", int64(n), rows); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkCreateSession(b *testing.B) {
	store := open(b, filepath.Join(b.TempDir(), "envoke.db"))
	defer store.Close()
	for i := range b.N {
		session, script := newSession(fmt.Sprint("return ", i))
		if err := store.CreateSession(b.Context(), session, &script); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFindSession(b *testing.B) {
	store := open(b, filepath.Join(b.TempDir(), "envoke.db"))
	defer store.Close()
	session, script := newSession("return 1")
	if err := store.CreateSession(b.Context(), session, &script); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := store.FindSession(b.Context(), session.ID); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkListFunctions lists among 100,000 live sessions.
func BenchmarkListFunctions(b *testing.B) {
	store := open(b, filepath.Join(b.TempDir(), "envoke.db"))
	defer store.Close()
	for range 100_000 {
		session, script := newSession("return 1")
		if err := store.CreateSession(b.Context(), session, &script); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, _, err := store.ListFunctions(b.Context(), faas.FunctionQuery{Page: 1, PerPage: 20}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkListManyFunctions lists among 10,000 functions.
func BenchmarkListManyFunctions(b *testing.B) {
	store := open(b, filepath.Join(b.TempDir(), "envoke.db"))
	defer store.Close()
	putFunctions(b, store, 10_000)
	for name, query := range map[string]faas.FunctionQuery{
		"all":       {},
		"language":  {Language: faas.Python},
		"user":      {UserID: "user-7"},
		"tag":       {Tag: "tag-7"},
		"last page": {Page: 500},
	} {
		query.Page, query.PerPage = max(query.Page, 1), 20
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := store.ListFunctions(b.Context(), query); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// putFunctions registers functions of ten users with ten tags, half of them of
// each of two languages.
func putFunctions(t testing.TB, store *sqlite.Store, count int) {
	t.Helper()
	for i := range count {
		language := faas.Languages()[i%2]
		f := faas.Function{
			Name: faas.Name{Language: language, Title: fmt.Sprint("f", i)}, Description: strings.Repeat("described ", 20),
			Script: faas.NewScript(language, "return 1", nil), UserID: fmt.Sprint("user-", i%10), Tags: []string{fmt.Sprint("tag-", i%10)},
		}
		if _, err := store.CreateFunction(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkLatestRequestLogs searches as many rows as a search looks at, none of which is
// wanted.
func BenchmarkLatestRequestLogs(b *testing.B) {
	store := open(b, filepath.Join(b.TempDir(), "envoke.db"))
	defer store.Close()
	const searched = 100_000
	rows := make([]faas.RequestLog, searched)
	for i := range rows {
		rows[i] = faas.RequestLog{
			RequestID: "0a1b2c3d-0000-4000-8000-000000000000", Operation: faas.Execute, SessionID: "4e73f652-e98c-8113-b617-390575f543e0",
			Method: "POST", Path: "/api/v1/execute/4e73f652-e98c-8113-b617-390575f543e0", StatusCode: 200, StartedAt: time.Now(),
		}
	}
	if err := store.AppendRequestLogs(b.Context(), "access.log.1", 1, rows); err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]faas.RequestLogQuery{
		"latest": {}, "id": {RequestID: "x"}, "status": {StatusCode: 500}, "name": {LanguageTitle: "nodejs-f"},
	} {
		q.Limit = 20
		b.Run(name, func(b *testing.B) {
			for range b.N {
				if _, err := store.LatestRequestLogs(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
