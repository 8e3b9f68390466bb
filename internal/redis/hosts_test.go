package redis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	goredis "github.com/redis/go-redis/v9"

	"envoke/internal/faas"
	"envoke/internal/redis"
	"envoke/internal/testrig"
)

func hostNamed(name string) faas.Host {
	return faas.Host{Name: name, Language: faas.NodeJS, Address: "10.0.0.7:9011", Version: "test"}
}

// TestHosts: those are listed that said lately that they are there; what somebody else wrote
// is not, and spoils nothing.
func TestHosts(t *testing.T) {
	server := testrig.Redis(t)
	c, metrics := client(t, server.URL())
	hosts := redis.NewHosts(c)
	want := hostNamed("a/1")
	announce := func(h faas.Host, life time.Duration) {
		t.Helper()
		if err := hosts.Announce(t.Context(), h, life); err != nil {
			t.Fatal(err)
		}
	}
	announce(want, time.Minute)
	announce(hostNamed("b/2"), 50*time.Millisecond)

	options, err := goredis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	raw := goredis.NewClient(options)
	defer raw.Close()
	for name, value := range map[string]string{
		"garbage": "\x00\xff", "another's": `{"name":"a/1"}`, "empty": "{}", "large": strings.Repeat("[", 1<<20),
		"no address": `{"name":"no address","language":"nodejs","address":"somewhere","version":""}`,
	} {
		raw.Set(t.Context(), "envoke:host:"+name, value, time.Minute)
		raw.ZAdd(t.Context(), "envoke:hosts", goredis.Z{Score: 1e15, Member: name})
	}
	raw.LPush(t.Context(), "envoke:host:list", "x")
	raw.ZAdd(t.Context(), "envoke:hosts", goredis.Z{Score: 1e15, Member: "list"})
	testrig.Eventually(t, "the host that was not heard again to go", func() bool {
		found, err := hosts.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return cmp.Diff([]faas.Host{want}, found) == ""
	})
	if foreign := sum(t, metrics, "foreign"); foreign < 6 {
		t.Errorf("%v values were not ours, want at least 6", foreign)
	}

	want.Leaving = true
	announce(want, time.Minute)
	if found, err := hosts.List(t.Context()); err != nil || cmp.Diff([]faas.Host{want}, found) != "" {
		t.Errorf("%v, %v", found, err)
	}
	server.Kill(t)
	if found, err := hosts.List(t.Context()); err == nil {
		t.Errorf("without Redis there are %v", found)
	}
}

// sum is how many questions had that outcome.
func sum(t *testing.T, metrics interface {
	Gather() ([]*dto.MetricFamily, error)
}, outcome string,
) (n float64) {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetValue() == outcome {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}
