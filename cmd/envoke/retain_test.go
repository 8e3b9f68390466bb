package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"envoke/internal/testrig"
)

// countsUp is a body of initialize whose session counts its calls in its context.
var countsUp = map[string]any{
	"script_content": "return ++context.n", "context": map[string]any{"retain_session": true, "n": 0, "timeout_ms": 500},
}

// TestRetainedSession: what a call leaves in its context is there in the next one, through
// whatever way the calls come.
func TestRetainedSession(t *testing.T) {
	i := shared(t)
	for name, body := range map[string]map[string]any{
		"nodejs-counter": countsUp,
		"python-counter": {"script_content": "context['n'] += 1\nresult = context['n']", "context": countsUp["context"]},
	} {
		t.Run(name, func(t *testing.T) {
			id := i.initializeAs(t, name, body)
			for n, headers := range [][]string{nil, {"X-Cache-Control", "max-age=60"}, {"X-Cache-Control", "max-age=60"}, {"Accept", "text/event-stream"}} {
				if got := i.execute(t, id, "null", headers...).result(t); got != strconv.Itoa(n+1) {
					t.Errorf("call %d with %v got %s", n+1, headers, got)
				}
			}
			const calls = 20
			var all sync.WaitGroup
			for range calls {
				all.Go(func() { i.execute(t, id, "null").result(t) })
			}
			all.Wait()
			if got := i.execute(t, id, "null").result(t); got != strconv.Itoa(calls+5) {
				t.Errorf("after %d calls at once: %s", calls, got)
			}
		})
	}
	e := i.send(t, http.MethodPost, "/api/v1/initialize", `{"script_content":"1","context":{"retain_session":true}}`, "Language-Title", "rust-x")
	if e.status == http.StatusOK {
		t.Errorf("a module retains a context: %s", e.body)
	}
}

// TestRetainedSessionOfAKilledHost kills one of two hosts while sessions count on both: no
// count is lost or given twice, and the sessions go on.
func TestRetainedSessionOfAKilledHost(t *testing.T) {
	p, victim, _ := startTwoHosts(t)
	raw, err := json.Marshal(countsUp)
	if err != nil {
		t.Fatal(err)
	}
	counters := make([]*counter, 8)
	for n := range counters {
		r, err := send(http.MethodPost, p.base+"/api/v1/initialize", string(raw), "Language-Title", "nodejs-counter")
		var made struct {
			ID string `json:"request_id"`
		}
		if err != nil || json.Unmarshal(r.body, &made) != nil || made.ID == "" {
			t.Fatalf("initialize: %s, %v", r.body, err)
		}
		counters[n] = &counter{url: p.base + "/api/v1/execute/" + made.ID}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var callers sync.WaitGroup
	for _, c := range counters {
		callers.Go(func() { c.count(ctx) })
	}
	passed := func(all int) func() bool {
		return func() bool {
			for _, c := range counters {
				if c.counted() < all {
					return false
				}
			}
			return true
		}
	}
	testrig.Eventually(t, "all count", passed(20))
	if err := victim.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	at := 0
	for _, c := range counters {
		at = max(at, c.counted())
	}
	testrig.Eventually(t, "all count without it", passed(at+20))
	stop()
	callers.Wait()
	for _, c := range counters {
		if c.wrong != nil {
			t.Error(c.wrong)
		}
	}
}

// counter counts by calls of one session until ctx ends.
type counter struct {
	url string

	mu    sync.Mutex
	last  int // that a call got
	wrong error
}

func (c *counter) counted() int { c.mu.Lock(); defer c.mu.Unlock(); return c.last }

// count sees that each call gets the next number. One that was lost may have counted or not;
// a host that was killed has its context until its call would have ended: 409. What fails in
// time has not counted.
func (c *counter) count(ctx context.Context) {
	lost := 0
	for ctx.Err() == nil {
		r, err := send(http.MethodPost, c.url, `{}`)
		var reply struct{ Result int }
		switch {
		case err != nil:
			c.fail(err)
		case r.status == http.StatusServiceUnavailable:
			lost++
		case r.status == http.StatusConflict:
		case r.status == http.StatusTooManyRequests, r.status == http.StatusGatewayTimeout:
			// Half of the sessions start workers anew, and have half a second for a call.
		case r.status != http.StatusOK || json.Unmarshal(r.body, &reply) != nil:
			c.fail(fmt.Errorf("%d %s", r.status, r.body))
		default:
			c.next(reply.Result, lost)
			lost = 0
		}
	}
}

func (c *counter) next(n, lost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n <= c.last || n > c.last+1+lost {
		c.wrong = fmt.Errorf("%d follows %d, with %d calls lost", n, c.last, lost)
	}
	c.last = n
}

func (c *counter) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = err
}
