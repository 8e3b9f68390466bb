package xds

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/envoytest"
	"envoke/internal/faas"
	"envoke/internal/routing"
)

// TestRequestHook has one hook decide by a header what becomes of each request.
func TestRequestHook(t *testing.T) {
	r := newHookRig(t)
	r.register("guard", `
		const { headers } = event.params;
		switch (headers.want) {
		case "deny": return { statusCode: 403, body: { error: "no" }, headers: { "X-Why": "guard", "Set-Cookie": ["a=1", "b=2"] } };
		case "text": return { statusCode: 401, body: "who are you?" };
		case "redirect": return { statusCode: 302, headers: { location: "https://login.example/" } };
		case "change": return { headers: { set: { "X-Set": "new", authorization: "Bearer other" }, add: { "X-Add": ["1", "2"] }, remove: ["Cookie"] } };
		case "throw": throw new Error("secret text");
		case "host": return { headers: { set: { host: "elsewhere" } } };
		case "ours": return { headers: { set: { "x-envoke-cluster": "elsewhere" } } };
		case "pseudo": return { headers: { set: { ":path": "/elsewhere" } } };
		case "nonsense": return { headerz: {} };
		case "number": return 7;
		case "null": return null;
		case "seen": return { statusCode: 200, body: { params: event.params, user: event.context.user_id ?? null } };
		}
	`)
	r.declare(map[string]routing.Hooks{"/shop": onRequest("nodejs-guard", routing.FailClosed)})

	for _, want := range []string{"pass", "null"} {
		status, _, body := r.get("/shop/7?a=b", "Want", want, "Cookie", "c=1")
		if got := seenIn(t, body); status != 200 || got.Path != "/shop/7?a=b" || got.Header.Get("Cookie") != "c=1" {
			t.Errorf("%s: %d %s", want, status, body)
		}
	}
	status, _, body := r.get("/shop", "Want", "change", "X-Set", "old", "X-Add", "0", "Cookie", "c=1", "Authorization", "Basic eA==")
	got := seenIn(t, body)
	if status != 200 || got.Header.Get("X-Set") != "new" || got.Header.Get("Cookie") != "" || got.Header.Get("Authorization") != "Bearer other" ||
		strings.Join(got.Header.Values("X-Add"), ",") != "0,1,2" {
		t.Errorf("changed: %d %v", status, got.Header)
	}
	status, header, body := r.get("/shop", "Want", "deny", "X-Request-ID", "denied-1")
	if status != 403 || body != `{"error":"no"}` || header.Get("X-Why") != "guard" || header.Get("X-Request-Id") != "denied-1" ||
		header.Get("Content-Type") != "application/json" || len(header.Values("Set-Cookie")) != 2 || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("denied: %d %q %v", status, body, header)
	}
	if status, header, body := r.get("/shop", "Want", "text"); status != 401 || body != "who are you?" || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("text: %d %q %v", status, body, header)
	}
	if status, header, _ := r.get("/shop", "Want", "redirect"); status != 302 || header.Get("Location") != "https://login.example/" {
		t.Errorf("redirect: %d %v", status, header)
	}
	for _, want := range []string{"throw", "host", "ours", "pseudo", "nonsense", "number"} {
		id := "failed-" + want
		status, header, body := r.get("/shop", "Want", want, "X-Request-ID", id)
		e := refusalIn(t, body)
		if status != 503 || e.Code != faas.Unavailable || e.Details["component"] != "function" || e.Details["route"] != "route/shop/1" ||
			e.Details["hook"] != "request" || e.Details["reason"] != "RUNTIME_ERROR" || header.Get("X-Request-Id") != id {
			t.Errorf("%s: %d %s", want, status, body)
		}
		if strings.Contains(body, "secret text") {
			t.Errorf("%s: the caller was told %s", want, body)
		}
		if f := r.failed(id); f.LanguageTitle != "nodejs-guard" || f.Code != faas.RuntimeError || f.Component != faas.InFunction {
			t.Errorf("%s: the failure is %+v", want, f)
		}
	}
}

