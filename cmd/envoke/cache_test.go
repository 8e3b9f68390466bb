package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"envoke/internal/testrig"
)

// counting returns another number at every run, which a cached answer does not.
const counting = "globalThis.runs = (globalThis.runs ?? 0) + 1; return {runs, params: event.params}"

// defineCached registers a function whose results are cached.
func (i *installation) defineCached(t *testing.T, title, script string, seconds int) (name string) {
	t.Helper()
	return i.register(t, title, cachedDefinition(t, title, script, seconds))
}

// register registers a function for the time of the test: other tests count them.
func (i *installation) register(t *testing.T, title, definition string) (name string) {
	t.Helper()
	name = "nodejs-" + title
	i.must(t, 201, http.MethodPost, functionsPath, definition)
	t.Cleanup(func() { _, _ = send(http.MethodDelete, i.base+functionsPath+"/"+name, "") }) // the test may have
	return name
}

func cachedDefinition(t *testing.T, title, script string, seconds int) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"language": "nodejs", "title": title, "script_content": script, "cache_ttl_seconds": seconds,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// cached tells whether an envelope and its headers say that a result was cached.
func (r reply) cached(t *testing.T) bool {
	t.Helper()
	var envelope struct {
		Cached bool `json:"cached"`
	}
	if err := json.Unmarshal(r.body, &envelope); err != nil || r.status != http.StatusOK {
		t.Fatalf("%d %.1000s", r.status, r.body)
	}
	if age := r.header.Get("Age"); envelope.Cached != (age != "") {
		t.Errorf("cached is %v, and the age is %q", envelope.Cached, age)
	}
	return envelope.Cached
}

// hiding fails when a header that is spoken inside reaches the caller.
func (r reply) hiding(t *testing.T) reply {
	t.Helper()
	for name := range r.header {
		if strings.HasPrefix(name, "X-Envoke-") {
			t.Errorf("the reply has %s: %q", name, r.header[name])
		}
	}
	return r
}

// bothWays runs a test with the filter and without: nothing but speed may differ.
func bothWays(t *testing.T, test func(*testing.T, *installation)) {
	t.Helper()
	t.Run("without the filter", func(t *testing.T) { test(t, unfiltered(t)) })
	t.Run("with the filter", func(t *testing.T) { test(t, filtered(t)) })
}

var extProcOnly struct {
	once sync.Once
	*installation
}

// unfiltered is one installation without the filter for all tests.
func unfiltered(t *testing.T) *installation {
	t.Helper()
	extProcOnly.once.Do(func() {
		i, err := newInstallation()
		if err == nil {
			err = i.start("--filter=false")
		}
		if err != nil {
			t.Fatal(err)
		}
		extProcOnly.installation = i
	})
	if extProcOnly.installation == nil {
		t.Fatal("the installation without a filter did not start")
	}
	return extProcOnly.installation
}

// filtered is the common installation once its filter answers.
func filtered(t *testing.T) *installation {
	t.Helper()
	if everyFilter == "false" {
		t.Skip("no installation has the filter in this run")
	}
	i := shared(t)
	testrig.Eventually(t, "the filter", func() bool {
		r := i.send(t, http.MethodPost, "/api/v1/initialize", "{}", "Language-Title", "nodejs-a..b")
		return strings.Contains(string(r.body), `"component":"envoy"`)
	})
	return i
}

func TestCachedExecute(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		name := i.defineCached(t, title(t), counting, 60)
		session := i.open(t, name)
		first := i.execute(t, session, `{"a":1}`).hiding(t)
		if first.cached(t) {
			t.Fatal("the first is cached")
		}
		for range 3 {
			again := i.execute(t, session, `{"a":1}`).hiding(t)
			if !again.cached(t) || again.result(t) != first.result(t) {
				t.Errorf("again: %s %v", again.body, again.header)
			}
			if kind := again.header.Get("Content-Type"); kind != "application/json" || again.header.Get("X-Request-Id") == "" {
				t.Errorf("headers %v", again.header)
			}
		}
		for what, other := range map[string]func() reply{
			"other params":           func() reply { return i.execute(t, session, `{"a":2}`) },
			"the same, otherwise":    func() reply { return i.execute(t, session, `{"a": 1}`) },
			"with a query":           func() reply { return i.execute(t, session+"?x", `{"a":1}`) },
			"another session":        func() reply { return i.execute(t, i.open(t, name), `{"a":1}`) },
			"a token":                func() reply { return i.execute(t, session, `{"a":1}`, "Authorization", "Bearer 1") },
			"another token":          func() reply { return i.execute(t, session, `{"a":1}`, "Authorization", "Bearer 2") },
			"a cookie":               func() reply { return i.execute(t, session, `{"a":1}`, "Cookie", "id=1") },
			"a key":                  func() reply { return i.execute(t, session, `{"a":1}`, "X-API-Key", "1") },
			"nothing cached, please": func() reply { return i.execute(t, session, `{"a":1}`, "X-Cache-Control", "no-cache") },
			"nothing older than now": func() reply { return i.execute(t, session, `{"a":1}`, "X-Cache-Control", "max-age=0") },
		} {
			if other().hiding(t).cached(t) {
				t.Errorf("%s: cached", what)
			}
		}
		for _, token := range []string{"Bearer 1", "Bearer 2"} {
			if !i.execute(t, session, `{"a":1}`, "Authorization", token).cached(t) {
				t.Errorf("%s, again: not cached", token)
			}
		}
	})
}

