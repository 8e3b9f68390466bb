package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/routing"
	"envoke/internal/testrig"
)

// shop is a service that says what it got.
func shop(t *testing.T) routing.Upstream {
	t.Helper()
	return service(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Path", r.URL.RequestURI())
		for name, values := range r.Header {
			w.Header()["X-Got-"+name] = values
		}
		_, _ = io.WriteString(w, "the shop")
	})
}

// service is an upstream called shop.
func service(t *testing.T, handle http.HandlerFunc) routing.Upstream {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	host, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	at := routing.UpstreamEndpoint{Host: host}
	_, _ = fmt.Sscan(port, &at.Port)
	return routing.Upstream{Name: "shop", Endpoints: []routing.UpstreamEndpoint{at}}
}

// declare puts a declaration and waits until the path is answered with the status.
func (i *installation) declare(t *testing.T, r routing.Routing, path string, status int) {
	t.Helper()
	i.declareAs(t, nil, r)
	testrig.Eventually(t, "the route", func() bool { return i.send(t, http.MethodGet, path, "").status == status })
}

// declareAs puts a declaration as a caller who may.
func (i *installation) declareAs(t *testing.T, caller []string, r routing.Routing) {
	t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	reply := i.send(t, http.MethodPut, "/api/v1/config", string(body), append(caller, "Content-Type", "application/json")...)
	if reply.status != http.StatusOK {
		t.Fatalf("declare: %d %s", reply.status, reply.body)
	}
}

func ruleOf(path string, ref routing.BackendRef, hooks routing.Hooks) routing.Rule {
	return routing.Rule{
		Matches: []routing.Match{{Path: &routing.PathMatch{Value: path}}}, BackendRefs: []routing.BackendRef{ref}, Hooks: hooks,
	}
}

func hookOf(function string, mode routing.FailureMode) *routing.Hook {
	return &routing.Hook{Function: function, Deadline: routing.Duration(5 * time.Second), FailureMode: mode}
}

// TestHookedRoute has functions guard a service, as operators declare it.
func TestHookedRoute(t *testing.T) {
	i := serve(t)
	i.must(t, 201, http.MethodPost, functionsPath, define(t, "guard", `
		if (event.params.headers.want === "throw") throw new Error("mine");
		console.log("looked at " + event.params.path);
		return event.params.headers.authorization === "Bearer good" ? { headers: { set: { "x-guarded": "yes" } } } : { statusCode: 401, body: "who are you?" };
	`))
	i.must(t, 201, http.MethodPost, functionsPath, define(t, "mark", `return { headers: { set: { "x-marked": String(event.params.status) } } }`))
	i.must(t, 201, http.MethodPost, functionsPath, define(t, "backend", `return { statusCode: 200, body: event.context.http }`))
	to := routing.BackendRef{Name: "shop"}
	hooks := routing.Hooks{Request: hookOf("nodejs-guard", routing.FailClosed), Response: hookOf("nodejs-mark", routing.FailOpen)}
	i.declare(t, routing.Routing{Upstreams: []routing.Upstream{shop(t)}, Routes: []routing.Route{{Name: "shop", Rules: []routing.Rule{
		ruleOf("/shop", to, hooks), ruleOf("/free", to, routing.Hooks{}),
		ruleOf("/fn", routing.BackendRef{Kind: routing.ToFunction, Name: "nodejs-backend"}, routing.Hooks{}),
	}}}}, "/shop", http.StatusUnauthorized)

	r := i.send(t, http.MethodGet, "/shop/7?a=b", "", "Authorization", "Bearer good", "X-Request-ID", "guarded-1")
	if r.status != 200 || string(r.body) != "the shop" || r.header.Get("X-Got-X-Guarded") != "yes" || r.header.Get("X-Marked") != "200" || r.header.Get("X-Path") != "/shop/7?a=b" {
		t.Errorf("%d %s %v", r.status, r.body, r.header)
	}
	if r := i.send(t, http.MethodGet, "/shop", "", "Authorization", "Bearer bad"); r.status != 401 || string(r.body) != "who are you?" || r.header.Get("X-Marked") != "401" {
		t.Errorf("%d %s %v", r.status, r.body, r.header)
	}
	i.send(t, http.MethodGet, "/shop", "", "Want", "throw", "X-Request-ID", "guarded-2").isError(t, 503, "UNAVAILABLE", "function")
	testrig.Eventually(t, "what the hook printed", func() bool {
		return regexp.MustCompile(`function output" request_id=guarded-1 .*looked at /shop/7\?a=b`).MatchString(i.stderr.String())
	})
	// Nobody but Envoy says whose hook it is, or behind which route a function is.
	spoofed := []string{
		"X-Envoke-Function", "nodejs-backend", "X-Envoke-Route", "evil", "X-Envoke-Phase", "response", "X-Envoke-Failure-Mode", "open", "X-Envoke-Deadline", "1",
	}
	if r := i.send(t, http.MethodGet, "/shop", "", spoofed...); r.status != 401 {
		t.Errorf("spoofed: %d %s", r.status, r.body)
	}
	r = i.send(t, http.MethodGet, "/free", "", spoofed...)
	if r.status != 200 || r.header.Get("X-Marked") != "" {
		t.Errorf("without hooks: %d %v", r.status, r.header)
	}
	for name := range r.header {
		if strings.HasPrefix(name, "X-Got-X-Envoke-") {
			t.Errorf("the service got %s", name)
		}
	}
	r = i.send(t, http.MethodGet, "/fn/a/b?c=d", "", append(spoofed, "X-Envoke-Function", "nodejs-calculator")...)
	var got struct{ Path, Route string }
	if err := json.Unmarshal(r.body, &got); err != nil || r.status != 200 || got.Path != "/fn/a/b" || !strings.HasPrefix(got.Route, "route/shop/") {
		t.Errorf("a function behind a route: %d %s", r.status, r.body)
	}
	if r := i.send(t, http.MethodGet, "/orders", "", spoofed...); r.status != 404 {
		t.Errorf("no route: %d %s", r.status, r.body)
	}
}

