package redis_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/postgres"
	"envoke/internal/redis"
	"envoke/internal/resultcache"
	"envoke/internal/sqlite"
	"envoke/internal/storetest"
	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testrig.WithPostgres(m)) }

func client(t testing.TB, url string) (*redis.Client, *prometheus.Registry) {
	t.Helper()
	metrics := prometheus.NewPedanticRegistry()
	c, err := redis.New(redis.Options{URL: url, Use: "test", Logger: slog.New(slog.DiscardHandler), Registerer: metrics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, metrics
}

// asked is how many questions had that outcome.
func asked(t *testing.T, metrics *prometheus.Registry, outcome string, want float64) {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetValue() == outcome {
					if got := m.GetCounter().GetValue(); got != want {
						t.Errorf("%v questions %s, want %v", got, outcome, want)
					}
					return
				}
			}
		}
	}
	t.Errorf("no metric of %s: %d", outcome, testutil.CollectAndCount(metrics))
}

// over is a store with Redis in front of its sessions.
type over struct {
	storetest.Store
	*redis.Sessions
}

func (o over) CreateSession(ctx context.Context, s faas.Session, script *faas.Script) error {
	return o.Sessions.CreateSession(ctx, s, script)
}

func (o over) FindLive(ctx context.Context, id faas.SessionID) (faas.Session, error) {
	return o.Sessions.FindLive(ctx, id)
}

func (o over) SetBuild(ctx context.Context, id faas.SessionID, status faas.CompileStatus, b faas.Build) error {
	return o.Sessions.SetBuild(ctx, id, status, b)
}

func (o over) DeleteSession(ctx context.Context, by faas.Actor, id faas.SessionID) error {
	return o.Sessions.DeleteSession(ctx, by, id)
}

// TestStore: with Redis in front of it each store is still one, whether Redis answers or not.
func TestStore(t *testing.T) {
	server := testrig.Redis(t)
	var databases testrig.Databases
	for name, open := range map[string]func(t testing.TB, place string) (storetest.Store, error){
		"sqlite": func(t testing.TB, place string) (storetest.Store, error) {
			return sqlite.Open(t.Context(), filepath.Join(place, "envoke.db"))
		},
		"postgres": func(t testing.TB, place string) (storetest.Store, error) {
			return postgres.Open(t.Context(), databases.Address(t, place))
		},
	} {
		for state, url := range map[string]string{"there": server.URL(), "away": "unix:///no/such/redis"} {
			if name == "postgres" && state == "away" {
				continue // the store is alone, as in its own tests
			}
			t.Run(name+" with Redis "+state, func(t *testing.T) {
				storetest.Run(t, func(t testing.TB, place string) storetest.Store {
					store, err := open(t, place)
					if err != nil {
						t.Fatal(err)
					}
					c, _ := client(t, url)
					return over{store, redis.NewSessions(c, store, nil)}
				})
			})
		}
	}
}

func newEntry(body string) *resultcache.Entry {
	return &resultcache.Entry{
		Status: 200, Headers: []resultcache.Header{{Name: "content-type", Value: "application/json"}, {Name: "x", Value: ""}},
		Body: []byte(body), Made: time.Now(), Life: time.Minute,
	}
}

var installation = faas.SessionKey("an installation's key")

func TestResults(t *testing.T) {
	server := testrig.Redis(t)
	ours, metrics := client(t, server.URL())
	theirs, _ := client(t, server.URL())
	key, other := resultcache.Key{1}, resultcache.Key{2}
	want := newEntry(`{"a":1}`)
	redis.NewResults(ours, installation).Store(t.Context(), key, want)
	got := redis.NewResults(theirs, installation).Find(t.Context(), key)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(resultcache.Entry{}), cmpopts.IgnoreFields(resultcache.Entry{}, "Reply"), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := redis.NewResults(ours, installation).Find(t.Context(), other); got != nil {
		t.Errorf("found %+v under another key", got)
	}
	asked(t, metrics, "miss", 1)
	if got := redis.NewResults(theirs, faas.SessionKey("another installation's key")).Find(t.Context(), key); got != nil {
		t.Errorf("another installation found %+v", got)
	}
	old := newEntry("old")
	old.Made = old.Made.Add(-2 * time.Minute)
	redis.NewResults(ours, installation).Store(t.Context(), other, old)
	if got := redis.NewResults(ours, installation).Find(t.Context(), other); got != nil {
		t.Errorf("what has no life left was kept: %+v", got)
	}
}

