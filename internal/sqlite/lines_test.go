package sqlite_test

import (
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"envoke/internal/faas"
	"envoke/migrations"
)

// Rows that were stored as fifteen columns are there as lines, and back.
func TestMigrationKeepsRequestLogs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoke.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	files, err := fs.Sub(migrations.FS, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	const columns = "id, request_id, operation, session_id, language_title, method, path, status_code, duration_us, started_at, client_ip, user_id, bytes_in, bytes_out, cached, error_details"
	_, err = db.ExecContext(t.Context(), "INSERT INTO request_logs ("+columns+`) VALUES
		(7, 'r"é', 'execute', 's', 'nodejs-f', 'POST', '/p?a=\', 200, 1234567, 1700000000000001, '::1', 'ada', 1099511627776, 7, 1, 'x'),
		(9, 'r', 'other', NULL, NULL, 'GET', '/', 404, 1, 2, NULL, NULL, 0, 0, 0, NULL)`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`7 | r"é | execute | s | nodejs-f | POST | /p?a=\ | 200 | 1234567 | 1700000000000001 | ::1 | ada | 1099511627776 | 7 | 1 | x`,
		"9 | r | other | – | – | GET | / | 404 | 1 | 2 | – | – | 0 | 0 | 0 | –",
	}
	check := func(when string) {
		t.Helper()
		var got []string
		rows, err := db.QueryContext(t.Context(), `SELECT concat_ws(' | ', id, request_id, operation, coalesce(session_id, '–'), coalesce(language_title, '–'), method,
			path, status_code, duration_us, started_at, coalesce(client_ip, '–'), coalesce(user_id, '–'), bytes_in, bytes_out, cached, coalesce(error_details, '–'))
			FROM request_logs ORDER BY id`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var row string
			if err := rows.Scan(&row); err != nil {
				t.Fatal(err)
			}
			got = append(got, row)
		}
		if diff := cmp.Diff(want, got); diff != "" || rows.Err() != nil {
			t.Errorf("%s (-want +got), %v\n%s", when, rows.Err(), diff)
		}
	}
	check("as columns")
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("as lines")
	store := open(t, path)
	logs, err := store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 10})
	if err != nil || len(logs) != 2 || logs[1].RequestID != `r"é` || !logs[1].Cached || logs[0].Cached || logs[0].SessionID != "" {
		t.Errorf("the store has %+v, %v", logs, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := provider.DownTo(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	check("as columns again")
}
