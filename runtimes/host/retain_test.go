package host

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
)

// retaining makes a session that counts its calls in its context.
func (r *rig) retaining(t *testing.T, script string) faas.SessionID {
	t.Helper()
	source, err := json.Marshal(script)
	if err != nil {
		t.Fatal(err)
	}
	return r.initializeBody(t, "nodejs-test", `{"script_content":`+string(source)+`,"context":{"retain_session":true,"n":0}}`)
}

const counting = `
	context.n++
	await new Promise((later) => setTimeout(later, params?.wait ?? 0))
	if (params?.throws) throw new Error('no')
	if (params?.leaves) context.left = params.leaves === 'NaN' ? NaN : 'x'.repeat(params.leaves)
	return context.n`

// What a call leaves in its context is there in the next one; what one leaves that fails is
// not.
func TestRetainedContext(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.retaining(t, counting)
	for _, step := range []struct {
		name, params string
		status       int
		want         string // of the body
	}{
		{"first", `null`, 200, `"result":1,`},
		{"second", `{"leaves":3}`, 200, `"result":2,`},
		{"one that throws", `{"throws":true}`, 500, `"message":"no"`},
		{"one that leaves what is no JSON", `{"leaves":"NaN"}`, 500, `"type":"UnserializableContext"`},
		{"one that leaves too much", `{"leaves":1100000}`, 507, `"limit":"context"`},
		{"third", `null`, 200, `"result":3,`},
	} {
		if got := r.execute(t, id, `{"params":`+step.params+`}`); got.Status != step.status || !strings.Contains(got.Body, step.want) {
			t.Errorf("%s: %+v, want %d and %s", step.name, got, step.status, step.want)
		}
	}
	stored, err := r.store.FindSession(t.Context(), id)
	if want := `{"retain_session":true,"n":3,"left":"xxx"}`; err != nil || string(stored.Context) != want {
		t.Errorf("the store has %s, %v; want %s", stored.Context, err, want)
	}
}

// The worker that ran a call may be gone: the context is control's.
func TestRetainedContextOutlivesItsWorker(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.retaining(t, `if (params) process.exit(3); return ++context.n`)
	r.result(t, id, "null")
	if got := r.execute(t, id, `{"params":1}`); got.Status != http.StatusInternalServerError {
		t.Errorf("a call that ends its worker: %+v", got)
	}
	if got := r.result(t, id, "null"); got != "2" {
		t.Errorf("got %s, want 2", got)
	}
}

func TestRetainedCallsRunOneAtATime(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.retaining(t, counting)
	const calls = 30
	var all sync.WaitGroup
	got := make([]string, calls)
	for i := range calls {
		all.Go(func() { got[i] = r.result(t, id, `{"wait":2}`) })
	}
	all.Wait()
	want := make([]string, calls)
	for i := range want {
		want[i] = fmt.Sprint(i + 1)
	}
	slices.SortFunc(got, func(a, b string) int { return len(a)*10 - len(b)*10 + strings.Compare(a, b) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(r.gates.open) != 0 {
		t.Errorf("%d gates are left open", len(r.gates.open))
	}
}

// While another host has the context, nothing is run here.
func TestRetainedSessionOfAnotherHost(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.retaining(t, counting)
	taken, err := r.store.TakeContext(t.Context(), id, "another", time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	want := failure(409, "CONFLICT", "another host runs a call of this session, which runs one at a time: this one was not run; try again",
		`"component":"runtime","retry_after_seconds":1`)
	want.RetryAfter = "1"
	if diff := cmp.Diff(want, r.execute(t, id, `{}`)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	left := strings.Replace(string(taken), `"n":0`, `"n":41`, 1)
	if err := r.store.PutContext(t.Context(), id, "another", json.RawMessage(left)); err != nil {
		t.Fatal(err)
	}
	if got := r.result(t, id, "null"); got != "42" {
		t.Errorf("after the other host's call: %s, want 42", got)
	}
}

// A call of a session that is deleted meanwhile has run, and says so.
func TestRetainedSessionIsDeletedMeanwhile(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.retaining(t, holdable)
	release := r.hold(t.Context(), t, id)
	testrig.Eventually(t, "it runs", func() bool { return r.pool.Stats().Calls == 1 })
	if err := r.registry.Revoke(t.Context(), faas.Actor{}, id); err != nil {
		t.Fatal(err)
	}
	got, err := release()
	if err != nil || got.Status != http.StatusNotFound || !strings.Contains(got.Body, "the function has run, but what it left in its context is not kept") {
		t.Errorf("%+v, %v", got, err)
	}
}

// A call that has begun ends, whoever waits for it.
func TestRetainedCallersGoAway(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.retaining(t, `context.n++; await new Promise((later) => setTimeout(later, params ?? 0)); return context.n`)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := r.try(ctx, call{path: executePath + "/" + string(id), body: strings.NewReader(`{"params":100}`)})
		gone <- err
	}()
	testrig.Eventually(t, "it runs", func() bool { return r.pool.Stats().Calls == 1 })
	cancel()
	if err := <-gone; err == nil {
		t.Error("the caller has got a reply")
	}
	if got := r.result(t, id, "null"); got != "2" {
		t.Errorf("the next call got %s, want 2", got)
	}
}

// Without control nothing is run; when it is back, the session goes on.
func TestRetainedSessionWithoutControl(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.retaining(t, counting)
	r.result(t, id, "null")
	r.stopControl()
	if got := r.execute(t, id, `{}`); got.Status != http.StatusServiceUnavailable {
		t.Errorf("without control: %+v", got)
	}
	r.startControl()
	testrig.Eventually(t, "control is back", func() bool { return r.execute(t, id, `{}`).Status == http.StatusOK })
	if got := r.result(t, id, "null"); got != "3" {
		t.Errorf("got %s, want 3", got)
	}
}

// Control that comes back within some seconds gets what was left meanwhile.
func TestContextIsPutWhenControlIsBack(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.retaining(t, strings.Replace(holdable, "({params}) => {", "({params}, context) => { context.n++", 1))
	release := r.hold(t.Context(), t, id)
	testrig.Eventually(t, "it runs", func() bool { return r.pool.Stats().Calls == 1 })
	r.stopControl()
	done := make(chan reply, 1)
	go func() { got, _ := release(); done <- got }()
	testrig.Eventually(t, "it has run", func() bool { return r.pool.Stats().Calls == 0 })
	r.startControl()
	if got := <-done; got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	stored, err := r.store.FindSession(t.Context(), id)
	if err != nil || !strings.Contains(string(stored.Context), `"n":1`) {
		t.Errorf("the store has %s, %v", stored.Context, err)
	}
}

func TestRetainRefuses(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.retaining(t, counting)
	refused := func(name string, got reply, message string) {
		t.Helper()
		if got.Status != http.StatusBadRequest || !strings.Contains(got.Body, message) {
			t.Errorf("%s: %+v, want %s", name, got, message)
		}
	}
	refused("a context of the call's own", r.post(t, protocolPath, `{"request_id":"`+string(id)+`","context":{"a":1}}`), "context is what the session's last call left in it")
	refused("a call of a script", r.post(t, protocolPath, `{"script_content":"1","context":{"retain_session":true}}`), "context.retain_session needs a session")
	r.NoRetain = "is not for tests"
	_, got := r.tryInitialize(t, "nodejs-test", `{"script_content":"1","context":{"retain_session":true}}`)
	refused("where it is not to be had", got, "context.retain_session is not for tests")
}
