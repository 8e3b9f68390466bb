package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/postgres"
	"envoke/internal/testrig"
)

// TestViews: what dashboards read is computed from rows, by the names of sessions that are gone
// too, and each failed request counts once.
func TestViews(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	session, script := newSession("return 1")
	if err := store.CreateSession(t.Context(), session, &script); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	row := func(id string, status, ms int, at time.Time) faas.RequestLog {
		return faas.RequestLog{RequestID: id, SessionID: session.ID, Operation: faas.Execute, StatusCode: status, Duration: time.Duration(ms) * time.Millisecond, StartedAt: at}
	}
	rows := []faas.RequestLog{row("old", 500, 0, now.AddDate(0, 0, -8)), row("told", 500, 30, now), row("envoy's", 503, 0, now)}
	for i := range 98 {
		rows = append(rows, row(fmt.Sprint(i), 200, i+1, now))
	}
	rows[3].Cached, rows[4].UserID, rows[5].UserID = true, "ada", "ada"
	if err := store.AppendRequestLogs(t.Context(), "a", 1, rows); err != nil {
		t.Fatal(err)
	}
	if err := store.DeleteSession(t.Context(), faas.Actor{}, session.ID); err != nil {
		t.Fatal(err)
	}
	appendRecords(t, store, faas.Records{Failures: []faas.Failure{
		{RequestID: "told", LanguageTitle: "nodejs-t", Code: faas.RuntimeError, Message: "no", Component: faas.InFunction, At: now},
		{RequestID: "x", LanguageTitle: "nodejs-t", Code: faas.RuntimeError, Message: "no", Component: faas.InFunction, At: now.AddDate(0, 0, -8)},
	}})
	for statement, want := range map[string]string{
		"SELECT concat_ws(' ', language_title, calls, errors, cached, p50_duration_ms, p95_duration_ms, max_duration_ms) FROM analytics.function_performance":                   "nodejs-t 100 2 1 48.5 93.05 98",
		"SELECT string_agg(concat_ws(' ', error_code, language_title, error_message, errors, component), ', ' ORDER BY error_code) FROM analytics.error_summary":                "503 nodejs-t 1 envoy, RUNTIME_ERROR nodejs-t no 1 function",
		"SELECT concat_ws(' ', count(*), sum(requests), sum(errors), sum(cached), max(users), max(day) = '" + day.Format(time.DateOnly) + "') FROM analytics.daily_usage_stats": "2 101 3 1 1 t",
	} {
		if got := query[string](t, address, statement); got != want {
			t.Errorf("%s: %q, want %q", statement, got, want)
		}
	}
}

func appendRecords(t *testing.T, store *postgres.Store, r faas.Records) {
	t.Helper()
	if err := store.AppendRecords(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// TestSamples are rows, once each, for as long as they are kept.
func TestSamples(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	now := time.Now()
	for range 2 { // the answer to the first was lost
		appendRecords(t, store, faas.Records{
			Samples: []faas.Sample{
				{At: now, Language: faas.NodeJS, Host: "h", Metric: `envoke_pool_workers{state="idle"}`, Value: 1.5},
				{At: now.Add(-time.Hour), Language: faas.NodeJS, Host: "h", Metric: "m"},
			},
			Caches: []faas.CacheSample{
				{At: now, Cache: "results", Host: "c", Hits: 3, Misses: 1, Entries: 2, Bytes: 1000}, {At: now.Add(-time.Hour), Cache: "results", Host: "c"},
			},
		})
	}
	if n, err := store.SweepRecords(t.Context(), now.Add(-time.Minute), 10); n != 1 || err != nil {
		t.Errorf("%d rows were swept, %v", n, err)
	}
	for statement, want := range map[string]string{
		"SELECT string_agg(concat_ws(' ', language, host, metric, value), ', ') FROM analytics.runtime_metrics":           `nodejs h envoke_pool_workers{state="idle"} 1.5`,
		"SELECT string_agg(concat_ws(' ', cache, host, hits, misses, entries, bytes), ', ') FROM analytics.cache_metrics": "results c 3 1 2 1000",
	} {
		if got := query[string](t, address, statement); got != want {
			t.Errorf("%s: %q, want %q", statement, got, want)
		}
	}
}

// TestPayloadsWithoutRows are forgotten.
func TestPayloadsWithoutRows(t *testing.T) {
	address := testrig.Postgres(t)
	store := open(t, address)
	defer store.Close()
	appendRecords(t, store, faas.Records{Exchanges: []faas.Exchange{{RequestID: "a", StartedAt: time.Now()}, {RequestID: "b", StartedAt: time.Now()}}})
	run(t, address, "UPDATE public.pending_payloads SET received_at = now() - interval '61 minutes' WHERE request_id = 'a'")
	if _, err := store.JoinExchanges(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := query[string](t, address, "SELECT string_agg(request_id, ' ') FROM public.pending_payloads"); left != "b" {
		t.Errorf("left are %q", left)
	}
}
