package main

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	_ "modernc.org/sqlite"             // the driver

	"envoke/internal/testrig"
)

// TestRecordsOfRequests: why requests failed is a row each, whoever knew it, and what they held
// is in their rows, where an operator wants it, without their secrets.
func TestRecordsOfRequests(t *testing.T) {
	dir := t.TempDir()
	for name, open := range map[string]func(*testing.T) (setting, driver, source string){
		"sqlite": func(*testing.T) (string, string, string) {
			file := filepath.Join(dir, "envoke.db")
			return "sqlite:" + file, "sqlite", file
		},
		"postgres": func(t *testing.T) (string, string, string) {
			address := testrig.Postgres(t)
			return address, "pgx", address
		},
	} {
		t.Run(name, func(t *testing.T) {
			setting, driver, source := open(t)
			i := serve(t, "--database-url", setting, "--log-payloads", "--log-mask-keys", "pin")
			db, err := sql.Open(driver, source)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			testRecords(t, i, db)
		})
	}
}

func testRecords(t *testing.T, i *installation, db *sql.DB) {
	id := i.initialize(t, "if (event.params.fail) throw new TypeError('no'); return { pin: 1, ok: true }")
	send := func(requestID, path, params string) {
		t.Helper()
		i.send(t, http.MethodPost, path, `{"params":`+params+`}`, "X-Request-ID", requestID, "Authorization", "Bearer s3cr3t", "Language-Title", "nodejs-test")
	}
	send("of-function", "/api/v1/execute/"+id, `{"fail":true,"deep":[{"PIN":1234}]}`)
	send("of-host", "/api/v1/execute/"+id+"x", `{}`)
	send("of-nobody", "/api/v1/initialize", `{}`)
	send("well", "/api/v1/execute/"+id, `{"password":"hidden"}`)
	i.send(t, http.MethodGet, "/api/v1/functions/nodejs-nobody", "", "X-Request-ID", "of-control").isError(t, http.StatusNotFound, "NOT_FOUND", "control")

	for requestID, want := range map[string]string{
		"of-function": "RUNTIME_ERROR no nodejs-test nodejs function",
		"of-control":  "NOT_FOUND",
		"of-nobody":   "NOT_FOUND",
	} {
		eventually(t, db, "SELECT error_code || ' ' || error_message || ' ' || coalesce(language_title, '') || ' ' || coalesce(language, '') || ' ' || component FROM error_logs WHERE request_id = '"+requestID+"'", want)
	}
	eventually(t, db, "SELECT stack_trace FROM error_logs WHERE request_id = 'of-function'", "TypeError: no")
	eventually(t, db, "SELECT CAST(context AS TEXT) FROM error_logs WHERE request_id = 'of-function'", `"line"`)
	eventually(t, db, "SELECT session_id FROM error_logs WHERE request_id = 'of-function'", id)
	for requestID, want := range map[string][]string{
		"well":        {`{"password":"***"}`, `{"pin":"***","ok":true}`, "memory_usage_bytes", `"***"`},
		"of-function": {`{"fail":true,"deep":[{"PIN":"***"}]}`, `RUNTIME_ERROR`, "execution_time_ms", `"***"`},
	} {
		for n, column := range []string{"request_payload", "response_payload", "CAST(runtime_metrics AS TEXT)", "CAST(request_headers AS TEXT)"} {
			eventually(t, db, "SELECT "+column+" FROM request_logs WHERE request_id = '"+requestID+"'", want[n])
		}
	}
	logs := i.logs(t, "request_id=well")
	if !strings.Contains(logs, `"request_payload":"{\"password\":\"***\"}"`) || strings.Contains(logs, "s3cr3t") || strings.Contains(logs, "hidden") {
		t.Errorf("/logs shows %s", logs)
	}
}

// eventually waits until a question's only answer has the wanted text in it.
func eventually(t *testing.T, db *sql.DB, question, want string) {
	t.Helper()
	var answer sql.NullString
	testrig.Eventually(t, question+" to say "+want, func() bool {
		return db.QueryRowContext(t.Context(), question).Scan(&answer) == nil && strings.Contains(answer.String, want)
	})
}

// logs is what operators are shown of requests.
func (i *installation) logs(t *testing.T, query string) string {
	t.Helper()
	r, err := send(http.MethodGet, i.operators+"/logs?"+query, "")
	if err != nil {
		t.Fatal(err)
	}
	return string(r.body)
}

// TestAccessLogByStream: rows and counts are the same where Envoy sends its log.
func TestAccessLogByStream(t *testing.T) {
	i := serve(t, "--access-log", "stream")
	id := i.initialize(t, "return 1")
	i.execute(t, id, "{}").result(t)
	testrig.Eventually(t, "the execute to be counted", func() bool {
		return strings.Contains(string(i.send(t, http.MethodGet, "/api/v1/sessions/"+id, "").body), `"execution_count":1`)
	})
	if logs := i.logs(t, "session="+id); !strings.Contains(logs, `"operation":"execute"`) || !strings.Contains(logs, `"language_title":"nodejs-test"`) {
		t.Errorf("rows of the session are %s", logs)
	}
}
