package budget

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// newServer has a rate of users' executes only; what is taken is told by the name's end.
func newServer() *Server {
	return New(Options{
		ClassKey: "class", Domain: "envoke", Timeout: time.Second, Registerer: prometheus.NewPedanticRegistry(),
		Rate: func(class string, by func(string) bool) int {
			if class == "execute" && by("user") {
				return 7
			}
			return 0
		},
		Take: func(_ context.Context, name string, _ int) (Taken, error) {
			switch {
			case strings.HasSuffix(name, "away"):
				return Taken{}, errors.New("away")
			case strings.HasSuffix(name, "last"):
				return Taken{Allowed: true, Reset: 9 * time.Second}, nil
			case strings.HasSuffix(name, "over"):
				return Taken{Retry: 1001 * time.Millisecond, Reset: time.Minute}, nil
			}
			return Taken{Allowed: true, Remaining: 3, Reset: 500 * time.Millisecond}, nil
		},
	})
}

func descriptor(pairs ...string) *commonv3.RateLimitDescriptor {
	d := &commonv3.RateLimitDescriptor{}
	for i := 0; i < len(pairs); i += 2 {
		d.Entries = append(d.Entries, &commonv3.RateLimitDescriptor_Entry{Key: pairs[i], Value: pairs[i+1]})
	}
	return d
}

func TestShouldRateLimit(t *testing.T) {
	const ok, over = ratelimitv3.RateLimitResponse_OK, ratelimitv3.RateLimitResponse_OVER_LIMIT
	const within = "x-ratelimit-limit: 7, x-ratelimit-remaining: 3, x-ratelimit-reset: 1"
	const beyond = "x-ratelimit-limit: 7, x-ratelimit-remaining: 0, x-ratelimit-reset: 60, retry-after: 2"
	user := func(name string) *commonv3.RateLimitDescriptor {
		return descriptor("class", "execute", "user", name)
	}
	for _, tt := range []struct {
		name    string
		domain  string
		asked   []*commonv3.RateLimitDescriptor
		want    ratelimitv3.RateLimitResponse_Code
		headers string
		failed  bool
	}{
		{"within the rate", "envoke", []*commonv3.RateLimitDescriptor{user("ada")}, ok, within, false},
		{"over it", "envoke", []*commonv3.RateLimitDescriptor{user("over")}, over, beyond, false},
		{"one of two over", "envoke", []*commonv3.RateLimitDescriptor{user("over"), user("ada")}, over, beyond, false},
		{"over it, and then not counted", "envoke", []*commonv3.RateLimitDescriptor{user("over"), user("away")}, over, beyond, false},
		{"fewer left of another", "envoke", []*commonv3.RateLimitDescriptor{user("ada"), user("last")}, ok, "x-ratelimit-limit: 7, x-ratelimit-remaining: 0, x-ratelimit-reset: 9", false},
		{"more left of another", "envoke", []*commonv3.RateLimitDescriptor{user("last"), user("ada")}, ok, "x-ratelimit-limit: 7, x-ratelimit-remaining: 0, x-ratelimit-reset: 9", false},
		{"no rate of that class", "envoke", []*commonv3.RateLimitDescriptor{descriptor("class", "function", "user", "over")}, ok, "", false},
		{"no rate by that key", "envoke", []*commonv3.RateLimitDescriptor{descriptor("class", "execute", "address", "over")}, ok, "", false},
		{"no class", "envoke", []*commonv3.RateLimitDescriptor{descriptor("user", "over")}, ok, "", false},
		{"nothing", "envoke", nil, ok, "", false},
		{"not counted", "envoke", []*commonv3.RateLimitDescriptor{user("away")}, ok, "", true},
		{"somebody else's", "other", []*commonv3.RateLimitDescriptor{user("ada")}, ok, "", true},
		{"too many", "envoke", make([]*commonv3.RateLimitDescriptor, 9), ok, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer()
			reply, err := s.ShouldRateLimit(t.Context(), &ratelimitv3.RateLimitRequest{Domain: tt.domain, Descriptors: tt.asked})
			if (err != nil) != tt.failed || testutil.ToFloat64(s.failed) > 0 != tt.failed {
				t.Fatalf("%v, %v", reply, err)
			}
			if err != nil {
				return
			}
			var headers []string
			for _, h := range reply.GetResponseHeadersToAdd() {
				headers = append(headers, h.GetKey()+": "+h.GetValue())
			}
			if got := strings.Join(headers, ", "); reply.GetOverallCode() != tt.want || got != tt.headers || len(reply.GetStatuses()) != len(tt.asked) {
				t.Errorf("%v with %q", reply, got)
			}
		})
	}
}

// No two callers have one name, whatever characters their own have.
func TestNamesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range []*commonv3.RateLimitDescriptor{
		descriptor("class", "execute", "user", "a"), descriptor("class", "execute", "user", ""),
		descriptor("class", "execute4:user1:a"), descriptor("class", "execute", "user", "auserb"),
		descriptor("class", "execute", "user", "a", "user", "b"), descriptor("class", "function", "user", "a"),
	} {
		name := nameOf(d)
		if seen[name] {
			t.Errorf("%q is two", name)
		}
		seen[name] = true
	}
}
