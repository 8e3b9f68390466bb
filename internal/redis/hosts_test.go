package redis_test

import (
	"slices"
	"strconv"
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
		raw.ZAdd(t.Context(), "envoke:hosts", goredis.Z{Score: now(t, raw), Member: name})
	}
	raw.LPush(t.Context(), "envoke:host:list", "x")
	raw.ZAdd(t.Context(), "envoke:hosts", goredis.Z{Score: now(t, raw), Member: "list"})
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

// now is Redis' time as a score.
func now(t *testing.T, raw *goredis.Client) float64 {
	t.Helper()
	at, err := raw.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return float64(at.UnixMilli())
}

// TestIndexOfHosts: names from a time that is not yet hide nobody, hosts clear nothing away by
// clocks of their own, and an index that is none is made anew.
func TestIndexOfHosts(t *testing.T) {
	server := testrig.Redis(t)
	c, _ := client(t, server.URL())
	hosts := redis.NewHosts(c)
	options, err := goredis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	raw := goredis.NewClient(options)
	defer raw.Close()
	want := hostNamed("a/1")
	announce := func() {
		t.Helper()
		if err := hosts.Announce(t.Context(), want, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	listed := func(want ...faas.Host) bool {
		t.Helper()
		found, err := hosts.List(t.Context())
		return err == nil && cmp.Equal(want, found)
	}

	old, later := now(t, raw)-2*3.6e6, now(t, raw)+3.6e6
	raw.ZAdd(t.Context(), "envoke:hosts", goredis.Z{Score: old, Member: "long ago"})
	for n := range 2000 {
		raw.ZAdd(t.Context(), "envoke:hosts", goredis.Z{Score: later + float64(n), Member: strconv.Itoa(n)})
	}
	before := now(t, raw)
	announce()
	if n := raw.ZCard(t.Context(), "envoke:hosts").Val(); n != 2002 {
		t.Errorf("%d names are left by a host, want all", n)
	}
	if score := raw.ZScore(t.Context(), "envoke:hosts", want.Name).Val(); score < before || score > now(t, raw) {
		t.Errorf("the host was heard at %v, which is not Redis' time", score)
	}
	if !listed(want) {
		t.Error("names of a later time hide the host")
	}
	if n := raw.ZCard(t.Context(), "envoke:hosts").Val(); n != 1 {
		t.Errorf("%d names are left by a control, want one", n)
	}

	raw.Set(t.Context(), "envoke:hosts", "boo", 0)
	if found, err := hosts.List(t.Context()); err == nil {
		t.Errorf("without an index there are %v", found)
	}
	announce() // into the index that was made anew
	if found, err := hosts.List(t.Context()); err == nil {
		t.Errorf("while hosts write their names again there are %v", found)
	}
	testrig.Eventually(t, "the host", func() bool { return listed(want) })
}

// TestHostWithoutRights: a host whose user has the rights that docs/machines.md gives it, or
// gave it before, is there.
func TestHostWithoutRights(t *testing.T) {
	server := testrig.Redis(t)
	options, err := goredis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	raw := goredis.NewClient(options)
	defer raw.Close()
	all, _ := client(t, server.URL())
	for name, rights := range map[string]string{
		"now":    "+set +zadd +time +ping +hello +client",
		"before": "+set +zadd +zremrangebyscore +ping +hello +client",
	} {
		t.Run(name, func(t *testing.T) {
			command := []any{"ACL", "SETUSER", name, "on", ">secret", "~envoke:host:*", "~envoke:hosts"}
			for right := range strings.FieldsSeq(rights) {
				command = append(command, right)
			}
			if err := raw.Do(t.Context(), command...).Err(); err != nil {
				t.Fatal(err)
			}
			limited, _ := client(t, strings.Replace(server.URL(), "unix://", "unix://"+name+":secret@", 1))
			if err := redis.NewHosts(limited).Announce(t.Context(), hostNamed(name), time.Minute); err != nil {
				t.Error(err)
			}
			if found, err := redis.NewHosts(all).List(t.Context()); err != nil || !slices.Contains(found, hostNamed(name)) {
				t.Errorf("%v, %v", found, err)
			}
		})
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
