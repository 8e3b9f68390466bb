package sqlite_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"envoke/internal/faas"
)

// TestViews: what dashboards read is computed from rows, and each failed request counts once.
func TestViews(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoke.db")
	store := open(t, path)
	defer store.Close()
	session, script := newSession("return 1")
	if err := store.CreateSession(t.Context(), session, &script); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
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
	records := faas.Records{
		Failures: []faas.Failure{
			{RequestID: "told", LanguageTitle: "nodejs-t", Code: faas.RuntimeError, Message: "no", Component: faas.InFunction, At: now},
			{RequestID: "x", LanguageTitle: "nodejs-t", Code: faas.RuntimeError, Message: "no", Component: faas.InFunction, At: now.AddDate(0, 0, -8)},
		},
		Samples: []faas.Sample{
			{At: now, Language: faas.NodeJS, Host: "h", Metric: "m", Value: 1.5}, {At: now.AddDate(0, 0, -8), Language: faas.NodeJS, Host: "h", Metric: "m"},
		},
		Caches: []faas.CacheSample{{At: now, Cache: "results", Host: "c", Hits: 3, Misses: 1, Entries: 2, Bytes: 1000}, {At: now.AddDate(0, 0, -8), Cache: "results"}},
	}
	for range 2 { // the answer to the first was lost
		if err := store.AppendRecords(t.Context(), records); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		"SELECT concat_ws(' ', language_title, calls, errors, cached, p50_duration_ms, p95_duration_ms, max_duration_ms) FROM analytics_function_performance":                      "nodejs-t 100 2 1 48.0 93.0 98.0",
		"SELECT group_concat(concat_ws(' ', error_code, language_title, error_message, errors, component), ', ') FROM (SELECT * FROM analytics_error_summary ORDER BY error_code)": "503 nodejs-t 1 envoy, RUNTIME_ERROR nodejs-t no 1 function",
		"SELECT concat_ws(' ', count(*), sum(requests), sum(errors), sum(cached), max(users), max(day)) FROM analytics_daily_usage_stats":                                          "2 101 3 1 1 " + now.UTC().Format(time.DateOnly),
		"SELECT group_concat(concat_ws(' ', language, host, metric, value), ', ') FROM (SELECT * FROM analytics_runtime_metrics ORDER BY timestamp)":                               "nodejs h m 0.0, nodejs h m 1.5",
		"SELECT group_concat(concat_ws(' ', cache, host, hits, misses, entries, bytes), ', ') FROM (SELECT * FROM analytics_cache_metrics WHERE host <> '')":                       "results c 3 1 2 1000",
	}
	wantAnswers(t, path, want)
	if n, err := store.SweepRecords(t.Context(), now.AddDate(0, 0, -7), 10); n != 1 || err != nil {
		t.Errorf("%d rows of a kind were swept, %v", n, err)
	}
	wantAnswers(t, path, map[string]string{
		"SELECT concat_ws(' ', (SELECT count(*) FROM analytics_runtime_metrics), (SELECT count(*) FROM analytics_cache_metrics), (SELECT count(*) FROM error_logs))": "1 1 1",
	})
}

func wantAnswers(t *testing.T, path string, want map[string]string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for question, answer := range want {
		var got string
		if err := db.QueryRowContext(t.Context(), question).Scan(&got); err != nil || got != answer {
			t.Errorf("%s: %q (%v), want %q", question, got, err, answer)
		}
	}
}
