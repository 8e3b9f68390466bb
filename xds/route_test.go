package xds

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"envoke/internal/envoytest"
	"envoke/internal/faas"
)

// TestRoutes sends each spelling of each path through Envoy and sees who gets it.
func TestRoutes(t *testing.T) {
	s := newStack(t, nil)
	key := faas.NewSessionKey()
	plain := executePath + "/" + string(key.NewID(faas.NodeJS, true))
	other := executePath + "/" + string(key.NewID(faas.NodeJS, false))
	python := executePath + "/" + string(key.NewID(faas.Python, true))

	for _, tt := range []struct {
		name, method, path string
		header             string // one more header: "name: value"
		upstream           string // "host", "api" or empty: Envoy answers
		extProc            bool
		status             int
		allow              string
	}{
		{name: "plain", method: "POST", path: plain, upstream: "host", status: 200},
		{name: "plain with a query", method: "POST", path: plain + "?a=/b", upstream: "host", status: 200},
		{name: "plain that asks for the cache", method: "POST", path: plain, header: "X-Cache-Control: max-age=1", upstream: "host", extProc: true, status: 200},
		{name: "plain with an empty cache header", method: "POST", path: plain, header: "X-Cache-Control: ", upstream: "host", extProc: true, status: 200},
		{name: "not plain", method: "POST", path: other, upstream: "host", extProc: true, status: 200},
		{name: "a language that is not served", method: "POST", path: python, upstream: "host", extProc: true, status: 200},
		{name: "upper case", method: "POST", path: executePath + "/" + strings.ToUpper(plain[len(executePath)+1:]), upstream: "host", extProc: true, status: 200},
		{name: "plain and more", method: "POST", path: plain + "/x", upstream: "host", extProc: true, status: 200},
		{name: "plain and a slash", method: "POST", path: plain + "/", upstream: "host", extProc: true, status: 200},
		{name: "plain and a parameter", method: "POST", path: plain + ";a=b", upstream: "host", extProc: true, status: 200},
		{name: "dots are resolved first", method: "POST", path: "/api/v1/x/../execute/" + plain[len(executePath)+1:], upstream: "host", status: 200},
		{name: "slashes are merged first", method: "POST", path: "//api//v1//execute//" + plain[len(executePath)+1:], upstream: "host", status: 200},
		{name: "an escaped slash", method: "POST", path: executePath + "%2F" + plain[len(executePath)+1:], status: 400},
		{name: "initialize", method: "POST", path: initializePath, upstream: "host", extProc: true, status: 200},
		{name: "one shot", method: "POST", path: executePath, upstream: "host", extProc: true, status: 200},
		{name: "session", method: "GET", path: sessionsPath + "x", upstream: "api", status: 200},
		{name: "session, headers only", method: "HEAD", path: sessionsPath + "x", status: 200},
		{name: "delete a session", method: "DELETE", path: sessionsPath + "x", upstream: "api", status: 200},
		{name: "functions", method: "GET", path: functionsPath + "?page=1", upstream: "api", status: 200},
		{name: "function", method: "GET", path: functionsPath + "/nodejs-a", upstream: "api", status: 200},
		{name: "function by version", method: "GET", path: functionsPath + "/nodejs-a@12", upstream: "api", status: 200},
		{name: "function by version, escaped", method: "GET", path: functionsPath + "/nodejs-a%4012", upstream: "api", status: 200},
		{name: "function by alias", method: "GET", path: functionsPath + "/nodejs-a:prod", upstream: "api", status: 200},
		{name: "function by alias, escaped", method: "GET", path: functionsPath + "/nodejs-a%3Aprod", upstream: "api", status: 200},
		{name: "a name with an escaped slash", method: "GET", path: functionsPath + "/nodejs-a%2Fb", status: 400},
		{name: "register", method: "POST", path: functionsPath, upstream: "api", status: 200},
		{name: "new version", method: "PUT", path: functionsPath + "/nodejs-a", upstream: "api", status: 200},
		{name: "delete a function", method: "DELETE", path: functionsPath + "/nodejs-a", upstream: "api", status: 200},
		{name: "versions", method: "GET", path: functionsPath + "/nodejs-a/versions", upstream: "api", status: 200},
		{name: "roll back", method: "POST", path: functionsPath + "/nodejs-a/rollback", upstream: "api", status: 200},
		{name: "alias", method: "PUT", path: functionsPath + "/nodejs-a/aliases/prod", upstream: "api", status: 200},
		{name: "a method that control refuses", method: "PATCH", path: functionsPath + "/nodejs-a", upstream: "api", status: 200},
		{name: "checks are not public", method: "POST", path: "/check", status: 404},
		{name: "function by path", method: "POST", path: "/runtime/nodejs/a", upstream: "host", status: 200},
		{name: "version by path", method: "POST", path: "/runtime/nodejs/a%4012", upstream: "host", status: 200},
		{name: "get of a function by path", method: "GET", path: "/runtime/nodejs/a", status: 405, allow: "POST"},
		{name: "function by path in a language that is not served", method: "POST", path: "/runtime/python/a", status: 404},
		{name: "function by path in no language", method: "GET", path: "/runtime/nodejs", status: 404},
		{name: "plain HTTP", method: "POST", path: "/function/nodejs-a", upstream: "host", status: 200},
		{name: "plain HTTP, get and more path", method: "GET", path: "/function/nodejs-a:prod/b/c?d=e", upstream: "host", extProc: true, status: 200},
		{name: "plain HTTP, get by somebody", method: "GET", path: "/function/nodejs-a", header: "Authorization: Bearer 1", upstream: "host", status: 200},
		{name: "plain HTTP, get with a cookie", method: "GET", path: "/function/nodejs-a", header: "Cookie: a=b", upstream: "host", status: 200},
		{name: "plain HTTP, get of nothing cached", method: "GET", path: "/function/nodejs-a", header: "X-Cache-Control: no-cache", upstream: "host", status: 200},
		{name: "plain HTTP, get of what is cached", method: "GET", path: "/function/nodejs-a", header: "X-Cache-Control: max-age=9", upstream: "host", extProc: true, status: 200},
		{name: "function by path, cached", method: "POST", path: "/runtime/nodejs/a", header: "X-Cache-Control: max-age=9", upstream: "host", extProc: true, status: 200},
		{name: "plain HTTP, any method", method: "PURGE", path: "/function/nodejs-a", upstream: "host", status: 200},
		{name: "plain HTTP, headers only", method: "HEAD", path: "/function/nodejs-a", status: 200},
		{name: "plain HTTP in a language that is not served", method: "GET", path: "/function/python-a", status: 404},
		{name: "plain HTTP of no function", method: "GET", path: "/function/", status: 404},
		{name: "the older protocol is not public", method: "POST", path: "/execute", status: 404},
		{name: "health", method: "GET", path: healthPath, upstream: "api", status: 200},
		{name: "get of a plain execute", method: "GET", path: plain, status: 405, allow: "POST"},
		{name: "get of initialize", method: "GET", path: initializePath, status: 405, allow: "POST"},
		{name: "delete of one shot", method: "DELETE", path: executePath, status: 405, allow: "POST"},
		{name: "post of a session", method: "POST", path: sessionsPath + "x", status: 405, allow: "GET, HEAD, DELETE"},
		{name: "delete of all functions", method: "DELETE", path: functionsPath, status: 405, allow: "GET, HEAD, POST"},
		{name: "patch of health", method: "PATCH", path: healthPath, status: 405, allow: "GET, HEAD"},
		{name: "root", method: "GET", path: "/", status: 404},
		{name: "a path that begins like another", method: "GET", path: functionsPath + "x", status: 404},
		{name: "admin paths are not public", method: "GET", path: "/metrics", status: 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name, value, _ := strings.Cut(tt.header, ": ")
			reply := s.do(tt.method, tt.path, "{}", appendHeader(name, value)...)
			if reply.Status != tt.status || reply.Header.Get("Allow") != tt.allow {
				t.Fatalf("status %d, allow %q, want %d, %q; body %s",
					reply.Status, reply.Header.Get("Allow"), tt.status, tt.allow, reply.Body)
			}
			if tt.upstream == "" {
				return
			}
			got := decode(t, reply)
			if !strings.HasPrefix(got.Upstream, tt.upstream) || (got.Header.Get("x-envoke-extproc") != "") != tt.extProc {
				t.Errorf("got to %s, ext_proc %q; want %s, %v",
					got.Upstream, got.Header.Get("x-envoke-extproc"), tt.upstream, tt.extProc)
			}
		})
	}
}

