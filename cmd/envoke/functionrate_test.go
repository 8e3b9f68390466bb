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
// the host sees.
func TestRateOfAFunction(t *testing.T) {
	i := shared(t)
	const rate = 6 // one each ten seconds
	began := time.Now()
	name := i.register(t, "rated", `{"language":"nodejs","title":"rated","script_content":"return 1","rate_per_minute":`+strconv.Itoa(rate)+`}`)
	shown := i.must(t, http.StatusOK, http.MethodGet, functionsPath+"/"+name, "")
	if !strings.Contains(string(shown.body), `"rate_per_minute":6`) {
		t.Errorf("it is shown as %s", shown.body)
	}
	var mu sync.Mutex
	var callers sync.WaitGroup
	var refused []reply
	for range 2 {
		session := i.open(t, name)
		callers.Go(func() {
			for range 2 * rate {
				r, err := send(http.MethodPost, i.base+"/api/v1/execute/"+session, `{}`)
				if err != nil {
					t.Error(err)
				}
				if r.status != http.StatusOK {
					mu.Lock()
					refused = append(refused, r)
					mu.Unlock()
				}
			}
		})
	}
	callers.Wait()
	if passed, most := 4*rate-len(refused), rate+int(time.Since(began)*rate/time.Minute)+1; passed < rate || passed > most {
		t.Errorf("%d calls ran, want %d to %d", passed, rate, most)
	}
	for _, r := range refused {
		details := r.isError(t, http.StatusTooManyRequests, "RATE_LIMITED", "runtime").Error.Details
		if wait := headerNumber(t, r, "Retry-After"); wait < 1 || wait > 10 || details["limit"] != "rate" || details["allowed"] != float64(rate) {
			t.Errorf("Retry-After %d with %v", wait, details)
		}
	}
	i.send(t, http.MethodPost, "/function/"+name, "{}").isError(t, http.StatusTooManyRequests, "RATE_LIMITED", "runtime")
	_, err := runtimepb.NewRuntimeServiceClient(i.public(t)).Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: i.open(t, name)})
	if s := status.Convert(err); s.Code() != codes.ResourceExhausted || reason(t, err) != "RATE_LIMITED" {
		t.Errorf("by gRPC: %v", err)
	}
}

// TestAfterTheRateOfAFunction: Retry-After says when the next call runs.
func TestAfterTheRateOfAFunction(t *testing.T) {
	i := shared(t)
	const rate = 60 // one each second
	name := i.register(t, "ratedsoon", `{"language":"nodejs","title":"ratedsoon","script_content":"return 1","rate_per_minute":`+strconv.Itoa(rate)+`}`)
	session := i.open(t, name)
	for n := 0; ; n++ {
		r := i.execute(t, session, "null")
		if r.status == http.StatusOK && n < 10*rate {
			continue
		}
		r.isError(t, http.StatusTooManyRequests, "RATE_LIMITED", "runtime")
		until := time.Now().Add(time.Duration(headerNumber(t, r, "Retry-After")) * time.Second)
		testrig.Eventually(t, "Retry-After to be over", func() bool { return time.Now().After(until) })
		break
	}
	i.execute(t, session, "null").result(t)
}

// TestCachedResultsHaveNoRate: what a cache answers is free.
func TestCachedResultsHaveNoRate(t *testing.T) {
	i := shared(t)
	name := i.register(t, "ratedkept", `{"language":"nodejs","title":"ratedkept","script_content":"return Math.random()","rate_per_minute":1,"cache_ttl_seconds":60}`)
	first := i.must(t, http.StatusOK, http.MethodGet, "/function/"+name, "")
	for range 5 {
		if again := i.must(t, http.StatusOK, http.MethodGet, "/function/"+name, ""); string(again.body) != string(first.body) {
			t.Errorf("%s is not the kept %s", again.body, first.body)
		}
	}
}
