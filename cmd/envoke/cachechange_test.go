package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"envoke/internal/testrig"
)

// A new version, and a function or session that was deleted, show at once in ext_proc
// and within a second in the filter.
func TestChangesReachTheCaches(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		name := i.defineCached(t, title(t), "return 'one'", 60)
		get := func() string { return string(i.send(t, http.MethodGet, "/function/"+name, "").hiding(t).body) }
		for range 3 {
			if got := get(); got != `"one"` {
				t.Fatalf("got %s", got)
			}
		}
		session := i.open(t, name)
		for range 3 {
			i.execute(t, session, "1")
		}
		soon := func(what string, done func() bool) {
			t.Helper()
			if i == extProcOnly.installation && !done() {
				t.Errorf("%s: not at once", what)
			}
			testrig.Eventually(t, what, done)
		}
		i.must(t, 200, http.MethodPut, functionsPath+"/"+name, cachedDefinition(t, title(t), "return 'two'", 60))
		soon("the new version", func() bool { return get() == `"two"` })
		i.must(t, 204, http.MethodDelete, "/api/v1/sessions/"+session, "")
		soon("the end of the session", func() bool { return i.execute(t, session, "1").status == 404 })
		i.must(t, 204, http.MethodDelete, functionsPath+"/"+name, "")
		soon("the end of the function", func() bool { return strings.Contains(get(), "NOT_FOUND") })
	})
}

// Hits are in the log, in counts and in metrics like any other request.
func TestHitsAreLogged(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		session := i.open(t, i.defineCached(t, title(t), counting, 60))
		for range 20 {
			i.execute(t, session, "1")
		}
		testrig.Eventually(t, "the count of executes", func() bool {
			r := i.send(t, http.MethodGet, "/api/v1/sessions/"+session, "")
			return strings.Contains(string(r.body), `"execution_count":20,`)
		})
		r, err := send(http.MethodGet, i.operators+"/logs?limit=1000&session="+session, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(string(r.body), `"cached":true`); got != 19 {
			t.Errorf("%d rows are cached: %s", got, r.body)
		}
		metrics, err := send(http.MethodGet, i.operators+"/metrics", "")
		if err != nil || !strings.Contains(string(metrics.body), `envoke_cached_requests_total{operation="execute"}`) {
			t.Errorf("no metric of cached requests (%v)", err)
		}
	})
}

// Calls of a function whose results are not cached go past ext_proc once the filter has
// heard so, until it is cached.
func TestUncachedFunctionGoesPast(t *testing.T) {
	i := filtered(t)
	i.register(t, title(t), define(t, title(t), counting))
	get := func() reply { return i.must(t, 200, http.MethodGet, "/function/nodejs-"+title(t), "").hiding(t) }
	asked := func() int {
		r, err := send(http.MethodGet, i.operators+"/metrics", "")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		_, rest, _ := strings.Cut(string(r.body), `envoke_extproc_requests_total{operation="invokehttp",outcome="passed"} `)
		_, _ = fmt.Sscan(rest, &n)
		return n
	}
	before := asked()
	for range 200 {
		get()
	}
	if n := asked() - before; n == 0 || n > 50 {
		t.Errorf("ext_proc was asked about %d of 200 calls", n)
	}
	i.must(t, 200, http.MethodPut, functionsPath+"/nodejs-"+title(t), cachedDefinition(t, title(t), counting, 60))
	testrig.Eventually(t, "a cached result", func() bool { return get().header.Get("Age") != "" })
}