// TestHooksKnowWhoCalls: where a route has callers checked, its hooks are told who it is and get
// nothing of what was shown. Else they see that, but of a key of ours no more than its id.
func TestHooksKnowWhoCalls(t *testing.T) {
	d := openDoorWith(t)
	admin := d.caller(t, "admin")
	d.mustAs(t, admin, 201, "POST "+functionsPath, define(t, "who", `
		const { headers, phase } = event.params;
		const shown = headers["authorization"] ?? headers["x-api-key"] ?? "nothing";
		return { headers: { set: { ["x-" + phase]: (event.context.user_id ?? "nobody") + " by " + shown } } };
	`))
	hooks := routing.Hooks{Request: hookOf("nodejs-who", routing.FailClosed), Response: hookOf("nodejs-who", routing.FailClosed)}
	checked := ruleOf("/checked", routing.BackendRef{Name: "shop"}, hooks)
	checked.Access.Scopes = []string{"execute:nodejs"}
	d.declareAs(t, admin, routing.Routing{Upstreams: []routing.Upstream{shop(t)}, Routes: []routing.Route{{Name: "shop", Rules: []routing.Rule{
		checked, ruleOf("/free", routing.BackendRef{Name: "shop"}, hooks),
	}}}})
	testrig.Eventually(t, "the routes", func() bool { return d.send(t, http.MethodGet, "/free", "").status == 200 })
	masked, _, _ := strings.Cut(strings.TrimPrefix(d.key, "ek_"), "_")
	for _, tt := range []struct {
		caller, path string
		status       int
		want         string // by the request's hook, and the response's
	}{
		{"ada", "/checked", 200, "ada by nothing, ada by nothing"},
		{"key", "/checked", 200, "ada by nothing, ada by nothing"},
		{"nobody", "/checked", 401, ", nobody by nothing"}, // Envoy's own answer passes the response's hook
		{"python", "/checked", 403, ", python by nothing"},
		{"nobody", "/free", 200, "nobody by nothing, nobody by nothing"},
		{"key", "/free", 200, "nobody by ek_" + masked + "_***, nobody by nothing"},
	} {
		r := d.send(t, http.MethodGet, tt.path, "", append(d.caller(t, tt.caller), "X-User-ID", "root")...)
		if got := r.header.Get("X-Got-X-Request") + ", " + r.header.Get("X-Response"); r.status != tt.status || got != tt.want {
			t.Errorf("%s at %s: %d, %q, want %q", tt.caller, tt.path, r.status, got, tt.want)
		}
	}
}

// TestHookedRouteOfADeadHost has a host hang, kills it and starts it again, all with hooks that
// need it. Control is away the whole time.
func TestHookedRouteOfADeadHost(t *testing.T) {
	p := startParts(t)
	p.must(t, 201, http.MethodPost, functionsPath, define(t, "mark", `return { headers: { set: { "x-guarded": "yes" } } }`))
	to := routing.BackendRef{Name: "shop"}
	closed, open := hookOf("nodejs-mark", routing.FailClosed), hookOf("nodejs-mark", routing.FailOpen)
	closed.Deadline, open.Deadline = routing.Duration(time.Second), routing.Duration(time.Second)
	p.declare(t, routing.Routing{Upstreams: []routing.Upstream{shop(t)}, Routes: []routing.Route{{Name: "shop", Rules: []routing.Rule{
		ruleOf("/closed", to, routing.Hooks{Request: closed}), ruleOf("/open", to, routing.Hooks{Request: open}),
	}}}}, "/closed", http.StatusOK)
	guarded := func() bool { return p.send(t, http.MethodGet, "/closed", "").header.Get("X-Got-X-Guarded") == "yes" }
	without := func(what string) {
		t.Helper()
		p.send(t, http.MethodGet, "/closed", "").isError(t, http.StatusServiceUnavailable, "UNAVAILABLE", "runtime")
		if r := p.send(t, http.MethodGet, "/open", ""); r.status != 200 || r.header.Get("X-Got-X-Guarded") != "" {
			t.Errorf("%s, open: %d %v", what, r.status, r.header)
		}
	}
	signal := func(to *process, s syscall.Signal) {
		t.Helper()
		if err := to.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	host := p.hosts[faas.NodeJS]
	signal(p.control, syscall.SIGKILL)
	_ = p.control.Wait()
	if !guarded() {
		t.Error("without control nobody is guarded")
	}
	signal(host, syscall.SIGSTOP)
	without("a host that hangs")
	signal(host, syscall.SIGCONT)
	testrig.Eventually(t, "the host goes on", guarded)
	signal(host, syscall.SIGKILL)
	_ = host.Wait()
	without("a host that is gone")
	p.startControl(t) // which a host that has just been started asks for the function
	startProcess(t, append(p.part("runtime", "nodejs"), "--cache-dir", cacheDir())...)
	testrig.Eventually(t, "the host is back", guarded)
}
