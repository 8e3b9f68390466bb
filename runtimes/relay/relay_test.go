package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
	"envoke/runtimes/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open is an engine whose runtime is a handler.
func open(t *testing.T, runtime http.HandlerFunc) *relay.Engine {
	t.Helper()
	server := httptest.NewServer(runtime)
	t.Cleanup(server.Close)
	e := relay.New(relay.Options{URL: server.URL + "/execute", Calls: 2, MaxResult: 1 << 10, Logger: slog.New(slog.DiscardHandler)})
	testrig.Serve(t, e.Serve)
	return e
}

func invoke(t *testing.T, e *relay.Engine, timeout time.Duration) (pool.Result, *faas.Error) {
	t.Helper()
	work := pool.Work{Script: faas.NewScript(faas.NodeJS, "return event.params", nil), Owner: "call:1"}
	result, err := e.Invoke(t.Context(), work, pool.Invocation{
		RequestID: "req-1", Deadline: time.Now().Add(timeout), Timeout: timeout,
		Params: []byte(`{"n":12345678901234567890}`), Context: []byte(`{"currency":"EUR"}`),
	})
	if err == nil {
		return result, nil
	}
	var e2 *faas.Error
	if !errors.As(err, &e2) {
		t.Fatalf("%v is no *faas.Error", err)
	}
	return result, e2
}

func TestInvoke(t *testing.T) {
	var got map[string]json.RawMessage
	e := open(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/execute" || r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&got) != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, `{"result":{"big":12345678901234567890},"execution_time_ms":1.5,"memory_usage_bytes":4096,"more":1}`)
	})
	result, err := invoke(t, e, 10*time.Second)
	if err != nil || string(result.JSON) != `{"big":12345678901234567890}` || result.Duration != 1500*time.Microsecond || result.MemoryBytes != 4096 {
		t.Errorf("%+v, %v", result, err)
	}
	for name, want := range map[string]string{
		"request_id": `"req-1"`, "params": `{"n":12345678901234567890}`, "context": `{"currency":"EUR"}`, "script_content": `"return event.params"`,
	} {
		if string(got[name]) != want {
			t.Errorf("%s is sent as %s", name, got[name])
		}
	}
}

func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name    string
		runtime http.HandlerFunc
		code    faas.Code
		message string
	}{
		{"it throws", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"error":{"code":"RUNTIME_ERROR","message":"x is not defined","details":{"component":"function","line":1,"secret":"s"}},"request_id":"r"}`)
		}, faas.RuntimeError, "x is not defined"},
		{"words of its own", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "goroutine 1 [running]", 500) }, faas.Unavailable, "answered 500"},
		{"a code of its own", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, `{"error":{"code":"BOOM","message":"x"}}`)
		}, faas.Unavailable, "answered 502"},
		{"it is not there", http.NotFound, faas.Unavailable, "not there"},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"result":`) }, faas.Unavailable, "has no result"},
		{"no result", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"ok":true}`) }, faas.Unavailable, "has no result"},
		{"a large result", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"result":"`+strings.Repeat("x", 1<<10)+`"}`)
		}, faas.ResourceExhausted, "1024"},
		{"an endless answer", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"result":"`+strings.Repeat("x", 1<<20)+`"}`)
		}, faas.ResourceExhausted, "1024"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusTemporaryRedirect)
		}, faas.Unavailable, "answered 307"},
		{"it hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, faas.Unavailable, "could not be reached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := invoke(t, open(t, test.runtime), 10*time.Second)
			if err == nil || err.Code != test.code || !strings.Contains(err.Message, test.message) || err.Details["secret"] != nil {
				t.Errorf("%+v", err)
			}
		})
	}
}

// TestBounds: a call ends at its deadline, and there are no more at once than there may be.
func TestBounds(t *testing.T) {
	e := open(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	ended := make(chan *faas.Error, 2)
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		go func() {
			_, err := e.Invoke(ctx, pool.Work{}, pool.Invocation{Deadline: time.Now().Add(time.Minute)})
			ended <- faas.AsError(err)
		}()
	}
	testrig.Eventually(t, "two calls", func() bool { return e.Stats().Calls == 2 })
	if _, err := invoke(t, e, time.Minute); err == nil || err.Code != faas.RateLimited {
		t.Errorf("a third call: %v", err)
	}
	cancel()
	for range 2 {
		if err := <-ended; err.Code != faas.Unavailable {
			t.Errorf("a caller that went away: %v", err)
		}
	}
	if _, err := invoke(t, e, 50*time.Millisecond); err == nil || err.Code != faas.Timeout || err.Details["timeout_ms"] != int64(50) {
		t.Errorf("at its deadline: %v", err)
	}
	if err := e.Load(t.Context(), pool.Work{Environment: faas.Environment{"A": {}}.Resolve(nil)}); err == nil {
		t.Error("an environment is dropped")
	}
}
