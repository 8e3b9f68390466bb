package logs

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"envoke/internal/faas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask asks a handler over the given rows, newest first, and returns its answer.
func ask(t *testing.T, output *Output, query string, find func(faas.RequestLogQuery) ([]faas.RequestLog, error)) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	Handler(Options{
		Find:      func(_ context.Context, q faas.RequestLogQuery) ([]faas.RequestLog, error) { return find(q) },
		Failures:  func(context.Context, []string) ([]faas.Failure, error) { return storedFailures, nil },
		Exchanges: func(context.Context, string) ([]faas.Exchange, error) { return storedExchanges, nil },
		Output:    output, Logger: slog.New(slog.DiscardHandler),
	}).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/logs?"+query, nil))
	return answer
}

// What the store of ask has.
var (
	began          = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	storedFailures = []faas.Failure{
		{RequestID: "twice", Code: faas.NotFound, Message: "before", At: began.Add(-time.Second)},
		{RequestID: "twice", Code: faas.Timeout, Message: "too late", Component: faas.InFunction, At: began.Add(time.Millisecond)},
	}
	storedExchanges = []faas.Exchange{{RequestID: "twice", StartedAt: began, Request: "{}", Response: "1"}}
)

// TestWhatIsStoredIsShown where this process knows nothing: of a request whose id was used
// before, its own failure, and only where its id is asked for what it held.
func TestWhatIsStoredIsShown(t *testing.T) {
	for _, query := range []string{"request_id=twice", ""} {
		answer := ask(t, &Output{}, query, func(faas.RequestLogQuery) ([]faas.RequestLog, error) {
			return []faas.RequestLog{{ID: 1, RequestID: "twice", StatusCode: 504, StartedAt: began}}, nil
		})
		got := answer.Body.String()
		if !strings.Contains(got, `"error":{"code":"TIMEOUT","message":"too late","component":"function"}`) {
			t.Errorf("%q: %s does not say why", query, got)
		}
		if shown := strings.Contains(got, `"exchange":{"request_payload":"{}","response_payload":"1"}`); shown != (query != "") {
			t.Errorf("%q: what it held is shown: %v", query, shown)
		}
	}
}

func TestEntriesAreOldestFirstWithTheirOutput(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var output Output
	output.Add(Line{RequestID: "a", Time: now, Level: "INFO", Text: "one"})
	output.Add(Line{RequestID: "b", Time: now, Level: "INFO", Text: "another's"})
	output.Add(Line{RequestID: "a", Time: now, Level: "ERROR", Text: "two"})
	answer := ask(t, &output, "", func(faas.RequestLogQuery) ([]faas.RequestLog, error) {
		return []faas.RequestLog{
			{ID: 2, RequestID: "c", Operation: faas.Health, Method: "GET", Path: "/health", StatusCode: 200, StartedAt: now},
			{ID: 1, RequestID: "a", Operation: faas.Execute, SessionID: "s", StatusCode: 500, Duration: 1500 * time.Microsecond, StartedAt: now},
		}, nil
	})
	want := `{"id":1,"time":"2026-01-02T03:04:05Z","request_id":"a","operation":"execute","session_id":"s","method":"","path":"","status_code":500,"duration_ms":1.5,"bytes_in":0,"bytes_out":0,"cached":false,"output":[{"time":"2026-01-02T03:04:05Z","level":"INFO","text":"one"},{"time":"2026-01-02T03:04:05Z","level":"ERROR","text":"two"}]}
{"id":2,"time":"2026-01-02T03:04:05Z","request_id":"c","operation":"health","method":"GET","path":"/health","status_code":200,"duration_ms":0,"bytes_in":0,"bytes_out":0,"cached":false}
`
	if diff := cmp.Diff(want, answer.Body.String()); diff != "" {
		t.Error(diff)
	}
}

