package redis_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"envoke/internal/budget"
	"envoke/internal/faas"
	"envoke/internal/redis"
	"envoke/internal/testrig"
)

// TestRates: controls of one installation count together, each caller by itself, and installations
// apart.
func TestRates(t *testing.T) {
	server, key := testrig.Redis(t), faas.NewSessionKey()
	newRates := func(key faas.SessionKey) *redis.Rates {
		c, _ := client(t, server.URL())
		return redis.NewRates(c, key)
	}
	one, two, foreign := newRates(key), newRates(key), newRates(faas.NewSessionKey())
	take := func(r *redis.Rates, name string) budget.Taken {
		t.Helper()
		taken, err := r.Take(t.Context(), name, 3)
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	for n, r := range []*redis.Rates{one, two, one} {
		if taken := take(r, "ada"); !taken.Allowed || taken.Remaining != 2-n || taken.Retry != 0 || taken.Reset > time.Minute {
			t.Errorf("request %d: %+v", n, taken)
		}
	}
	if taken := take(two, "ada"); taken.Allowed || taken.Retry < 19*time.Second || taken.Retry > 20*time.Second {
		t.Errorf("over the rate: %+v", taken)
	}
	for _, r := range []*redis.Rates{one, foreign} {
		if taken := take(r, "bob"); !taken.Allowed || taken.Remaining != 2 {
			t.Errorf("somebody else: %+v", taken)
		}
	}

	options, err := goredis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	direct := goredis.NewClient(options)
	t.Cleanup(func() { _ = direct.Close() })
	keys := direct.Keys(t.Context(), "*").Val()
	if len(keys) != 3 {
		t.Errorf("the keys are %q", keys)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "rate:envoke:") || strings.Contains(key, "ada") || direct.TTL(t.Context(), key).Val() > time.Minute {
			t.Errorf("key %q lives for %v", key, direct.TTL(t.Context(), key).Val())
		}
	}
}

// TestRatesAway: a Redis that is away is not asked again at once, and says so.
func TestRatesAway(t *testing.T) {
	server := testrig.Redis(t)
	c, metrics := client(t, server.URL())
	r := redis.NewRates(c, faas.NewSessionKey())
	server.Kill(t)
	for range 5 {
		if taken, err := r.Take(t.Context(), "ada", 3); err == nil {
			t.Errorf("%+v", taken)
		}
	}
	asked(t, metrics, "failed", 1)
	asked(t, metrics, "skipped", 4)
	server.Start(t)
	testrig.Eventually(t, "Redis to count again", func() bool { _, err := r.Take(t.Context(), "ada", 3); return err == nil })
}

// TestRatesRest: one answer that does not come keeps Redis unasked for a moment only, and many in
// a row for longer.
func TestRatesRest(t *testing.T) {
	server, metrics := testrig.Redis(t), prometheus.NewPedanticRegistry()
	const moment = 10 * time.Millisecond
	c, err := redis.New(redis.Options{
		URL: server.URL(), Use: "test", Respite: moment, Logger: slog.New(slog.DiscardHandler), Registerer: metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	r := redis.NewRates(c, faas.NewSessionKey())
	take := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), moment)
		defer cancel()
		_, err := r.Take(ctx, "ada", 1000)
		return err
	}
	testrig.Eventually(t, "Redis to count", func() bool { return take() == nil })
	server.Stall(t)
	testrig.Eventually(t, "a first answer not to come", func() bool { return take() != nil })
	server.Resume(t)
	testrig.Eventually(t, "Redis to count again", func() bool { return take() == nil })
	server.Stall(t)
	asked := func() (n float64) {
		families, _ := metrics.Gather()
		for _, m := range families[0].GetMetric() {
			if m.GetLabel()[0].GetValue() == "failed" {
				n = m.GetCounter().GetValue()
			}
		}
		return n
	}
	before, since := asked(), time.Now()
	testrig.Eventually(t, "a second", func() bool { _ = take(); return time.Since(since) > time.Second })
	// Between questions of 10 ms each are 10, 20, 40, 80, 160 and then 250 ms: with 250 at once
	// there would be four.
	if n := asked() - before; n < 5 || n > 9 {
		t.Errorf("it was asked %v times in a second that it hung", n)
	}
	server.Resume(t)
}