// Whatever Redis holds, it is a miss or what an Envoke wrote.
func TestForeignValues(t *testing.T) {
	server := testrig.Redis(t)
	c, metrics := client(t, server.URL())
	results, key := redis.NewResults(c, installation), resultcache.Key{7}
	results.Store(t.Context(), key, newEntry(strings.Repeat("x", 100)))
	raw := goredis.NewClient(&goredis.Options{Network: "unix", Addr: strings.TrimPrefix(server.URL(), "unix://")})
	t.Cleanup(func() { _ = raw.Close() })
	names, err := raw.Keys(t.Context(), "*").Result()
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	good, err := raw.Get(t.Context(), names[0]).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	n := 0.0
	for i := range good { // each byte, changed; each length
		for _, bad := range [][]byte{good[:i], append(append(bytes.Clone(good[:i]), good[i]^0x41), good[i+1:]...)} {
			if err := raw.Set(t.Context(), names[0], bad, 0).Err(); err != nil {
				t.Fatal(err)
			}
			if got := results.Find(t.Context(), key); got != nil {
				t.Fatalf("byte %d: found %+v", i, got)
			}
			n++
		}
	}
	asked(t, metrics, "foreign", n)
	if err := raw.Del(t.Context(), names[0]).Err(); err != nil {
		t.Fatal(err)
	}
	if err := raw.LPush(t.Context(), names[0], "a list").Err(); err != nil {
		t.Fatal(err)
	}
	if got := results.Find(t.Context(), key); got != nil {
		t.Errorf("found %+v in a list", got)
	}
}

// A Redis that does not answer costs one wait, and then nothing for a while.
func TestStalls(t *testing.T) {
	server := testrig.Redis(t)
	c, metrics := client(t, server.URL())
	results, key := redis.NewResults(c, installation), resultcache.Key{1}
	results.Store(t.Context(), key, newEntry("x"))
	server.Stall(t)
	began := time.Now()
	for range 1000 {
		if results.Find(t.Context(), key) != nil {
			t.Fatal("it answers")
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("1,000 questions took %v", took)
	}
	server.Resume(t)
	testrig.Eventually(t, "it answers again", func() bool { return results.Find(t.Context(), key) != nil })
	asked(t, metrics, "hit", 1)
}

// Full and read-only servers refuse what is written.
func TestRefusals(t *testing.T) {
	full := testrig.Redis(t, "--maxmemory", "1")
	c, metrics := client(t, full.URL())
	results := redis.NewResults(c, installation)
	results.Store(t.Context(), resultcache.Key{1}, newEntry("x"))
	asked(t, metrics, "failed", 1)
	if got := results.Find(t.Context(), resultcache.Key{1}); got != nil {
		t.Errorf("found %+v", got)
	}
}

// Bytes that are no Redis at all.
func TestGarbage(t *testing.T) {
	path := filepath.Join(testrig.Dir(t), "garbage.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("\x00\xff garbage \r\n$999999999999\r\n"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	c, _ := client(t, "unix://"+path)
	if got := redis.NewResults(c, installation).Find(t.Context(), resultcache.Key{1}); got != nil {
		t.Errorf("found %+v", got)
	}
	if err := c.Ping(t.Context()); faas.AsError(err).Code != faas.Unavailable {
		t.Error(err)
	}
}