// title is a function's title of the test's own.
func title(t *testing.T) string {
	return strings.NewReplacer("/", "-", " ", "-").Replace(strings.ToLower(t.Name()))
}

func TestCallerAsksForCaching(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		session := i.initialize(t, counting)
		for range 2 {
			if i.execute(t, session, "1").cached(t) {
				t.Error("cached, and nobody asked for it")
			}
		}
		first := i.execute(t, session, "1", "X-Cache-Control", "max-age=60").hiding(t)
		again := i.execute(t, session, "1", "X-Cache-Control", "max-age=60").hiding(t)
		if first.cached(t) || !again.cached(t) || first.result(t) != again.result(t) {
			t.Errorf("first %s, again %s", first.body, again.body)
		}
		if i.execute(t, session, "1").cached(t) {
			t.Error("a caller who did not ask got a cached result")
		}
		// E10 has no session; it is cached where the caller asks for it.
		i.register(t, title(t), define(t, title(t), counting))
		call := func() reply {
			return i.send(t, http.MethodPost, "/runtime/nodejs/"+title(t), `{"params":1}`, "X-Cache-Control", "max-age=60")
		}
		if call().hiding(t).cached(t) || !call().hiding(t).cached(t) {
			t.Error("a call by path is not cached once")
		}
	})
}

func TestErrorsAreNotCached(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		session := i.open(t, i.defineCached(t, title(t),
			"globalThis.runs = (globalThis.runs ?? 0) + 1; if (runs < 3) throw new Error('run ' + runs); return runs", 60))
		for n := 1; n < 3; n++ {
			r := i.execute(t, session, "1").hiding(t)
			if e := r.isError(t, 500, "RUNTIME_ERROR", "function"); !strings.Contains(e.Error.Message, fmt.Sprint("run ", n)) {
				t.Errorf("error %d: %s", n, r.body)
			}
		}
		if r := i.execute(t, session, "1"); r.cached(t) || r.result(t) != "3" {
			t.Errorf("got %s", r.body)
		}
		i.execute(t, session, "!").isError(t, 400, "INVALID_REQUEST", "runtime")
	})
}

func TestCachedPlainHTTP(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		name := i.defineCached(t, title(t), `
			globalThis.runs = (globalThis.runs ?? 0) + 1
			const {query, headers, method, path} = event.context.http
			return {statusCode: Number(query.status ?? 200), body: JSON.stringify({runs, path, method, headers: Object.keys(headers).length}),
				headers: {"content-type": "text/plain; charset=utf-8", "x-runs": String(runs), "link": ["<a>", "<b>"],
					...(query.cookie && {"set-cookie": "a=b"}), ...(query.private && {"cache-control": "private"})}}`, 60)
		get := func(rest string, headers ...string) reply {
			return i.send(t, http.MethodGet, "/function/"+name+rest, "", headers...).hiding(t)
		}
		first, again := get("/a?x=1"), get("/a?x=1", "User-Agent", "other", "Accept-Language", "de")
		if string(first.body) != string(again.body) || first.header.Get("Age") != "" || again.header.Get("Age") == "" {
			t.Errorf("first %s %v\nagain %s %v", first.body, first.header, again.body, again.header)
		}
		for _, header := range []string{"Content-Type", "X-Runs", "Link"} {
			if fmt.Sprint(first.header[header]) != fmt.Sprint(again.header[header]) {
				t.Errorf("%s: %q first, %q again", header, first.header[header], again.header[header])
			}
		}
		if !strings.Contains(string(first.body), `"headers":0`) {
			t.Errorf("the function saw headers: %s", first.body)
		}
		for what, request := range map[string]func() reply{
			"a cookie of the caller":   func() reply { return get("/c", "Cookie", "a=b") },
			"a token of the caller":    func() reply { return get("/t", "Authorization", "Bearer 1") },
			"a cookie of the function": func() reply { return get("/s?cookie=1") },
			"a private response":       func() reply { return get("/p?private=1") },
			"an error":                 func() reply { return get("/e?status=503") },
			"nothing cached, please":   func() reply { return get("/n", "X-Cache-Control", "no-cache") },
			"a POST":                   func() reply { return i.send(t, http.MethodPost, "/function/"+name, "{}").hiding(t) },
			"a GET with a body":        func() reply { return i.send(t, http.MethodGet, "/function/"+name+"/b", "{}").hiding(t) },
			"HEAD":                     func() reply { return i.send(t, http.MethodHead, "/function/"+name+"/a?x=1", "").hiding(t) },
		} {
			for range 2 {
				if r := request(); r.header.Get("Age") != "" {
					t.Errorf("%s: cached", what)
				}
			}
		}
	})
}