func TestQueries(t *testing.T) {
	for name, test := range map[string]struct {
		query string
		want  faas.RequestLogQuery
		fault string // in the answer; empty: none
	}{
		"none": {"", faas.RequestLogQuery{Limit: 50}, ""},
		"all": {
			"name=nodejs-a&session=s&request_id=r&status=404&after=7&limit=1000",
			faas.RequestLogQuery{RequestID: "r", SessionID: "s", LanguageTitle: "nodejs-a", StatusCode: 404, After: 7, Limit: 1000},
			"",
		},
		"no limit":             {"limit=0", faas.RequestLogQuery{}, "from 1 to 1000"},
		"too many":             {"limit=1001", faas.RequestLogQuery{}, "from 1 to 1000"},
		"a word for a number":  {"status=ok", faas.RequestLogQuery{}, "status"},
		"a negative id":        {"after=-1", faas.RequestLogQuery{}, "after"},
		"an unknown parameter": {"colour=x", faas.RequestLogQuery{}, "colour"},
		"bad escapes":          {"name=%zz", faas.RequestLogQuery{}, "not well formed"},
	} {
		t.Run(name, func(t *testing.T) {
			var got faas.RequestLogQuery
			answer := ask(t, &Output{}, test.query, func(q faas.RequestLogQuery) ([]faas.RequestLog, error) {
				got = q
				return nil, nil
			})
			if test.fault != "" {
				if answer.Code != http.StatusBadRequest || !strings.Contains(answer.Body.String(), test.fault) {
					t.Errorf("%d %q, want a 400 that says %q", answer.Code, answer.Body, test.fault)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || answer.Code != http.StatusOK {
				t.Errorf("%d %s%s", answer.Code, answer.Body, diff)
			}
		})
	}
}

func TestAStoreThatFailsKeepsItsReasonToItself(t *testing.T) {
	answer := ask(t, &Output{}, "", func(faas.RequestLogQuery) ([]faas.RequestLog, error) {
		return nil, errors.New("a secret path")
	})
	if answer.Code != http.StatusServiceUnavailable || strings.Contains(answer.Body.String(), "secret") {
		t.Errorf("%d %q", answer.Code, answer.Body)
	}
}

func TestOutputIsBounded(t *testing.T) {
	for name, size := range map[string]int{"lines": 1, "bytes": 8 << 10} {
		t.Run(name, func(t *testing.T) {
			var output Output
			text := strings.Repeat("x", size)
			const added = 2*maxLines + 1
			for i := range added {
				output.Add(Line{RequestID: strconv.Itoa(i), Text: text})
			}
			want := min(maxLines, maxBytes/size)
			if len(output.lines.items) != want || output.lines.size != want*size {
				t.Errorf("%d lines, %d bytes, want %d lines", len(output.lines.items), output.lines.size, want)
			}
			if last := output.lines.items[want-1].RequestID; last != strconv.Itoa(added-1) {
				t.Errorf("the newest line is %s", last)
			}
		})
	}
}

func TestALineOfNoInvocationIsNotKept(t *testing.T) {
	var output Output
	output.Add(Line{Text: "from nowhere"})
	if len(output.lines.items) != 0 {
		t.Errorf("kept %v", output.lines.items)
	}
}

// TestAFailedRequestSaysWhy, as its caller was told.
func TestAFailedRequestSaysWhy(t *testing.T) {
	var output Output
	fail := func(id string, e *faas.Error) { output.Fail(faas.NewFailure(id, faas.InRuntime, e)) }
	fail("a", &faas.Error{Code: faas.NotFound, Message: "no such session", Err: errors.New("a secret path")})
	fail("b", &faas.Error{Code: faas.RuntimeError, Message: strings.Repeat("x", maxMessage-1) + "é", Details: map[string]any{"component": faas.InFunction}})
	fail("c", &faas.Error{Code: faas.NotFound}) // another request of that id
	fail("", &faas.Error{Code: faas.NotFound})
	entries := []Entry{{RequestID: "a", StatusCode: 404}, {RequestID: "b", StatusCode: 500}, {RequestID: "c", StatusCode: 200}, {StatusCode: 404}}
	output.addTo(entries)
	want := []*Failure{
		{RequestID: "a", Code: faas.NotFound, Message: "no such session", Component: faas.InRuntime},
		{RequestID: "b", Code: faas.RuntimeError, Message: strings.Repeat("x", maxMessage-1), Component: faas.InFunction},
		nil, nil,
	}
	var got []*Failure
	for _, entry := range entries {
		got = append(got, entry.Error)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i := range 2 * maxLines {
		fail(strconv.Itoa(i), &faas.Error{})
	}
	if len(output.failures.items) != maxLines {
		t.Errorf("%d are kept", len(output.failures.items))
	}
}

func TestOutputIsReadWhileItGrows(t *testing.T) {
	var output Output
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for i := range 2000 {
				output.Add(Line{RequestID: "a", Text: strconv.Itoa(i)})
			}
		})
		work.Go(func() {
			for range 20 {
				output.addTo([]Entry{{RequestID: "a"}})
			}
		})
	}
	work.Wait()
	entries := []Entry{{RequestID: "a"}}
	if output.addTo(entries); len(entries[0].Output) != 8000 {
		t.Errorf("%d lines", len(entries[0].Output))
	}
}

// FuzzQuery: what is accepted is within its bounds, and is the same when it is
// written and read again.
func FuzzQuery(f *testing.F) {
	f.Add("name=nodejs-a&session=s&request_id=r&status=404&after=7&limit=1000")
	f.Add("limit=+5&after=00&status=0x1f4")
	f.Add("name=%00;&name")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parse(raw)
		if err != nil {
			return
		}
		if q.Limit < 1 || q.Limit > maxLimit || q.After < 0 {
			t.Fatalf("%q is %+v", raw, q)
		}
		again, err := parse(Query(q))
		if diff := cmp.Diff(q, again); diff != "" || err != nil {
			t.Fatalf("%q: %v %s", raw, err, diff)
		}
	})
}