// TestHookSees tells what a hook gets of a request, whatever callers say in our headers.
func TestHookSees(t *testing.T) {
	r := newHookRig(t)
	r.register("mirror", `return { statusCode: 200, body: { params: event.params, context: event.context } }`)
	r.declare(map[string]routing.Hooks{"/shop": onRequest("nodejs-mirror", routing.FailClosed)})
	_, secret := faas.NewKeySecret()
	_, _, body := r.get("/shop/%C3%A9?q=1&k="+secret, "X-Request-ID", "seen-1", "X-A", "1", "X-A", "2", "Cookie", "a=1", "Cookie", "b=2",
		"Authorization", "Basic eA==", "X-Api-Key", secret, "X-Envoke-Function", "nodejs-evil", "X-Envoke-Route", "evil", "X-Envoke-Phase", "response",
		"X-Envoke-Deadline", "1", "X-Envoke-Failure-Mode", "open", "X-User-ID", "root", "User-Agent", "test", "X-Latin", "caf\xe9")
	var got struct {
		Params  map[string]any
		Context map[string]any
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	masked := secret[:len("ek_")+faas.KeyIDLen+1] + "***"
	want := map[string]any{
		"phase": "request", "method": "GET", "path": "/shop/%C3%A9?q=1&k=" + masked, "host": r.Addr, "scheme": "http", "route": "route/shop/1",
		"headers": map[string]any{
			"x-request-id": "seen-1", "x-a": "1, 2", "cookie": "a=1; b=2", "authorization": "Basic eA==", "x-api-key": masked,
			"user-agent": "test", "x-latin": "caf\ufffd", "x-forwarded-proto": "http",
		},
	}
	headers, _ := got.Params["headers"].(map[string]any)
	delete(headers, "x-forwarded-for")
	if diff := cmp.Diff(want, got.Params); diff != "" {
		t.Errorf("params (-want +got)\n%s", diff)
	}
	if len(got.Context) > 0 {
		t.Errorf("context: %v", got.Context)
	}
}

// TestResponseHook has a hook look at responses, beside one that looks at requests.
func TestResponseHook(t *testing.T) {
	r := newHookRig(t)
	r.register("mark", `
		if (event.params.headers.want === "deny") return { statusCode: 403, body: "no" };
		if (event.params.headers.want === "throw") throw new Error();
		return { headers: { set: { "x-marked": "by the request hook" } } };
	`)
	r.register("after", `
		const { status, headers, route, phase } = event.params;
		if (headers["content-type"] === "text/fail") throw new Error("no");
		if (headers["content-type"] === "text/deny") return { statusCode: 410, body: "gone" };
		return { headers: { set: { "x-after": [phase, status, route].join(" "), "x-user": String(event.context.user_id) }, add: { "set-cookie": ["a=1", "b=2"] }, remove: ["content-type"] } };
	`)
	both := onResponse("nodejs-after", routing.FailClosed)
	both.Request = onRequest("nodejs-mark", routing.FailClosed).Request
	r.declare(map[string]routing.Hooks{
		"/both": both, "/closed": onResponse("nodejs-after", routing.FailClosed), "/open": onResponse("nodejs-after", routing.FailOpen),
	})
	status, header, body := r.get("/both")
	if got := seenIn(t, body); status != 200 || got.Header.Get("X-Marked") == "" || header.Get("X-After") != "response 200 route/both/1" ||
		header.Get("X-User") != "undefined" || header.Get("Content-Type") != "" || len(header.Values("Set-Cookie")) != 2 {
		t.Errorf("both: %d %v %s", status, header, body)
	}
	if status, header, body := r.get("/both", "Want", "deny"); status != 403 || body != "no" || header.Get("X-After") != "response 403 route/both/1" {
		t.Errorf("denied by the request hook: %d %v %s", status, header, body)
	}
	if status, header, body := r.get("/both", "Want", "throw"); status != 503 || header.Get("X-After") != "response 503 route/both/1" {
		t.Errorf("the request hook failed: %d %v %s", status, header, body)
	}
	if status, header, body := r.get("/both", "X-Do", "die"); status != 503 || header.Get("X-After") != "response 503 route/both/1" {
		t.Errorf("the upstream is away: %d %v %s", status, header, body)
	}
	status, header, body = r.get("/closed", "X-Do", "typed text/deny 10")
	if status != 410 || body != "gone" || header.Get("X-Request-Id") == "" {
		t.Errorf("denied: %d %v %q", status, header, body)
	}
	status, header, body = r.get("/closed", "X-Do", "typed text/fail 10", "X-Request-ID", "after-1")
	if e := refusalIn(t, body); status != 503 || e.Details["hook"] != "response" || e.Details["component"] != "function" || header.Get("X-Request-Id") != "after-1" {
		t.Errorf("failed, closed: %d %v %s", status, header, body)
	}
	if f := r.failed("after-1"); f.LanguageTitle != "nodejs-after" {
		t.Errorf("the failure is %+v", f)
	}
	if status, _, body := r.get("/open", "X-Do", "typed text/fail 10"); status != 200 || body != "xxxxxxxxxx" {
		t.Errorf("failed, open: %d %q", status, body)
	}
}

// TestHookFails has hooks fail in every way, closed and open.
func TestHookFails(t *testing.T) {
	r := newHookRig(t)
	r.register("slow", `await new Promise(done => setTimeout(done, event.params.headers.late ?? 0))`)
	slow := func(mode routing.FailureMode) routing.Hooks {
		h := onRequest("nodejs-slow", mode)
		h.Request.Deadline = routing.Duration(300 * time.Millisecond)
		return h
	}
	r.declare(map[string]routing.Hooks{
		"/slow-closed": slow(routing.FailClosed), "/slow-open": slow(routing.FailOpen),
		"/missing-closed": onRequest("nodejs-missing", routing.FailClosed), "/missing-open": onRequest("nodejs-missing", routing.FailOpen),
	})
	if status, _, body := r.get("/slow-closed"); status != 200 {
		t.Fatalf("in time: %d %s", status, body)
	}
	check := func(what, path string, component faas.Component, late string) {
		t.Helper()
		began := time.Now()
		status, _, body := r.get(path+"-closed", "Late", late)
		e := refusalIn(t, body)
		if status != 503 || e.Code != faas.Unavailable || e.Details["component"] != string(component) {
			t.Errorf("%s, closed: %d %s", what, status, body)
		}
		if status, _, body := r.get(path+"-open", "Late", late); status != 200 || seenIn(t, body).Upstream != "api" {
			t.Errorf("%s, open: %d %s", what, status, body)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s took %v", what, took)
		}
	}
	check("deadline exceeded", "/slow", faas.InFunction, "2000")
	check("function missing", "/missing", faas.InRuntime, "")
	r.wire.Delay(time.Minute)
	check("host hangs", "/slow", faas.InRuntime, "")
	r.wire.Delay(0)
	r.killHost()
	check("host killed", "/slow", faas.InRuntime, "")
	// Of the hooks that no host could count, Envoy has counted what went on without.
	if n := r.stat("filter_chain.ext_proc.hook_request.failure_mode_allowed"); n != 2 {
		t.Errorf("Envoy counted %d", n)
	}
}

// stat is a counter of Envoy's; -1: there is none of that name.
func (r *hookRig) stat(name string) int {
	r.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(r.Dir, "admin.sock"))
	}}}
	response, err := client.Get("http://admin/stats?filter=ext_proc")
	if err != nil {
		r.t.Fatal(err)
	}
	body := envoytest.Read(r.t, response).Body
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+": "); ok {
			n, _ := strconv.Atoi(value)
			return n
		}
	}
	r.t.Logf("Envoy has %s", body)
	return -1
}

