package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"envoke/filter/host"
	"envoke/filter/hosttest"
	"envoke/internal/envoytest"
	"envoke/internal/faas"
)

// plugin is what Envoy calls, as Go or as Wasm.
type plugin struct {
	configure       func(context, size uint32) bool
	requestHeaders  func(stream, headers uint32, last bool) host.Action
	requestBody     func(stream, size uint32, last bool) host.Action
	responseHeaders func(stream, headers uint32, last bool) host.Action
	responseBody    func(stream, size uint32, last bool) host.Action
}

var asGo = plugin{onConfigure, onRequestHeaders, onRequestBody, onResponseHeaders, onResponseBody}

func asWasm(filter *hosttest.Filter) plugin {
	callback := func(name string) func(stream, n uint32, last bool) host.Action {
		return func(stream, n uint32, last bool) host.Action {
			end := uint64(0)
			if last {
				end = 1
			}
			return host.Action(filter.Call(name, uint64(stream), uint64(n), end))
		}
	}
	return plugin{
		configure: func(context, size uint32) bool {
			return filter.Call("proxy_on_configure", uint64(context), uint64(size)) == 1
		},
		requestHeaders:  callback("proxy_on_request_headers"),
		requestBody:     callback("proxy_on_request_body"),
		responseHeaders: callback("proxy_on_response_headers"),
		responseBody:    callback("proxy_on_response_body"),
	}
}

// envoy plays Envoy's part: requests through a plugin to an upstream.
type envoy struct {
	*host.Fake
	plugin   plugin
	streams  uint32
	upstream func(key string) upstreamReply
}

// upstreamReply is what comes from behind the filter.
type upstreamReply struct {
	status, keep, body string
	headers            [][2]string
}

func newEnvoy(plugin plugin, slots int) *envoy {
	e := &envoy{Fake: &host.Fake{Time: time.Unix(1_000_000, 0), Config: fmt.Append(nil, slots)}, plugin: plugin}
	host.Use(e.Fake)
	plugin.configure(1, uint32(len(e.Config)))
	return e
}

// ask sends a request. The body comes in pieces, the last of which may be empty, as
// Envoy's often is. It returns what the caller gets and whether the filter answered.
func (e *envoy) ask(headers [][2]string, pieces ...string) (reply host.LocalResponse, hit bool) {
	e.streams++
	e.Local, e.Response = nil, host.FakeMessage{}
	e.Request = host.FakeMessage{Headers: headers}
	action := e.plugin.requestHeaders(e.streams, uint32(len(headers)), len(pieces) == 0)
	for n, piece := range pieces {
		if e.Local != nil {
			break
		}
		if e.Request.Body = append(e.Request.Body, piece...); action == host.Continue {
			e.Request.Body = []byte(piece) // what went on is Envoy's no more
		}
		action = e.plugin.requestBody(e.streams, uint32(len(e.Request.Body)), n == len(pieces)-1)
	}
	if e.Local != nil {
		return *e.Local, true
	}
	if action != host.Continue {
		panic("the request never goes on")
	}
	key := ""
	for _, h := range e.Request.Headers {
		if h[0] == callKeyHeader {
			key = h[1]
		}
	}
	return e.respond(e.upstream(key)), false
}

func (e *envoy) respond(r upstreamReply) host.LocalResponse {
	e.Response.Headers = append([][2]string{{":status", r.status}}, r.headers...)
	if r.keep != "" {
		e.Response.Headers = append(e.Response.Headers, [2]string{keepHeader, r.keep})
	}
	e.plugin.responseHeaders(e.streams, uint32(len(e.Response.Headers)), false)
	headers := e.Response.Headers
	e.Response.Body = []byte(r.body)
	e.plugin.responseBody(e.streams, uint32(len(r.body)), false)
	e.plugin.responseBody(e.streams, uint32(len(r.body)), true)
	return host.LocalResponse{Headers: headers, Body: r.body}
}

func post(path string, more ...string) [][2]string {
	headers := [][2]string{{":method", "POST"}, {":path", path}}
	for n := 0; n < len(more); n += 2 {
		headers = append(headers, [2]string{more[n], more[n+1]})
	}
	return headers
}

const session = "/api/v1/execute/0a1b2c3d-0000-8110-8000-000000000000"

// bothForms runs a test of the plugin as Go and as Wasm, which is compiled once.
func bothForms(t *testing.T, test func(t *testing.T, plugin plugin)) {
	t.Helper()
	t.Run("Go", func(t *testing.T) { test(t, asGo) })
	t.Run("Wasm", func(t *testing.T) { test(t, asWasm(hosttest.Load(t, wasm(t)))) })
}

var compiled []byte

func wasm(t *testing.T) []byte {
	t.Helper()
	if compiled == nil {
		compiled = envoytest.Wasm(t, ".")
	}
	return compiled
}