// TestMappedNames: only ext_proc knows the language of a name.
func TestMappedNames(t *testing.T) {
	s := newStack(t, func(s *State) { s.MappedNames = true })
	for path, extProc := range map[string]bool{
		functionPath + "image-resize": true, functionPath + "nodejs-a/b": true, runtimePath + "nodejs/a": false,
	} {
		got := decode(t, s.do("POST", path, "{}"))
		if !strings.HasPrefix(got.Upstream, "host") || (got.Header.Get("x-envoke-extproc") != "") != extProc {
			t.Errorf("%s got to %s, by ext_proc %q; want %v", path, got.Upstream, got.Header.Get("x-envoke-extproc"), extProc)
		}
	}
}

func appendHeader(name, value string) []string {
	if name == "" {
		return nil
	}
	return []string{name, value}
}

// TestAffinity sees the executes of a session meet the host that its initialize met.
func TestAffinity(t *testing.T) {
	s := newStack(t, nil)
	key := faas.NewSessionKey()
	met := map[string]int{}
	for i := range 40 {
		plain := i%2 == 0
		id := string(key.NewID(faas.NodeJS, plain))
		path := initializePath
		if i%4 < 2 {
			path = executePath // one shot
		}
		first := decode(t, s.do("POST", path, "{}", "Language-Title", "session "+id)).Upstream
		then := decode(t, s.do("POST", executePath+"/"+id, "{}")).Upstream
		if first != then {
			t.Errorf("%s went to %s, its execute (plain %v) to %s", path, first, plain, then)
		}
		met[first]++
	}
	if len(met) != 2 {
		t.Errorf("40 sessions met %v, want both hosts", met)
	}
}