// TestHookWithoutControl: hosts answer hooks by themselves.
func TestHookWithoutControl(t *testing.T) {
	r := newHookRig(t)
	r.register("guard", `return { headers: { set: { "x-marked": "yes" } } }`)
	r.declare(map[string]routing.Hooks{"/shop": onRequest("nodejs-guard", routing.FailClosed)})
	r.get("/shop")
	r.stopControl()
	if status, _, body := r.get("/shop"); status != 200 || seenIn(t, body).Header.Get("X-Marked") != "yes" {
		t.Errorf("%d %s", status, body)
	}
}

// TestHookBigHeaders sends as many headers as Envoy takes.
func TestHookBigHeaders(t *testing.T) {
	r := newHookRig(t)
	r.register("count", `
		const { headers } = event.params;
		const want = Number(headers.changes);
		const set = {};
		for (let i = 0; i < want; i++) set["x-n" + i] = "v".repeat(Number(headers.size));
		return { headers: { set } };
	`)
	r.declare(map[string]routing.Hooks{"/shop": onRequest("nodejs-count", routing.FailClosed)})
	if status, _, body := r.get("/shop", "Changes", "1", "Size", "1", "X-Big", strings.Repeat("b", 50<<10)); status != 200 || len(seenIn(t, body).Header.Get("X-Big")) != 50<<10 {
		t.Errorf("50 KiB: %d %.200s", status, body)
	}
	if status, _, body := r.get("/shop", "Changes", "40", "Size", "300"); status != 200 || seenIn(t, body).Header.Get("X-N39") == "" {
		t.Errorf("40 changes: %d %.200s", status, body)
	}
	for _, tt := range [][2]string{{"51", "1"}, {"20", "1000"}} {
		if status, _, body := r.get("/shop", "Changes", tt[0], "Size", tt[1]); status != 503 || refusalIn(t, body).Details["component"] != "function" {
			t.Errorf("%v changes: %d %.200s", tt, status, body)
		}
	}
}

// seenIn is what the upstream says that it has got.
func seenIn(t *testing.T, body string) (s seen) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &s); err != nil || s.Upstream == "" {
		t.Fatalf("the upstream has not answered %.200q: %v", body, err)
	}
	return s
}

type refusedBody struct {
	Code    faas.Code
	Message string
	Details map[string]any
}

func refusalIn(t *testing.T, body string) refusedBody {
	t.Helper()
	var reply struct {
		Error     refusedBody
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(body), &reply); err != nil || reply.Error.Code == "" || reply.RequestID == "" {
		t.Fatalf("no error in %.300q: %v", body, err)
	}
	return reply.Error
}