// numbered answers every call with another number and lets it be kept.
func numbered() func(string) upstreamReply {
	n := 0
	return func(string) upstreamReply {
		n++
		return upstreamReply{
			status: "200", keep: "60000,0", body: fmt.Sprintf(`{"result":%d,"cached":false}`, n),
			headers: [][2]string{{"content-type", "application/json"}, {"x-request-id", "1"}, {"x-two", "a"}, {"x-two", "b"}, {"x-content-type-options", "nosniff"}, {"strict-transport-security", "max-age=1"}, {"vary", "origin"}},
		}
	}
}

func TestKept(t *testing.T) {
	bothForms(t, func(t *testing.T, plugin plugin) {
		e := newEnvoy(plugin, 64)
		e.upstream = numbered()
		first, hit := e.ask(post(session), `{"params":`, `1}`, ``)
		if hit {
			t.Fatal("the first is a hit")
		}
		for _, h := range first.Headers {
			if h[0] == keepHeader {
				t.Error("the caller sees what was for the filter")
			}
		}
		e.Time = e.Time.Add(800 * time.Millisecond)
		again, hit := e.ask(post(session), `{"params":1}`)
		want := `{"result":1,"cached":true}`
		headers := fmt.Sprint([][2]string{{"server-timing", `cache;desc="filter"`}, {"content-type", "application/json"}, {"x-two", "a"}, {"x-two", "b"}, {"age", "0"}})
		if !hit || again.Body != want || again.Status != 200 || again.Details != "envoke_filter" || fmt.Sprint(again.Headers) != headers {
			t.Errorf("hit %v: %+v", hit, again)
		}
		e.Time = e.Time.Add(101 * time.Millisecond)
		if got, hit := e.ask(post(session), `{"params":1}`); hit {
			t.Errorf("older than 900 ms: %+v", got)
		}
	})
}

// Who differs in anything that counts gets no answer of another's, whatever share a
// slot: here all do.
func TestOneSlot(t *testing.T) {
	bothForms(t, func(t *testing.T, plugin plugin) {
		e := newEnvoy(plugin, 1)
		e.upstream = func(key string) upstreamReply {
			return upstreamReply{status: "200", keep: "60000,0", body: key}
		}
		type request struct {
			headers [][2]string
			body    string
		}
		requests := []request{
			{post(session), "1"},
			{post(session), "2"},
			{post(session + "?a"), "1"},
			{post(session, "authorization", "Bearer 1"), "1"},
			{post(session, "authorization", "Bearer 2"), "1"},
			{post(session, "authorization", "Bearer 1", "authorization", "Bearer 2"), "1"},
			{post(session, "cookie", "Bearer 1"), "1"},
			{post(session, "x-api-key", "Bearer 1"), "1"},
			{post(session, "x-user-id", "1"), "1"},
			{post(session, "x-cache-control", "max-age=9"), "1"},
			{post("/runtime/nodejs/a", "x-cache-control", "max-age=9"), "1"},
			{[][2]string{{":method", "GET"}, {":path", "/function/nodejs-a"}}, ""},
		}
		ask := func(r request) (host.LocalResponse, bool) {
			if r.body == "" {
				return e.ask(r.headers)
			}
			return e.ask(r.headers, r.body)
		}
		for _, one := range requests {
			for _, other := range requests {
				own, _ := ask(one)
				if again, hit := ask(one); !hit || again.Body != own.Body {
					t.Fatalf("%v twice: hit %v, %q, then %q", one, hit, own.Body, again.Body)
				}
				got, hit := ask(other)
				if same := fmt.Sprint(one) == fmt.Sprint(other); hit != same || same != (got.Body == own.Body) &&
					!strings.Contains(fmt.Sprint(one, other), "max-age") { // one key, and yet no hit
					t.Errorf("%v, then %v: hit %v", one, other, hit)
				}
			}
		}
	})
}

func TestNotKept(t *testing.T) {
	kept := upstreamReply{status: "200", keep: "60000,0", body: "x"}
	large := kept
	large.body = strings.Repeat("x", maxEntry)
	for _, tt := range []struct {
		name    string
		headers [][2]string
		body    string
		reply   upstreamReply
	}{
		{"nobody says that it may be", post(session), "1", upstreamReply{status: "200", body: "x"}},
		{"no longer", post(session), "1", upstreamReply{status: "200", keep: "0,0", body: "x"}},
		{"not by its caller", post(session, "x-cache-control", "no-cache"), "1", kept},
		{"of no age", post(session, "x-cache-control", "max-age=0"), "1", kept},
		{"of no age that makes sense", post(session, "x-cache-control", "max-age=x"), "1", kept},
		{"large", post(session), "1", large},
		{"of a large body", post(session), strings.Repeat("x", faas.MaxCachedBody+1), kept},
		{"of a large body, as it says", post(session, "content-length", fmt.Sprint(faas.MaxCachedBody+1)), "1", kept},
		{"of another path", post("/api/v1/functions"), "1", kept},
		{"of a POST by plain HTTP", post("/function/nodejs-a"), "1", kept},
		{"of a GET with a body", [][2]string{{":method", "GET"}, {":path", "/function/nodejs-a"}}, "1", kept},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnvoy(asGo, 64)
			e.upstream = func(string) upstreamReply { return tt.reply }
			for range 3 {
				if got, hit := e.ask(tt.headers, tt.body); hit {
					t.Fatalf("kept: %+v", got)
				}
			}
		})
	}
}

