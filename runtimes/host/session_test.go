package host

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
)

func create(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

const counter = `let n = 0; module.exports = () => ++n`

// Sessions with equal scripts have workers of their own.
func TestScriptsShareNothing(t *testing.T) {
	r := newRig(t, pool.Options{})
	one, two := r.initialize(t, counter), r.initialize(t, counter)
	for _, step := range []struct {
		id   faas.SessionID
		want string
	}{{one, "1"}, {one, "2"}, {two, "1"}, {one, "3"}, {two, "2"}} {
		if got := r.result(t, step.id, "null"); got != step.want {
			t.Errorf("got %s, want %s", got, step.want)
		}
	}
}

// Sessions of a registered function share its worker.
func TestRegisteredFunction(t *testing.T) {
	r := newRig(t, pool.Options{})
	function := faas.Function{
		Name: faas.Name{Language: faas.NodeJS, Title: "counter"}, Timeout: 100 * time.Millisecond,
		Script: faas.NewScript(faas.NodeJS, `let n = 0; module.exports = ({params}) => { while (params === 'hang'); return ++n }`, nil),
	}
	if _, err := r.store.CreateFunction(t.Context(), faas.Actor{}, function); err != nil {
		t.Fatal(err)
	}
	patient := `{"context":{"timeout_ms":9000}}` // has time for a new worker
	one, two := r.initializeBody(t, "nodejs-counter", patient), r.initializeBody(t, "nodejs-counter", patient)
	for want, body := range map[string]string{"100": ``, "50": `{"context":{"timeout_ms":50}}`} {
		hasty := r.initializeBody(t, "nodejs-counter", body)
		got := r.execute(t, hasty, `{"params":"hang"}`)
		if got.Status != http.StatusGatewayTimeout || !strings.Contains(got.Body, `"timeout_ms":`+want) {
			t.Errorf("got %+v, want a timeout of %s ms", got, want)
		}
	}
	if first, second := r.result(t, one, "1"), r.result(t, two, "1"); first != "1" || second != "2" {
		t.Errorf("they count %s and %s, want 1 and 2", first, second)
	}
}

func TestCalculator(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.initializeBody(t, "nodejs-calculator", `{"context":{"user_id":"u"}}`)
	want := `{"operation":"divide","a":1,"b":4,"result":0.25}`
	if got := r.result(t, id, `{"operation":"divide","a":1,"b":4}`); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What a function does to its event is gone with the call.
func TestContextIsFresh(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.initializeBody(t, "nodejs-test", `{
		"script_content": "context.list.push(1); context.new = params.new = 1; return [context, params]",
		"context": {"list": [], "user_id": "u"}}`)
	for range 2 {
		if got, want := r.result(t, id, `{}`), `[{"list":[1],"user_id":"u","new":1},{"new":1}]`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestDeletedSession(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.initialize(t, `return 1`)
	r.result(t, id, "null")
	if err := r.registry.Revoke(t.Context(), faas.Actor{}, id); err != nil {
		t.Fatal(err)
	}
	want := failure(404, "NOT_FOUND", faas.ErrNoSession.Message, `"component":"runtime"`)
	if diff := cmp.Diff(want, r.execute(t, id, `{}`)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSessionIDIsUsedOnce(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.initialize(t, `return 'first'`)
	got := r.do(t, call{path: initializePath, title: "nodejs-test", id: id, body: strings.NewReader(`{"script_content":"return 'second'"}`)})
	if got.Status != http.StatusConflict {
		t.Errorf("got %+v, want 409", got)
	}
	if got := r.result(t, id, "null"); got != `"first"` {
		t.Errorf("the session runs %s now", got)
	}
}

// Without control, known sessions go on; what needs control is refused.
func TestControlAway(t *testing.T) {
	r := newRig(t, pool.Options{})
	known := r.initialize(t, `return params`)
	r.stopControl()
	if got := r.result(t, known, "1"); got != "1" {
		t.Errorf("a known session: %s", got)
	}
	want := failure(503, "UNAVAILABLE", "control does not answer; try again", `"component":"runtime"`)
	unknown := key.NewID(faas.NodeJS, true)
	if diff := cmp.Diff(want, r.execute(t, unknown, `{}`)); diff != "" {
		t.Errorf("an unknown session (-want +got)\n%s", diff)
	}
	id, got := r.tryInitialize(t, "nodejs-test", `{"script_content":"return 1"}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("initialize (-want +got)\n%s", diff)
	}
	r.startControl()
	testrig.Eventually(t, "control is back", func() bool { return r.execute(t, id, `{}`).Status == http.StatusNotFound })
}

func (r *rig) healthIs(t *testing.T, status int) map[string]any {
	t.Helper()
	got := r.do(t, call{method: http.MethodGet, path: "/health"})
	var body map[string]any
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil || got.Status != status {
		t.Fatalf("got %+v (%v), want %d", got, err, status)
	}
	return body
}

func TestHealth(t *testing.T) {
	r := newCutOffRig(t, pool.Options{})
	if got := r.healthIs(t, http.StatusServiceUnavailable)["status"]; got != "waiting for control" {
		t.Errorf("status is %v", got)
	}
	got := r.execute(t, key.NewID(faas.NodeJS, true), `{}`)
	want := failure(503, "UNAVAILABLE", "this runtime host has not reached control yet; try again", `"component":"runtime"`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("execute (-want +got)\n%s", diff)
	}
	r.startControl()
	testrig.Eventually(t, "control is reached and a worker ready", func() bool {
		return r.Bundles.Ready() && r.pool.Stats().Ready == 1
	})
	body := r.healthIs(t, http.StatusOK)
	workers := body["workers"].(map[string]any)
	if version, _ := workers["version"].(string); !strings.HasPrefix(version, "v") {
		t.Errorf("the interpreter is %q", version)
	}
	delete(workers, "version")
	if diff := cmp.Diff(map[string]any{
		"status": "ok", "language": "nodejs", "version": "test",
		"workers": map[string]any{"starting": 0., "ready": 1., "loaded": 0., "calls": 0., "waiting": 0.},
	}, body); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLogLevel(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		code faas.Code
		want slog.Level
	}{{faas.InternalError, slog.LevelError}, {faas.Unavailable, slog.LevelWarn}, {faas.RuntimeError, slog.LevelDebug}} {
		e := &faas.Error{Code: test.code}
		if got := logLevel(t.Context(), e); got != test.want {
			t.Errorf("%s is logged at %v, want %v", test.code, got, test.want)
		}
		if got := logLevel(gone, e); got != slog.LevelDebug {
			t.Errorf("%s of a caller that has gone is logged at %v", test.code, got)
		}
	}
}
