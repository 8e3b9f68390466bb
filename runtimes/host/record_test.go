package host

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"envoke/internal/faas"
	"envoke/internal/record"
	"envoke/runtimes/pool"
)

// TestAFailureTellsItsFunction, and where in its code it was; where no function was found, what
// the request says of one.
func TestAFailureTellsItsFunction(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "fail", faas.Function{Script: javaScriptOf(`throw new TypeError('no')`)})
	session := r.initializeBody(t, "nodejs-fail", ``)
	oneShot, unknown := key.NewID(faas.NodeJS, true), key.NewID(faas.NodeJS, true)
	thrown := faas.Failure{LanguageTitle: "nodejs-fail", Code: faas.RuntimeError, Component: faas.InFunction, Message: "no"}
	of := func(f faas.Failure, id faas.SessionID) faas.Failure { f.SessionID = id; return f }
	for _, test := range []struct {
		call call
		want faas.Failure
		line bool
	}{
		{call{path: functionPath + "nodejs-fail", title: "nodejs-other"}, thrown, true}, // the header means nothing there
		{call{path: runtimePath + "nodejs/fail"}, thrown, true},
		{call{path: executePath + "/" + string(session), title: "nodejs-other"}, of(thrown, session), true},
		{call{path: executePath, title: "nodejs-fail", id: oneShot}, of(thrown, oneShot), true},
		{call{path: initializePath, title: "nodejs-new", id: key.NewID(faas.NodeJS, true), body: strings.NewReader(`{"script_content":"return ("}`)}, faas.Failure{
			LanguageTitle: "nodejs-new", Code: faas.InitializationError, Component: faas.InFunction, Message: "Unexpected end of input",
		}, true},
		{call{path: executePath + "/" + string(unknown)}, faas.Failure{
			SessionID: unknown, Code: faas.NotFound, Component: faas.InRuntime, Message: faas.AsError(faas.ErrNoSession).Message,
		}, false},
	} {
		r.failed.Clear()
		if test.call.body == nil {
			test.call.body = strings.NewReader("{}")
		}
		r.do(t, test.call)
		told, _ := r.failed.Load("trace-1")
		got, _ := told.(faas.Failure)
		test.want.RequestID, test.want.Language = "trace-1", faas.NodeJS
		if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(faas.Failure{}, "StackTrace", "Details", "At")); diff != "" {
			t.Errorf("%s (-want +got)\n%s", test.call.path, diff)
		}
		if test.line != strings.Contains(string(got.Details), `"line":1`) || test.line == (got.StackTrace == "") {
			t.Errorf("%s: stack %q, details %s", test.call.path, got.StackTrace, got.Details)
		}
		if test.want.Code == faas.RuntimeError && !strings.Contains(got.StackTrace, "TypeError: no") {
			t.Errorf("%s: stack %q", test.call.path, got.StackTrace)
		}
		if ago := time.Since(got.At); ago < 0 || ago > time.Minute {
			t.Errorf("%s: at %v", test.call.path, got.At)
		}
	}
}

// TestExchangesAreTold as an operator wants them, masked and cut; those of no row, and of an
// operator who wants none, are not.
func TestExchangesAreTold(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "echo", faas.Function{Script: javaScriptOf(`if (event.params.fail) throw new TypeError('no'); return event.params`)})
	var (
		mu   sync.Mutex
		told []faas.Exchange
	)
	r.Exchanges = &Exchanges{Mask: record.NewMask([]string{"pin"}, 200), Tell: func(e faas.Exchange) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, e)
	}}
	began := time.Now().UTC().Truncate(time.Microsecond)
	contentType := ""
	send := func(body string, start bool) faas.Exchange {
		t.Helper()
		mu.Lock()
		told = nil
		mu.Unlock()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://runtime"+functionPath+"nodejs-echo", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer x")
		request.Header.Set("Content-Type", contentType)
		request.Header.Set(requestIDHeader, "trace-1")
		if start {
			request.Header.Set(startHeader, strconv.FormatInt(began.UnixMicro(), 10))
		}
		answer, err := r.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		mu.Lock()
		defer mu.Unlock()
		if len(told) != 1 {
			return faas.Exchange{}
		}
		return told[0]
	}
	got := send(`{"a":1,"deep":[{"PIN":1234,"password":"x"}]}`, true)
	const want = `{"a":1,"deep":[{"PIN":"***","password":"***"}]}`
	if got.Request != want || got.Response != want || got.RequestID != "trace-1" || !got.StartedAt.Equal(began) {
		t.Errorf("%+v", got)
	}
	if h := string(got.Headers); strings.Contains(h, "Bearer") || !strings.Contains(h, `"authorization":"***"`) || strings.Contains(h, "x-envoke") {
		t.Errorf("headers are %s", h)
	}
	var metrics map[string]float64
	if err := json.Unmarshal(got.Metrics, &metrics); err != nil || metrics["memory_usage_bytes"] < 1<<20 || metrics["execution_time_ms"] <= 0 {
		t.Errorf("metrics are %s, %v", got.Metrics, err)
	}
	if got := send(`{"fail":1}`, true); !strings.Contains(got.Response, `"RUNTIME_ERROR"`) {
		t.Errorf("of a failure: %+v", got)
	}
	if got := send(`"`+strings.Repeat("x", 1000)+`"`, true); len(got.Request) > 250 || !strings.Contains(got.Request, "cut: it has 1002 bytes") {
		t.Errorf("of a long one: %+v", got)
	}
	contentType = "application/x-www-form-urlencoded"
	if got := send(`password=x&a=b`, true); got.Request != `"password=***&a=b"` {
		t.Errorf("of a form: %+v", got)
	}
	contentType = ""
	if got := send(`{}`, false); got.RequestID != "" {
		t.Errorf("of a request that Envoy does not know: %+v", got)
	}
	r.Exchanges = nil
	if got := send(`{}`, true); got.RequestID != "" {
		t.Errorf("nobody asked: %+v", got)
	}
}