// A body that comes by and by steps aside as soon as it is too large: what came is let
// go, and ext_proc is told not to ask for it.
func TestLargeBodyGoesOn(t *testing.T) {
	e := newEnvoy(asGo, 64)
	keys := []string{}
	e.upstream = func(key string) upstreamReply {
		keys = append(keys, key)
		return upstreamReply{status: "200", body: "x"}
	}
	half := strings.Repeat("x", faas.MaxCachedBody/2)
	e.ask(post(session), half, half, "")
	e.ask(post(session), half, half, "x", half, "")
	if len(keys) != 2 || len(keys[0]) != 64 || keys[1] != "none" {
		t.Errorf("keys %q", keys)
	}
}

// Once ext_proc has said that a function's results are not cached, its calls go past it,
// for as long as a result would be kept.
func TestUncachedFunctions(t *testing.T) {
	e := newEnvoy(asGo, 64)
	past := false
	e.upstream = func(string) upstreamReply {
		past = strings.Contains(fmt.Sprint(e.Request.Headers), uncachedHeader)
		return upstreamReply{status: "200", body: "x"}
	}
	get := func(path string, more ...string) bool {
		headers := post(path, more...)
		headers[0][1] = "GET"
		e.ask(headers)
		return past
	}
	for range 2 {
		if get("/function/nodejs-a") {
			t.Fatal("nobody has said that it is not cached")
		}
	}
	e.Properties = map[string]string{"metadata\x00filter_metadata\x00envoke\x00uncached": "1"}
	if get("/function/nodejs-a") {
		t.Fatal("the first goes past")
	}
	if !get("/function/nodejs-a") || !get("/function/nodejs-a/b") || !get("/function/nodejs-a?c") {
		t.Error("later ones do not go past")
	}
	if get("/function/nodejs-ab") || get("/function/nodejs-a", "x-cache-control", "max-age=9") {
		t.Error("others go past")
	}
	e.Time = e.Time.Add(maxTrusted)
	if get("/function/nodejs-a") {
		t.Error("it goes past for ever")
	}
}

// The age that a result has already counts for those who ask for one.
func TestMaxAge(t *testing.T) {
	e := newEnvoy(asGo, 64)
	e.upstream = func(string) upstreamReply {
		return upstreamReply{status: "200", keep: "60000,5001", body: "x", headers: [][2]string{{"age", "5"}}}
	}
	ask := func(age string) bool {
		_, hit := e.ask(post(session, "x-cache-control", "max-age="+age), "1")
		return hit
	}
	if ask("9") || ask("4") || ask("5") || !ask("6") || !ask("1000") {
		t.Error("a result of a little over five seconds is not for those who take six and more")
	}
}

// Calls whose numbers meet in the table of those under way take each other's place.
func TestCallsThatMeet(t *testing.T) {
	e := newEnvoy(asGo, 64)
	e.upstream = numbered()
	e.Request.Headers = post(session)
	e.plugin.requestHeaders(7, 2, false)
	e.Request.Headers = post(session + "?other")
	e.plugin.requestHeaders(7+uint32(len(calls)), 2, false)
	e.Request.Body = []byte("1")
	if action := e.plugin.requestBody(7, 1, true); action != host.Continue || len(e.Request.Headers) != 2 {
		t.Errorf("the one that lost its place: action %v, headers %q", action, e.Request.Headers)
	}
	if action := e.plugin.requestBody(7+uint32(len(calls)), 1, true); action != host.Continue || len(e.Request.Headers) != 3 {
		t.Errorf("the one that took it: action %v, headers %q", action, e.Request.Headers)
	}
}

// Any bytes in a slot are an entry or nothing.
func FuzzEntry(f *testing.F) {
	whole := entry{made: 1, until: 2, status: 200, key: []byte("key"), headers: host.NewPairs("a", "b"), body: []byte("x")}
	f.Add(whole.append(nil))
	f.Add([]byte{})
	f.Add(make([]byte, fixedSize))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e entry
		if !e.parse(raw) {
			return
		}
		var again entry
		if !again.parse(e.append(nil)) || string(again.key) != string(e.key) || again.until != e.until ||
			string(again.headers) != string(e.headers) || string(again.body) != string(e.body) {
			t.Errorf("%q became %+v", raw, again)
		}
	})
}

func BenchmarkHit(b *testing.B) {
	e := newEnvoy(asGo, 64)
	e.upstream = numbered()
	e.ask(post(session), "1")
	b.ReportAllocs()
	for b.Loop() {
		e.Local = nil
		e.Request = host.FakeMessage{Headers: post(session), Body: []byte("1")}
		e.plugin.requestHeaders(1, 2, false)
		e.plugin.requestBody(1, 1, true)
		if e.Local == nil {
			b.Fatal("no hit")
		}
	}
}
