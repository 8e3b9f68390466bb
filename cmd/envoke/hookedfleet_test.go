package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"envoke/internal/routing"
	"envoke/internal/testrig"
)

// TestHooksOfManyHosts: a host that says goodbye under load costs no request its hook. One that
// is killed costs those that it was asked, and none later.
func TestHooksOfManyHosts(t *testing.T) {
	f, first, _ := startFleet(t)
	body := define(t, "mark", `return { headers: { set: { "x-guarded": "yes" } } }`)
	testrig.Eventually(t, "a control that has found the host", func() bool {
		return f.send(t, http.MethodPost, functionsPath, body).status == http.StatusCreated
	})
	f.declare(t, routing.Routing{Upstreams: []routing.Upstream{service(t, addOne)}, Routes: []routing.Route{{Name: "shop", Rules: []routing.Rule{
		ruleOf("/shop", routing.BackendRef{Name: "shop"}, routing.Hooks{Request: hookOf("nodejs-mark", routing.FailClosed)}),
	}}}}, "/shop", http.StatusOK)
	const callers = 6
	ctx, stop := context.WithCancel(t.Context())
	load, all := &tally{}, sync.WaitGroup{}
	for range callers {
		all.Go(func() { load.call(ctx, f.base+"/shop") })
	}
	more := func() {
		t.Helper()
		before := load.ok()
		testrig.Eventually(t, "more hooks", func() bool { return load.ok() > before+200 })
	}
	more()
	second, secondAt := f.startHost(t)
	f.awaitHost(t, secondAt, true)
	more()
	if err := stopProcess(t, first, syscall.SIGTERM); err != nil {
		t.Errorf("the host that was told to stop: %v", err)
	}
	more()
	if n := load.refused(); n > 0 {
		t.Errorf("%d requests were refused although no host was killed", n)
	}
	_, thirdAt := f.startHost(t)
	f.awaitHost(t, thirdAt, true)
	more()
	_ = stopProcess(t, second, syscall.SIGKILL)
	f.awaitHost(t, secondAt, false)
	lost := load.refused()
	more()
	later := load.refused() - lost
	stop()
	all.Wait()
	if err := load.err(); err != nil || lost > callers || later > 0 {
		t.Errorf("%d requests were refused when the host was killed, %d later, %v", lost, later, err)
	}
	t.Logf("%d requests, %d refused when a host was killed", load.ok(), lost)
}

// addOne answers as the function of other loads does.
func addOne(w http.ResponseWriter, r *http.Request) {
	var call struct{ Params struct{ N int } }
	_ = json.NewDecoder(r.Body).Decode(&call)
	_, _ = fmt.Fprintf(w, `{"result":%d,"guarded":%q}`, call.Params.N+1, r.Header.Get("X-Guarded"))
}
