package main

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"envoke/internal/mtls"
	"envoke/internal/testrig"
	"envoke/runtimes/runtimepb"
)

// budgeted are doors of one installation whose Envoys share a budget.
type budgeted struct {
	redis *testrig.RedisServer
	doors []*door
}

// openBudgeted has that many Envoys with a control each. Their answers of the budget may take a
// second, so that a busy machine lets nothing through uncounted.
func openBudgeted(t *testing.T, envoys int, args ...string) budgeted {
	t.Helper()
	issuer, flags := believed(t)
	b := budgeted{redis: testrig.Redis(t)}
	flags = slices.Concat(flags, []string{"--redis-url", b.redis.URL(), "--rate-shared", "--rate-shared-wait-ms", "1000"}, args)
	if envoys > 1 {
		flags = append(flags, "--database-url", testrig.Postgres(t))
	}
	for range envoys {
		b.doors = append(b.doors, &door{installation: serve(t, flags...), issuer: issuer})
	}
	return b
}

// metric is the value of one of the process's metrics; 0: there is none of that name.
func (i *installation) metric(t *testing.T, name string) int {
	t.Helper()
	r, err := send(http.MethodGet, i.operators+"/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	return numberAfter(string(r.body), name+" ")
}

// stat is the value of one of Envoy's, or the sum of those that end so.
func (i *installation) stat(t *testing.T, suffix string) (sum int) {
	t.Helper()
	for line := range strings.Lines(i.adminOf(t, "/stats?filter="+regexp.QuoteMeta(suffix)+"$")) {
		sum += numberAfter(line, suffix+": ")
	}
	return sum
}

func numberAfter(text, name string) int {
	found := regexp.MustCompile(regexp.QuoteMeta(name) + `(\d+)`).FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// flood sends n requests to each of the doors at once, by few connections.
func (b budgeted) flood(t *testing.T, n int, path string, headers []string) (replies []reply) {
	t.Helper()
	var mu sync.Mutex
	var callers sync.WaitGroup
	for _, d := range b.doors {
		const connections = 4
		for range connections {
			callers.Go(func() {
				for range n / connections {
					r, err := send(http.MethodPost, d.base+path, `{"params":1}`, headers...)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					replies = append(replies, r)
					mu.Unlock()
				}
			})
		}
	}
	callers.Wait()
	return replies
}

// TestEnvoysShareABudget: two Envoys let as many of a caller's requests through as one does.
func TestEnvoysShareABudget(t *testing.T) {
	const rate = 40
	b := openBudgeted(t, 2, "--rate-execute-per-minute", strconv.Itoa(rate))
	one, two := b.doors[0], b.doors[1]
	ada, bob := one.as(t, "ada", "execute:nodejs"), one.as(t, "bob", "execute:nodejs")
	began := time.Now()
	path := "/api/v1/execute/" + one.sessionOf(t, ada, "nodejs-x", `{"script_content":"return 1"}`) // which counts
	passed := 1
	for _, r := range b.flood(t, rate, path, ada) {
		if r.status == http.StatusOK {
			passed++
		} else {
			r.isError(t, http.StatusTooManyRequests, "RATE_LIMITED", "envoy")
			headerNumber(t, r, "Retry-After")
		}
		for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
			if got := r.header.Values(name); len(got) != 1 {
				t.Fatalf("%d with %s %q", r.status, name, got)
			}
		}
	}
	most := rate + int(time.Since(began)*rate/time.Minute) + 1
	if passed < rate || passed > most {
		t.Errorf("%d requests passed, want %d to %d", passed, rate, most)
	}
	t.Logf("%d passed in %v, %d to %d might", passed, time.Since(began), rate, most)
	if failed := one.metric(t, `envoke_budget_requests_total{outcome="failed"}`) + two.metric(t, `envoke_budget_requests_total{outcome="failed"}`); failed > 0 {
		t.Errorf("%d requests were not counted", failed)
	}

	// One comes free in 1.5 s. It may be the Envoy's own count that refuses first, and then the
	// budget: each says when.
	for tries := 0; ; tries++ {
		r := two.send(t, http.MethodPost, path, `{}`, ada...)
		if r.status == http.StatusOK && tries > 0 {
			break
		}
		if r.status == http.StatusOK {
			tries = -1 // it came late
			continue
		}
		wait := headerNumber(t, r, "Retry-After")
		if wait < 1 || wait > 2 || tries > 1 {
			t.Fatalf("the answer after %d times of Retry-After is %d, %d s: %s", tries, r.status, wait, r.body)
		}
		until := time.Now().Add(time.Duration(wait) * time.Second)
		testrig.Eventually(t, "Retry-After to be over", func() bool { return time.Now().After(until) })
	}

	other := two.sessionOf(t, bob, "nodejs-x", `{"script_content":"return 2"}`)
	if got := one.execute(t, other, "1", bob...).result(t); got != "2" {
		t.Errorf("bob's is %s", got)
	}
	for range 3 {
		one.must(t, http.StatusOK, http.MethodGet, "/health", "")
	}
}

func headerNumber(t *testing.T, r reply, name string) int {
	t.Helper()
	n, err := strconv.Atoi(r.header.Get(name))
	if err != nil || len(r.header.Values(name)) != 1 {
		t.Errorf("%d with %s %q", r.status, name, r.header.Values(name))
	}
	return n
}

// TestBudgetCountsEachWay: every kind of request is counted once, however it goes on, and what
// is free is not.
func TestBudgetCountsEachWay(t *testing.T) {
	b := openBudgeted(t, 1, "--anonymous-scopes", "execute:nodejs", "--rate-anonymous-per-minute", "100")
	d := b.doors[0]
	ada, admin := d.as(t, "ada", "execute:nodejs"), d.as(t, "root", "admin")
	d.mustAs(t, admin, http.StatusCreated, "POST /api/v1/functions", `{"language":"nodejs","title":"f","script_content":"return 1"}`)
	d.mustAs(t, admin, http.StatusCreated, "POST /api/v1/functions", `{"language":"nodejs","title":"kept","script_content":"return 1","cache_ttl_seconds":60}`)
	plain := "POST /api/v1/execute/" + d.sessionOf(t, ada, "nodejs-x", `{"script_content":"return 1"}`)
	checked := "POST /api/v1/execute/" + d.sessionOf(t, ada, "nodejs-kept", `{}`)
	asked := func() int {
		return d.metric(t, `envoke_budget_requests_total{outcome="allowed"}`) + d.metric(t, `envoke_budget_requests_total{outcome="refused"}`)
	}
	as := map[string][]string{"ada": ada, "root": admin, "nobody": nil}
	for _, tt := range []struct {
		request, who, body string
		counts             int
	}{
		{plain, "ada", `{}`, 1},
		{checked, "ada", `{}`, 1},
		{checked, "ada", `{}`, 1}, // which the cache answers
		{"POST /api/v1/execute", "ada", `{"script_content":"return 1"}`, 1},
		{"POST /api/v1/initialize", "ada", `{"script_content":"return 1"}`, 1},
		{"POST /runtime/nodejs/f", "ada", `{}`, 1},
		{"POST /function/nodejs-f", "ada", `{}`, 1},
		{"GET /function/nodejs-f", "nobody", ``, 1},
		{"GET /api/v1/functions", "root", ``, 1},
		{"GET /api/v1/functions", "ada", ``, 1}, // which is refused
		{"GET /api/v1/keys", "root", ``, 1},
		{"GET /health", "nobody", ``, 0},
		{"GET /api/v1/openapi.json", "ada", ``, 0},
	} {
		before := asked()
		method, path, _ := strings.Cut(tt.request, " ")
		r := d.send(t, method, path, tt.body, append(slices.Clip(as[tt.who]), "Language-Title", "nodejs-f")...)
		if got := asked() - before; got != tt.counts || r.status == http.StatusTooManyRequests {
			t.Errorf("%s as %s counts %d, want %d: %d %.200s", tt.request, tt.who, got, tt.counts, r.status, r.body)
		}
	}
	before, ctx := asked(), metadata.AppendToOutgoingContext(t.Context(), "authorization", ada[1])
	_, err := runtimepb.NewRuntimeServiceClient(d.public(t)).Execute(ctx, &runtimepb.ExecuteRequest{RequestId: strings.TrimPrefix(plain, "POST /api/v1/execute/")})
	if got := asked() - before; got != 1 || err != nil {
		t.Errorf("gRPC counts %d, want 1: %v", got, err)
	}
}

// TestBudgetAway: while Redis is away, or hangs, the Envoy counts alone and refuses no more than
// that; nothing fails, and the budget is back with Redis.
func TestBudgetAway(t *testing.T) {
	const rate = 200
	b := openBudgeted(t, 1, "--rate-execute-per-minute", strconv.Itoa(rate), "--rate-shared-wait-ms", "20")
	d, first, passed := b.doors[0], time.Now(), 1
	ada := d.as(t, "ada", "execute:nodejs")
	path := "/api/v1/execute/" + d.sessionOf(t, ada, "nodejs-x", `{"script_content":"return 1"}`)
	allowed := func() int { return d.metric(t, `envoke_budget_requests_total{outcome="allowed"}`) }
	failed := func() int { return d.metric(t, `envoke_budget_requests_total{outcome="failed"}`) }
	passes := func(what string, n int) {
		t.Helper()
		before, through, began := failed(), d.stat(t, "ratelimit.failure_mode_allowed"), time.Now()
		for _, r := range b.flood(t, n, path, ada) {
			if r.status != http.StatusOK {
				t.Fatalf("%s: %d %s", what, r.status, r.body)
			}
			passed++
		}
		took := time.Since(began)
		testrig.Eventually(t, what+": Envoy and control to count what they did not ask about", func() bool {
			return failed() > before && d.stat(t, "ratelimit.failure_mode_allowed") > through
		})
		t.Logf("%s: %d requests in %v", what, n, took)
	}
	b.redis.Kill(t)
	passes("Redis killed", 40)
	b.redis.Start(t)
	counts := func() {
		t.Helper()
		testrig.Eventually(t, "the budget to be back", func() bool {
			before := allowed()
			d.execute(t, d.sessionOf(t, d.as(t, "bob", "execute:nodejs"), "nodejs-x", `{"script_content":"return 1"}`), "1", d.as(t, "bob", "execute:nodejs")...)
			return allowed() > before
		})
	}
	counts()
	b.redis.Stall(t)
	passes("Redis hangs", 40)
	b.redis.Resume(t)
	counts()
	b.redis.Do(t, "REPLICAOF", "127.0.0.1", "1")
	passes("Redis takes nothing", 40)
	b.redis.Do(t, "REPLICAOF", "NO", "ONE")
	counts()

	// What the Envoy counts alone is its rate all the same.
	b.redis.Kill(t)
	for _, r := range b.flood(t, rate, path, ada) {
		switch r.status {
		case http.StatusOK:
			passed++
		case http.StatusTooManyRequests:
			headerNumber(t, r, "Retry-After")
		default:
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if most := rate + int(time.Since(first)*rate/time.Minute) + 1; passed < rate || passed > most {
		t.Errorf("%d passed, want %d to %d", passed, rate, most)
	}
}

// TestControlAwayTakesTheBudget: what needs no control goes on without, within the rate of its
// Envoy.
func TestControlAwayTakesTheBudget(t *testing.T) {
	issuer, flags := believed(t)
	redis := testrig.Redis(t)
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	p := i.startParts(t, append(flags, "--redis-url", redis.URL(), "--rate-shared")...)
	d := door{installation: p.installation, issuer: issuer}
	ada := d.as(t, "ada", "execute:nodejs")
	session := d.sessionOf(t, ada, "nodejs-x", `{"script_content":"return 1"}`)
	d.execute(t, session, "1", ada...).result(t)
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		before := d.stat(t, "ratelimit.failure_mode_allowed")
		if err := p.control.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			d.execute(t, session, "1", ada...).result(t)
		}
		if got := d.stat(t, "ratelimit.failure_mode_allowed") - before; got < 15 { // the signal takes a moment
			t.Errorf("%v: Envoy let %d of 20 through uncounted", signal, got)
		}
	}
}

// TestBudgetBetweenMachines: Envoys of other machines may ask for the budget, and only they.
func TestBudgetBetweenMachines(t *testing.T) {
	f := newFleet(t)
	f.controls = f.controls[:1]
	f.ofControl = []string{"--auth", "--anonymous-scopes", "execute:nodejs", "--rate-anonymous-per-minute", "20", "--rate-shared", "--rate-shared-wait-ms", "1000"}
	f.startControl(t, 0)
	_, at := f.startHost(t)
	f.startEnvoy(t)
	f.awaitHost(t, at, true)
	f.awaitControls(t, 0)
	testrig.Eventually(t, "a function to run", func() bool {
		r, err := send(http.MethodPost, f.base+"/api/v1/execute", `{"script_content":"return 1"}`, "Language-Title", "nodejs-first")
		return err == nil && r.status == http.StatusOK
	})
	testrig.Eventually(t, "Envoy to be answered", func() bool { return f.stat(t, "ratelimit.ok") > 0 })
	if rights := rightsAtControl["envoy.service.ratelimit.v3.RateLimitService"]; fmt.Sprint(rights) != fmt.Sprint([]mtls.Role{mtls.Envoy}) {
		t.Errorf("%v may ask for the budget", rights)
	}
	refused := 0
	for range 40 {
		if r := f.send(t, http.MethodPost, "/api/v1/execute", `{"script_content":"return 1"}`, "Language-Title", "nodejs-first"); r.status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 || f.stat(t, "ratelimit.error") > 0 {
		t.Errorf("%d were refused, %d not counted", refused, f.stat(t, "ratelimit.error"))
	}
}

// TestSharedRatesNeedTheirParts: a budget that nobody could keep is refused at the start.
func TestSharedRatesNeedTheirParts(t *testing.T) {
	for name, tt := range map[string]struct{ args, want string }{
		"all":       {"--rate-shared --auth --redis-url redis://h", ""},
		"no auth":   {"--rate-shared --redis-url redis://h", "RATE_SHARED is set, but AUTH is not"},
		"no redis":  {"--rate-shared --auth", "RATE_SHARED is set and REDIS_URL is not"},
		"no wait":   {"--rate-shared --auth --redis-url redis://h --rate-shared-wait-ms 0", "RATE_SHARED_WAIT_MS is 0"},
		"the wrong": {"--auth --redis-cache-url redis://h --rate-shared", "RATE_SHARED is set and REDIS_URL is not"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadConfig(t, strings.Fields(tt.args), map[string]string{"HOME": t.TempDir()})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