// A thousand equal requests run the function once.
func TestEqualRequestsRunOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		session := i.open(t, i.defineCached(t, title(t),
			"globalThis.runs = (globalThis.runs ?? 0) + 1; await new Promise(r => setTimeout(r, 1500)); return runs", 60))
		many := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
		defer many.CloseIdleConnections()
		var group errgroup.Group
		for range 1000 {
			group.Go(func() error {
				r, err := sendBy(many, http.MethodPost, i.base+"/api/v1/execute/"+session, `{"params":1}`)
				if err == nil && (r.status != 200 || !strings.HasPrefix(string(r.body), `{"result":1,`)) {
					err = fmt.Errorf("%d %s", r.status, r.body)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// A result is cached up to a size, and a larger one is no error.
func TestLargeResultsStepAside(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		session := i.open(t, i.defineCached(t, title(t), "return 'x'.repeat(event.params)", 60))
		const most = 512 << 10 // faas.MaxCachedResult
		for _, size := range []int{10, 16 << 10, 40 << 10, most - 1000, most, 2 << 20, 5 << 20} {
			for n := range 3 {
				r := i.execute(t, session, fmt.Sprint(size)).hiding(t)
				if got := r.result(t); len(got) != size+2 {
					t.Errorf("%d bytes: %d came", size, len(got))
				}
				if want := size < most && n > 0; r.cached(t) != want {
					t.Errorf("%d bytes, request %d: cached %v", size, n, !want)
				}
			}
		}
	})
}

// Whatever the cap on bodies is, a body above it changes nothing but that the result
// is not cached.
func TestLargeBodiesStepAside(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		session := i.open(t, i.defineCached(t, title(t), "return event.params.length", 60))
		const most = 64 << 10 // faas.MaxCachedBody
		for _, size := range []int{100, most - 1, most, most + 1, 1 << 20, 1<<20 + 1, 2<<20 + 1, 5 << 20} {
			body := `{"params":"` + strings.Repeat("x", size-len(`{"params":""}`)) + `"}`
			for _, chunked := range []bool{false, true} {
				for n := range 2 {
					r := i.post(t, "/api/v1/execute/"+session, body, chunked)
					if got := r.result(t); got != fmt.Sprint(size-len(`{"params":""}`)) {
						t.Errorf("%d bytes, chunked %v: %.200s", size, chunked, r.body)
					}
					// Without the filter nobody reads a body of no announced length.
					want := size <= most && (n == 1 || chunked) && (!chunked || i != extProcOnly.installation)
					if r.cached(t) != want {
						t.Errorf("%d bytes, chunked %v, request %d: cached %v", size, chunked, n, !want)
					}
				}
			}
		}
	})
}

// post sends a body whose length is announced, or in chunks.
func (i *installation) post(t *testing.T, path, body string, chunked bool) reply {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, i.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if chunked {
		request.ContentLength = -1
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	r, err := read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCallsThatLookLikeGRPC: of what is answered in Envoy to them, Envoy makes gRPC, so they
// get nothing from a cache and leave nothing in it.
func TestCallsThatLookLikeGRPC(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		name := i.defineCached(t, title(t), "return [Math.random()]", 60)
		session := i.initializeAs(t, name, map[string]any{})
		for path, method := range map[string]string{"/function/" + name + "/x": http.MethodGet, "/api/v1/execute/" + session: http.MethodPost} {
			body := ""
			if method == http.MethodPost {
				body = `{"params":1}`
			}
			i.send(t, method, path, body)
			for range 3 {
				grpc := i.send(t, method, path, body, "Content-Type", "application/grpc").hiding(t)
				if grpc.header.Get("Age") != "" || grpc.header.Get("Grpc-Status") != "" || !strings.Contains(string(grpc.body), "[0.") {
					t.Errorf("%s %s: %d %v %s", method, path, grpc.status, grpc.header, grpc.body)
				}
				again := i.send(t, method, path, body)
				if again.header.Get("Age") == "" || !strings.Contains(string(again.body), "[0.") {
					t.Errorf("%s %s, after it: %d %v %s", method, path, again.status, again.header, again.body)
				}
			}
		}
	})
}

// TestLargeKeysHideOurHeaders: what the filter cannot keep it hands on as it does all else.
func TestLargeKeysHideOurHeaders(t *testing.T) {
	bothWays(t, func(t *testing.T, i *installation) {
		name := i.defineCached(t, title(t), "return [Math.random()]", 60)
		path := "/runtime/" + strings.Replace(name, "-", "/", 1)
		body := `{"params":"` + strings.Repeat("x", 20<<10) + `"}`
		first := i.send(t, http.MethodPost, path, body, "X-Cache-Control", "max-age=9").hiding(t)
		again := i.send(t, http.MethodPost, path, body, "X-Cache-Control", "max-age=9").hiding(t)
		if first.cached(t) || !again.cached(t) {
			t.Errorf("%s, then %s", first.body, again.body)
		}
		i.send(t, http.MethodPost, path, body, "X-Cache-Control", "max-age=9", "X-Cache-Control", "5").isError(t, http.StatusBadRequest, "INVALID_REQUEST", "extproc")
	})
}
