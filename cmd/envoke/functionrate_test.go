package main

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/testrig"
	"envoke/runtimes/runtimepb"
)

// TestRateOfAFunction: all who call a function share its rate, by plain sessions too, which only
// the host sees; Retry-After says when the next call runs, and what a cache answers is free.
func TestRateOfAFunction(t *testing.T) {
	i := shared(t)
	const rate = 30 // one each two seconds
	began := time.Now()
	name := i.register(t, "rated", `{"language":"nodejs","title":"rated","script_content":"return 1","rate_per_minute":`+strconv.Itoa(rate)+`}`)
	shown := i.must(t, http.StatusOK, http.MethodGet, functionsPath+"/"+name, "")
	if !strings.Contains(string(shown.body), `"rate_per_minute":30`) {
		t.Errorf("it is shown as %s", shown.body)
	}
	var mu sync.Mutex
	var callers sync.WaitGroup
	passed, wait := 0, 0
	for range 2 {
		session := i.open(t, name)
		callers.Go(func() {
			for range rate {
				r, err := send(http.MethodPost, i.base+"/api/v1/execute/"+session, `{}`)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if r.status == http.StatusOK {
					passed++
				} else {
					details := r.isError(t, http.StatusTooManyRequests, "RATE_LIMITED", "runtime").Error.Details
					if wait = headerNumber(t, r, "Retry-After"); details["limit"] != "rate" || details["allowed"] != float64(rate) {
						t.Errorf("%v", details)
					}
				}
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	if most := rate + int(time.Since(began)*rate/time.Minute) + 1; passed < rate || passed > most {
		t.Errorf("%d calls ran, want %d to %d", passed, rate, most)
	}
	i.send(t, http.MethodPost, "/function/"+name, "{}").isError(t, http.StatusTooManyRequests, "RATE_LIMITED", "runtime")
	session := i.open(t, name)
	_, err := runtimepb.NewRuntimeServiceClient(i.public(t)).Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: session})
	if s := status.Convert(err); s.Code() != codes.ResourceExhausted || reason(t, err) != "RATE_LIMITED" {
		t.Errorf("by gRPC: %v", err)
	}

	if wait < 1 || wait > 2 {
		t.Errorf("Retry-After %d", wait)
	}
	until := time.Now().Add(time.Duration(wait) * time.Second)
	testrig.Eventually(t, "Retry-After to be over", func() bool { return time.Now().After(until) })
	i.execute(t, session, "null").result(t)

	kept := i.register(t, "ratedkept", `{"language":"nodejs","title":"ratedkept","script_content":"return Math.random()","rate_per_minute":1,"cache_ttl_seconds":60}`)
	first := i.must(t, http.StatusOK, http.MethodGet, "/function/"+kept, "")
	for range 5 {
		if again := i.must(t, http.StatusOK, http.MethodGet, "/function/"+kept, ""); string(again.body) != string(first.body) {
			t.Errorf("%s is not the kept %s", again.body, first.body)
		}
	}
}
