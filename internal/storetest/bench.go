package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"envoke/internal/faas"
)

// Bench measures what a store's users do most. Figures of two stores are only comparable from
// one run.
func Bench(b *testing.B, open Open) {
	for _, sessions := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("AppendRequestLogs/sessions=", sessions), func(b *testing.B) { benchAppend(b, open, sessions) })
	}
	b.Run("CreateSession", func(b *testing.B) { benchCreate(b, open) })
	b.Run("FindSession", func(b *testing.B) { benchFind(b, open) })
	b.Run("ListSessions", func(b *testing.B) { benchListSessions(b, open) })
	b.Run("ListFunctions", func(b *testing.B) { benchListFunctions(b, open) })
	b.Run("LatestRequestLogs", func(b *testing.B) { benchLatest(b, open) })
}

// benchAppend appends batches as the tail of Envoy's log does: all rows are executes of
// existing sessions.
func benchAppend(b *testing.B, open Open, sessions int) {
	store := fresh(b, open)
	const batch = 1000
	ids := make([]faas.SessionID, sessions)
	for i := range ids {
		session, script := newSession("t", "return 1")
		ids[i] = session.ID
		mustCreate(b, store, session, script)
	}
	rows := make([]faas.RequestLog, batch)
	for i := range rows {
		rows[i] = typical(ids[i%sessions])
	}
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		if err := store.AppendRequestLogs(b.Context(), file, int64(n), rows); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// typical is the row of an execute.
func typical(id faas.SessionID) faas.RequestLog {
	return faas.RequestLog{
		RequestID: "0a1b2c3d-0000-4000-8000-000000000000", Operation: faas.Execute, SessionID: id,
		Method: "POST", Path: "/api/v1/execute/" + string(id), StatusCode: 200, StartedAt: time.Now(),
		Duration: time.Millisecond, ClientIP: "127.0.0.1", BytesIn: 30, BytesOut: 180,
	}
}

func benchCreate(b *testing.B, open Open) {
	store := fresh(b, open)
	for i := range b.N {
		session, script := newSession("t", fmt.Sprint("return ", i))
		mustCreate(b, store, session, script)
	}
}

func benchFind(b *testing.B, open Open) {
	store := fresh(b, open)
	session, script := newSession("t", "return 1")
	mustCreate(b, store, session, script)
	for b.Loop() {
		mustFind(b, store, session.ID)
	}
}

// benchListSessions lists among many live sessions.
func benchListSessions(b *testing.B, open Open) {
	store := fresh(b, open)
	for range 20_000 {
		session, script := newSession("t", "return 1")
		mustCreate(b, store, session, script)
	}
	for b.Loop() {
		if _, _, err := store.ListFunctions(b.Context(), faas.FunctionQuery{Page: 1, PerPage: 20}); err != nil {
			b.Fatal(err)
		}
	}
}

// benchListFunctions lists among 10,000 functions of ten users with ten tags, half of them of
// each of two languages.
func benchListFunctions(b *testing.B, open Open) {
	store := fresh(b, open)
	for i := range 10_000 {
		language := faas.Languages()[i%2]
		f := faas.Function{
			Name: faas.Name{Language: language, Title: fmt.Sprint("f", i)}, Description: strings.Repeat("described ", 20),
			Script: faas.NewScript(language, "return 1", nil), UserID: fmt.Sprint("user-", i%10), Tags: []string{fmt.Sprint("tag-", i%10)},
		}
		if _, err := store.CreateFunction(b.Context(), faas.Actor{}, f); err != nil {
			b.Fatal(err)
		}
	}
	for name, query := range map[string]faas.FunctionQuery{
		"all": {}, "language": {Language: faas.Python}, "user": {UserID: "user-7"}, "tag": {Tag: "tag-7"}, "last page": {Page: 500},
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

// benchLatest searches as many rows as a search looks at, none of which is wanted.
func benchLatest(b *testing.B, open Open) {
	store := fresh(b, open)
	rows := make([]faas.RequestLog, 100_000)
	for i := range rows {
		rows[i] = typical("4e73f652-e98c-8113-b617-390575f543e0")
	}
	if err := store.AppendRequestLogs(b.Context(), file, 1, rows); err != nil {
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
