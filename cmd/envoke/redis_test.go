package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"envoke/internal/testrig"
)

// TestReplicasShareResults: what a function answered through one installation, another on the
// same PostgreSQL and Redis answers from there.
func TestReplicasShareResults(t *testing.T) {
	address, server := testrig.Postgres(t), testrig.Redis(t)
	flags := []string{"--database-url", address, "--redis-url", server.URL(), "--redis-cache-url", server.URL()}
	one, two := serve(t, flags...), serve(t, flags...)
	name := one.defineCached(t, "dice", "return Math.random()", 60)
	thrown := one.send(t, http.MethodGet, "/function/"+name, "").body
	var again reply
	testrig.Eventually(t, "the other answers the same", func() bool {
		again = two.send(t, http.MethodGet, "/function/"+name, "")
		return bytes.Equal(again.body, thrown)
	})
	if again.header.Get("Age") == "" {
		t.Errorf("%v has no age", again.header)
	}

	id := one.initialize(t, "return 1")
	if got := two.execute(t, id, "null", "X-Cache-Control", "no-cache").result(t); got != "1" {
		t.Errorf("a session of the other: %s", got)
	}
	two.must(t, http.StatusNoContent, http.MethodDelete, "/api/v1/sessions/"+id, "")
	two.execute(t, id, "null", "X-Cache-Control", "no-cache").isError(t, http.StatusNotFound, "NOT_FOUND", "extproc")
	if health := one.send(t, http.MethodGet, "/health", ""); !bytes.Contains(health.body, []byte(`"redis":"ok"`)) {
		t.Errorf("health is %s", health.body)
	}
}

// TestInstallationsShareNoResults: equal names, versions and calls of installations with a
// database each are not each other's, though one Redis has them all.
func TestInstallationsShareNoResults(t *testing.T) {
	server := testrig.Redis(t)
	one, two := serve(t, "--redis-cache-url", server.URL()), serve(t, "--redis-cache-url", server.URL())
	for n, i := range []*installation{one, two} {
		name := i.defineCached(t, "whose", fmt.Sprintf("return %d", n), 60)
		for range 2 {
			if got := string(i.send(t, http.MethodGet, "/function/"+name, "").body); got != fmt.Sprint(n) {
				t.Errorf("installation %d answers %s", n, got)
			}
		}
	}
}

// TestADeletionThatRedisDidNotTake: the control that deleted a session is killed before Redis
// answers again, and the next does not run the session.
func TestADeletionThatRedisDidNotTake(t *testing.T) {
	for name, flags := range map[string][]string{"sqlite": nil, "postgres": {"--database-url", testrig.Postgres(t)}} {
		t.Run(name, func(t *testing.T) {
			server := testrig.Redis(t)
			i, err := newInstallation()
			if err != nil {
				t.Fatal(err)
			}
			p := i.startParts(t, append(flags, "--redis-url", server.URL())...)
			id, other := p.initialize(t, "return 1"), p.initialize(t, "return 2")
			uncached := []string{"X-Cache-Control", "no-cache"} // else ext_proc does not see it
			p.execute(t, id, "null", uncached...).result(t)
			server.Stall(t)
			// Redis is left alone then, so that the tombstone does not wait in its socket.
			p.execute(t, other, "null", uncached...).result(t)
			p.must(t, http.StatusNoContent, http.MethodDelete, "/api/v1/sessions/"+id, "")
			_ = p.control.Process.Kill()
			_ = p.control.Wait()
			server.Resume(t)
			p.startControl(t)
			var r reply
			testrig.Eventually(t, "control to answer", func() bool {
				r = p.execute(t, id, "null", uncached...)
				return r.status != http.StatusServiceUnavailable
			})
			r.isError(t, http.StatusNotFound, "NOT_FOUND", "extproc")
		})
	}
}

// TestRedisKilledUnderLoad: without Redis nothing fails.
func TestRedisKilledUnderLoad(t *testing.T) {
	server := testrig.Redis(t)
	i := serve(t, "--redis-url", server.URL(), "--redis-cache-url", server.URL())
	name := i.defineCached(t, "sum", "return Number(event.params.n) + 1", 60)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	sessions, functions := &tally{}, &tally{}
	var callers sync.WaitGroup
	for range 4 {
		url := i.base + "/api/v1/execute/" + i.initialize(t, "return event.params.n + 1")
		callers.Go(func() { sessions.call(ctx, url, "X-Cache-Control", "no-cache") })
		callers.Go(func() { functions.get(ctx, i.base+"/function/"+name) })
	}
	more := func(what string) {
		t.Helper()
		a, b := sessions.ok(), functions.ok()
		testrig.Eventually(t, what, func() bool { return sessions.ok() > a+200 && functions.ok() > b+200 })
	}
	more("calls with Redis")
	server.Kill(t)
	more("calls without it")
	if health := i.send(t, http.MethodGet, "/health", ""); health.status != http.StatusOK || !strings.Contains(string(health.body), `"redis":"down"`) {
		t.Errorf("health is %d %s", health.status, health.body)
	}
	i.execute(t, i.initialize(t, "return 7"), "null", "X-Cache-Control", "no-cache").result(t)
	server.Start(t)
	more("calls with it again")
	server.Stall(t)
	more("calls while it does not answer")
	server.Resume(t)
	stop()
	callers.Wait()
	for _, calls := range []*tally{sessions, functions} {
		if err := calls.err(); err != nil || calls.refused() > 0 {
			t.Errorf("%d were refused; %v", calls.refused(), err)
		}
	}
}

// get calls a function by plain HTTP, each time with another query, until ctx ends.
func (a *tally) get(ctx context.Context, url string) {
	for n := 0; ctx.Err() == nil; n++ {
		r, err := send(http.MethodGet, fmt.Sprintf("%s?n=%d", url, n), "")
		a.mu.Lock()
		switch {
		case err != nil:
			a.wrong = err
		case r.status != http.StatusOK || string(r.body) != fmt.Sprint(n+1):
			a.wrong = fmt.Errorf("call %d: %d %s", n, r.status, r.body)
		default:
			a.good++
		}
		a.mu.Unlock()
	}
}
