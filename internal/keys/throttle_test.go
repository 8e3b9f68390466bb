package keys_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/internal/keys"
)

func TestThrottle(t *testing.T) {
	now := time.Now()
	throttle := keys.NewThrottle(keys.ThrottleOptions{
		Failures: 3, Addresses: 2, Now: func() time.Time { return now }, Registerer: prometheus.NewRegistry(),
	})
	for i, step := range []struct {
		fails, asks string
		after       time.Duration
		wait        int // seconds; 0: it may go on
	}{
		{"", "192.0.2.1", 0, 0},
		{"192.0.2.1", "192.0.2.1", 0, 0},
		{"192.0.2.1", "192.0.2.1", 30 * time.Second, 0},
		{"192.0.2.1", "192.0.2.1", 0, 30},
		{"", "192.0.2.2", 0, 0},
		{"", "::ffff:192.0.2.1", 29500 * time.Millisecond, 1}, // the same
		{"", "192.0.2.1", 500 * time.Millisecond, 0},
		{"192.0.2.1", "192.0.2.1", 0, 0}, // it begins anew
		{"2001:db8::1", "2001:db8::1", 0, 0},
		{"2001:db8::2", "2001:db8::3", 0, 0},
		{"2001:db8::ffff:1", "2001:db8::4", 0, 60}, // one subscriber has them all
		{"", "2001:db8:0:1::1", 0, 0},
		{"a", "a", 0, 0}, // no room: the first is forgotten
		{"a", "a", 0, 0},
		{"a", "a", 0, 60},
		{"", "2001:db8::1", 0, 60},
		{"", "192.0.2.1", 0, 0},
		{strings.Repeat("x", 1000), strings.Repeat("x", 1000), 0, 0},
	} {
		if step.fails != "" {
			throttle.Failed(step.fails)
		}
		now = now.Add(step.after)
		err := throttle.Blocked(step.asks)
		switch {
		case (err != nil) != (step.wait > 0):
			t.Errorf("step %d: %v", i, err)
		case err != nil && (faas.AsError(err).Code != faas.RateLimited || faas.AsError(err).Details["retry_after_seconds"] != step.wait):
			t.Errorf("step %d: %+v", i, err)
		}
	}
}

// TestVerifyFrom: twenty keys that are none, and the address waits for the rest of a minute,
// but for a key that was accepted before.
func TestVerifyFrom(t *testing.T) {
	r := newRig(t, keys.Options{})
	_, secret := r.create(faas.APIKey{})
	_, another := r.create(faas.APIKey{})
	const bad, good = "192.0.2.1", "192.0.2.2"
	want := func(address, secret string, code faas.Code) {
		t.Helper()
		_, err := r.VerifyFrom(t.Context(), address, secret)
		if got := faas.AsError(err).Code; (err != nil || code != "") && got != code {
			t.Errorf("from %s: %v, want %s", address, err, code)
		}
	}
	for i := range 20 {
		_, guess := faas.NewKeySecret()
		if i%2 == 0 {
			guess = "no key"
		}
		want(bad, guess, faas.Unauthorized)
		want(good, secret, "")
	}
	want(bad, another, faas.RateLimited)
	want(bad, secret, "")
	want(good, secret, "")
	if n := r.metric("envoke_keys_refused_total", "throttled"); n != 1 {
		t.Errorf("%v were throttled", n)
	}
	r.pass(time.Minute)
	want(bad, secret, "")
	r.store.away.Store(true)
	for range 30 {
		_, unknown := faas.NewKeySecret()
		want(good, unknown, faas.Unavailable) // no fault of the caller's
	}
	want(good, secret, "")
}