// TestSpoofedHeaders sends what only we may say.
func TestSpoofedHeaders(t *testing.T) {
	s := newStack(t, nil)
	spoof := []string{
		ClusterHeader, "nowhere", HashHeader, "x", SessionHeader, "mine", FunctionHeader, "python-a", "X-Envoke-Anything", "x", StartHeader, "1",
		"X-User-ID", "root", "x-envoy-upstream-rq-timeout-ms", "1", "x-envoy-internal", "true",
	}
	for _, path := range []string{
		executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true)), // no ext_proc
		executePath + "/other",
		initializePath,
		functionPath + "nodejs-a", // no ext_proc either
	} {
		before := time.Now()
		reply := s.do("POST", path, "{}", spoof...)
		got := decode(t, reply)
		checkStart(t, got.Header.Values(StartHeader), before)
		for _, name := range []string{HashHeader, SessionHeader, FunctionHeader, "X-Envoke-Anything", "X-User-ID", "X-Envoy-Internal", "X-Envoy-Upstream-Rq-Timeout-Ms"} {
			if value := got.Header.Get(name); value != "" {
				t.Errorf("%s: the host got %s: %s", path, name, value)
			}
		}
		if cluster := got.Header.Get(ClusterHeader); cluster == "nowhere" {
			t.Errorf("%s: the client named its cluster", path)
		}
		for name := range reply.Header {
			if strings.HasPrefix(name, "X-Envo") {
				t.Errorf("%s: the client got %s", path, name)
			}
		}
		if server := reply.Header.Get("Server"); server != "envoke" {
			t.Errorf("%s: server %q", path, server)
		}
	}
}

// checkStart fails unless a request began, by what its host was told, since before.
func checkStart(t *testing.T, got []string, before time.Time) {
	t.Helper()
	text := strings.Join(got, " ")
	start, err := strconv.ParseInt(text, 10, 64)
	if err != nil || start < before.UnixMicro() || start > time.Now().UnixMicro() {
		t.Errorf("the host got the start %q, want microseconds since %d", text, before.UnixMicro())
	}
}

// TestRequestID sees a caller's id kept and a missing one made.
func TestRequestID(t *testing.T) {
	s := newStack(t, nil)
	for _, id := range []string{"", "mine-1", "with \"quotes\" and \\"} {
		reply := s.do("GET", "/nowhere", "", "X-Request-ID", id)
		got := reply.Header.Get("X-Request-ID")
		if id != "" && got != id || got == "" {
			t.Errorf("sent %q, got %q", id, got)
		}
		if inBody := errorOf(t, reply).RequestID; inBody != got {
			t.Errorf("body has %q, header %q", inBody, got)
		}
	}
}

func TestDoubledHost(t *testing.T) {
	s := newStack(t, nil)
	reply := envoytest.Raw(t, s.Addr, "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
	if reply.Status != http.StatusBadRequest {
		t.Errorf("status %d: %s", reply.Status, reply.Body)
	}
}

// TestExpect sees 100-continue answered before the body is sent, and any other
// expectation left out, as RFC 9110 (10.1.1) lets a server do.
func TestExpect(t *testing.T) {
	s := newStack(t, nil)
	for expectation, want := range map[string]int{
		"100-continue":      http.StatusContinue,
		"999":               http.StatusOK,
		"100-continue, 999": http.StatusOK,
	} {
		for _, path := range []string{initializePath, executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))} {
			reply := envoytest.Raw(t, s.Addr, "POST "+path+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+
				"Content-Length: 2\r\nExpect: "+expectation+"\r\n\r\n{}")
			if reply.Status != want {
				t.Errorf("%s, Expect: %s: status %d %s, want %d", path, expectation, reply.Status, reply.Body, want)
			}
		}
	}
}

// TestEachIDHasItsRoute: ext_proc lets an execute go on without naming a cluster, so
// the routes must take the very ids that are ids.
func TestEachIDHasItsRoute(t *testing.T) {
	s := State{}
	for _, language := range faas.Languages() {
		s.Runtimes = append(s.Runtimes, Runtime{Language: language})
	}
	routes := apiRoutes(s)
	key := faas.NewSessionKey()
	for _, language := range faas.Languages() {
		for _, plain := range []bool{true, false} {
			id := []byte(key.NewID(language, plain))
			for at := range id {
				for _, c := range "0123456789abcdefgAF-/ \n" {
					id := faas.SessionID(id[:at]) + faas.SessionID(c) + faas.SessionID(id[at+1:])
					want := ""
					if of, ok := id.Language(); ok {
						want = RuntimeCluster(of)
					}
					if got := routeOf(routes, "POST", executePath+"/"+string(id)); got.GetRoute().GetCluster() != want {
						t.Fatalf("%q takes the route %q, want one to %q", id, got.GetName(), want)
					}
				}
			}
		}
	}
}
