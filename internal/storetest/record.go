package storetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"envoke/internal/faas"
)

func mustAppendRecords(t *testing.T, store Store, r faas.Records) {
	t.Helper()
	if err := store.AppendRecords(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func wantFailures(t *testing.T, store Store, ids []string, want ...faas.Failure) {
	t.Helper()
	got, err := store.FindFailures(t.Context(), ids)
	wantCode(t, "find failures", err, "")
	equal(t, "failures of "+strings.Join(ids, ", "), got, want)
}

func wantExchanges(t *testing.T, store Store, id string, want ...faas.Exchange) {
	t.Helper()
	got, err := store.FindExchanges(t.Context(), id)
	wantCode(t, "find exchanges", err, "")
	equal(t, "exchanges of "+id, got, want)
}

// testFailures: what was told twice, since an answer was lost, is there once.
func testFailures(t *testing.T, open Open) {
	place := t.TempDir()
	store := open(t, place)
	full := faas.Failure{
		RequestID: "häß", SessionID: key.NewID(faas.NodeJS, true), LanguageTitle: "nodejs-f@2", Language: faas.NodeJS, Component: faas.InFunction,
		Code: faas.RuntimeError, Message: "it threw", StackTrace: "at f (1:2)\n", Details: json.RawMessage(`{"line": 1}`), At: epoch,
	}
	bare := faas.Failure{RequestID: "b", Component: faas.InControl, Code: faas.NotFound, At: epoch}
	later := faas.Failure{RequestID: "b", Component: faas.InControl, Code: faas.NotFound, At: epoch.Add(time.Second)}
	mustAppendRecords(t, store, faas.Records{Failures: []faas.Failure{full, later}})
	mustAppendRecords(t, store, faas.Records{Failures: []faas.Failure{bare, full}})
	mustAppendRecords(t, store, faas.Records{})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, place)
	defer store.Close()
	wantFailures(t, store, []string{full.RequestID}, full)
	wantFailures(t, store, []string{"x", "b"}, bare, later)
	wantFailures(t, store, nil)
}

// testExchanges: a payload is a part of its row, whichever comes first. Of requests that have
// the same id each has its own.
func testExchanges(t *testing.T, open Open) {
	store := fresh(t, open)
	exchange := func(id string, second int) faas.Exchange {
		return faas.Exchange{
			RequestID: id, StartedAt: epoch.Add(time.Duration(second) * time.Second), Headers: json.RawMessage(`{"a": "b"}`),
			Request: fmt.Sprintf(`{"n":%d}`, second), Response: "1", Metrics: json.RawMessage(`{"memory_usage_bytes": 7}`),
		}
	}
	row := func(e faas.Exchange) faas.RequestLog {
		return faas.RequestLog{RequestID: e.RequestID, StartedAt: e.StartedAt, StatusCode: 200}
	}
	first, second, late := exchange("a", 0), exchange("a", 1), exchange("late", 2)
	orphan := exchange("orphan", 3)
	bare := faas.Exchange{RequestID: "bare", StartedAt: epoch, Request: "null"}
	mustAppendRecords(t, store, faas.Records{Exchanges: []faas.Exchange{second, first, orphan, bare}})
	mustAppendRecords(t, store, faas.Records{Exchanges: []faas.Exchange{first}}) // told twice
	rows := []faas.RequestLog{row(first), row(second), row(late), row(bare), {RequestID: "without", StartedAt: epoch}}
	wantCode(t, "append", store.AppendRequestLogs(t.Context(), file, 10, rows), "")
	mustAppendRecords(t, store, faas.Records{Exchanges: []faas.Exchange{late}})
	for range 2 {
		_, err := store.JoinExchanges(t.Context())
		wantCode(t, "join", err, "")
	}
	wantExchanges(t, store, "a", first, second)
	wantExchanges(t, store, "late", late)
	wantExchanges(t, store, "bare", bare)
	wantExchanges(t, store, "orphan") // it waits for its row
	wantExchanges(t, store, "without")
	wantCode(t, "append", store.AppendRequestLogs(t.Context(), file, 20, []faas.RequestLog{row(orphan)}), "")
	wantExchanges(t, store, "orphan", orphan)
	got, err := store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 10})
	wantCode(t, "read", err, "")
	equal(t, "rows", len(got), len(rows)+1)
}

// testRecordText: what callers sent holds up nothing.
func testRecordText(t *testing.T, open Open) {
	store := fresh(t, open)
	odd := "a\x00b\xffc"
	mustAppendRecords(t, store, faas.Records{
		Failures: []faas.Failure{{
			RequestID: odd, SessionID: faas.SessionID(odd), LanguageTitle: odd, Message: odd, StackTrace: odd, Details: json.RawMessage(`{"a":"\u0000"}`), At: epoch,
		}},
		Exchanges: []faas.Exchange{{
			RequestID: odd, Headers: json.RawMessage(`{"a":"\u0000"}`), Request: odd, Response: odd, Metrics: json.RawMessage(`{}`), StartedAt: epoch,
		}},
	})
	wantCode(t, "append", store.AppendRequestLogs(t.Context(), file, 10, []faas.RequestLog{{RequestID: odd, StartedAt: epoch}}), "")
	rows, err := store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 1})
	wantCode(t, "read", err, "")
	got, err := store.FindExchanges(t.Context(), rows[0].RequestID)
	wantCode(t, "find", err, "")
	equal(t, "exchanges", len(got), 1)
}

func testSweepRecords(t *testing.T, open Open) {
	store := fresh(t, open)
	for i := range 10 {
		at, id := epoch.Add(time.Duration(i)*time.Hour), fmt.Sprint(i)
		mustAppendRecords(t, store, faas.Records{Failures: []faas.Failure{{RequestID: id, At: at}}})
	}
	for _, want := range []int{4, 2, 0} {
		got, err := store.SweepRecords(t.Context(), epoch.Add(6*time.Hour), 4)
		wantCode(t, "sweep", err, "")
		equal(t, "swept", got, want)
	}
	wantFailures(t, store, []string{"6"}, faas.Failure{RequestID: "6", At: epoch.Add(6 * time.Hour)})
	wantFailures(t, store, []string{"5"})
	for _, name := range []string{"stream.x", file} {
		wantCode(t, "append", store.AppendRequestLogs(t.Context(), name, 7, nil), "")
	}
	for _, before := range []time.Duration{-time.Hour, time.Hour} {
		_, err := store.SweepRecords(t.Context(), time.Now().Add(before), 4)
		wantCode(t, "sweep", err, "")
		wantOffset(t, store, file, 7) // Envoy may write it still
		want := int64(7)
		if before > 0 {
			want = 0
		}
		wantOffset(t, store, "stream.x", want)
	}
}
