package host

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/frame"
	"envoke/runtimes/pool"
)

// slowEngine is an engine whose every Check, the beginning of a build, takes until it is let
// go on, with an error or none.
type slowEngine struct {
	Engine
	checks atomic.Int32
	let    chan error // closed: all go on
}

func (e *slowEngine) Check(ctx context.Context, s faas.Script) (frame.Form, error) {
	e.checks.Add(1)
	select {
	case err := <-e.let:
		if err != nil {
			return frame.Form{}, err
		}
		return e.Engine.Check(ctx, s)
	case <-ctx.Done():
		return frame.Form{}, ctx.Err()
	}
}

func newSlowRig(t *testing.T) (*rig, *slowEngine) {
	t.Helper()
	r := newRig(t, pool.Options{})
	slow := &slowEngine{Engine: r.Engine, let: make(chan error)}
	r.Engine, r.BuildWait = slow, 50*time.Millisecond
	return r, slow
}

// pending makes a session whose build is pending.
func (r *rig) pending(t *testing.T) faas.SessionID {
	t.Helper()
	id, got := r.tryInitialize(t, "nodejs-test", `{"script_content":"return 7"}`)
	if got.Status != http.StatusAccepted || !strings.Contains(got.Body, `"compile_status":"pending"`) || !strings.Contains(got.Body, string(id)) {
		t.Fatalf("initialize: %+v", got)
	}
	r.isStored(t, id, faas.CompilePending)
	return id
}

func (r *rig) isStored(t *testing.T, id faas.SessionID, want faas.CompileStatus) faas.Session {
	t.Helper()
	var stored faas.Session
	testrig.Eventually(t, "the build is stored as "+string(want), func() bool {
		var err error
		stored, err = r.store.FindSession(t.Context(), id)
		return err == nil && stored.CompileStatus == want
	})
	return stored
}

const noParams = `{"params":null}`

// An execute waits for a build, as long as it may.
func TestPendingBuild(t *testing.T) {
	r, slow := newSlowRig(t)
	id := r.pending(t)
	stored := r.isStored(t, id, faas.CompilePending)
	if stored.Build.Step != loading || time.Since(stored.Build.Since) > time.Minute {
		t.Errorf("the store has %+v", stored.Build)
	}
	r.MaxTimeout = 100 * time.Millisecond
	want := failure(504, "TIMEOUT", "the function's code is still being built after 100 ms; that goes on, so send the same request again",
		`"component":"runtime","timeout_ms":100`)
	if diff := cmp.Diff(want, r.execute(t, id, noParams)); diff != "" {
		t.Errorf("an execute meanwhile (-want +got)\n%s", diff)
	}
	r.MaxTimeout = time.Minute
	waiting := make(chan string, 1)
	go func() { waiting <- r.result(t, id, "null") }()
	slow.let <- nil
	if got := <-waiting; got != "7" {
		t.Errorf("who waited got %s", got)
	}
	if stored := r.isStored(t, id, faas.CompileSuccess); stored.Status != faas.Active || stored.Build.Step != "" {
		t.Errorf("the store has %+v", stored)
	}
	if got := r.result(t, id, "null"); got != "7" || slow.checks.Load() != 1 {
		t.Errorf("got %s; %d builds", got, slow.checks.Load())
	}
}

// What the compiler says reaches who waits and who comes later, as initialize would say it.
func TestPendingBuildFails(t *testing.T) {
	r, slow := newSlowRig(t)
	id := r.pending(t)
	slow.let <- &faas.Error{
		Code: faas.InitializationError, Message: "no such method", Details: map[string]any{"component": faas.InFunction, "line": 2},
	}
	want := failure(422, "INITIALIZATION_ERROR", "no such method", `"component":"function","line":2`)
	for _, when := range []string{"at once", "later"} {
		if diff := cmp.Diff(want, r.execute(t, id, noParams)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", when, diff)
		}
		stored := r.isStored(t, id, faas.CompileError)
		if got := `{"code":"INITIALIZATION_ERROR","message":"no such method","details":{"component":"function","line":2}}`; string(stored.Build.Error) != got || stored.Status != faas.Failed {
			t.Errorf("%s: the store has %s, status %s", when, stored.Build.Error, stored.Status)
		}
	}
}

// A build that could not be tried is tried again by the next execute; so is one whose host
// has ended.
func TestPendingBuildBeginsAgain(t *testing.T) {
	r, slow := newSlowRig(t)
	id := r.pending(t)
	slow.let <- &faas.Error{Code: faas.Unavailable, Message: "not now"}
	testrig.Eventually(t, "the build is forgotten", func() bool { return r.builds.count() == 0 })
	close(slow.let)
	r.isStored(t, id, faas.CompilePending)
	if got := r.result(t, id, "null"); got != "7" {
		t.Errorf("got %s", got)
	}
	r.isStored(t, id, faas.CompileSuccess)
	if got := slow.checks.Load(); got != 2 {
		t.Errorf("%d builds, want 2", got)
	}
}

func TestDeletedWhilePending(t *testing.T) {
	r, slow := newSlowRig(t)
	id := r.pending(t)
	if err := r.registry.Revoke(t.Context(), faas.Actor{}, id); err != nil {
		t.Fatal(err)
	}
	slow.let <- nil
	testrig.Eventually(t, "the build has ended", func() bool { return r.builds.count() == 0 })
	if got := r.execute(t, id, noParams); got.Status != http.StatusNotFound {
		t.Errorf("got %+v", got)
	}
}

func TestTooManyBuilds(t *testing.T) {
	r, slow := newSlowRig(t)
	id := r.pending(t)
	for range maxBuilds - 1 {
		r.builds.pending[key.NewID(faas.NodeJS, true)] = &build{}
	}
	other, got := r.tryInitialize(t, "nodejs-test", `{"script_content":"return 8"}`)
	if got.Status != http.StatusTooManyRequests || got.RetryAfter == "" {
		t.Errorf("got %+v", got)
	}
	close(slow.let)
	testrig.Eventually(t, "the session is gone", func() bool {
		_, err := r.store.FindSession(t.Context(), other) // to execute it would have the host hold it
		return faas.IsNotFound(err)
	})
	if got := r.result(t, id, "null"); got != "7" {
		t.Errorf("got %s", got)
	}
}

// A one-shot waits for its build within its deadline, and leaves no session then.
func TestOneShotOfSlowBuild(t *testing.T) {
	slow := slowLayers{began: make(chan struct{}, 1)}
	r := newRig(t, pool.Options{Layers: slow})
	got := r.do(t, call{
		path: executePath, title: "nodejs-test", id: key.NewID(faas.NodeJS, true),
		body: strings.NewReader(`{"script_content":"return 1","dependencies":{"a":"b"},"context":{"timeout_ms":100}}`),
	})
	if got.Status != http.StatusGatewayTimeout || !strings.Contains(got.Body, "is still being built after 100 ms; that goes on") {
		t.Errorf("got %+v", got)
	}
	<-slow.began
}

// slowLayers never have what is wanted.
type slowLayers struct{ began chan struct{} }

func (l slowLayers) Use(ctx context.Context, _ map[string]string) (string, func(), error) {
	l.began <- struct{}{}
	<-ctx.Done()
	return "", nil, ctx.Err()
}

func TestBuildsThatPanic(t *testing.T) {
	b := newBuilds()
	defer b.end()
	one, err := b.begin(t.Context(), func(context.Context) error { panic("broken") })
	if err != nil {
		t.Fatal(err)
	}
	if late, err := one.wait(t.Context(), time.Time{}); late || err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("%v %v", late, err)
	}
}
