package resultcache_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"envoke/internal/resultcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newCache(maxBytes int64) (*resultcache.Cache, *clock) {
	c := &clock{now: time.Unix(1_000_000, 0)}
	return resultcache.New(resultcache.Options{MaxBytes: maxBytes, Now: c.Now}), c
}

func key(name string) resultcache.Key { return sha256.Sum256([]byte(name)) }

func (c *clock) entry(body string) *resultcache.Entry {
	return &resultcache.Entry{Status: 200, Body: []byte(body), Made: c.now, Life: time.Hour}
}

var minute = resultcache.Limits{MaxAge: time.Minute, Stale: 30 * time.Second}

// lead asks for what nobody has and is to run the function.
func lead(t *testing.T, c *resultcache.Cache, name string, limits resultcache.Limits) *resultcache.Flight {
	t.Helper()
	entry, flight, first := c.Ask(key(name), limits)
	if entry != nil || !first {
		t.Fatalf("Ask(%s) = %v, first %v: want a flight to lead", name, entry, first)
	}
	return flight
}

// wantHeld asks for what is there.
func wantHeld(t *testing.T, c *resultcache.Cache, name string, limits resultcache.Limits, body string) {
	t.Helper()
	entry, _, _ := c.Ask(key(name), limits)
	if entry == nil || string(entry.Body) != body {
		t.Fatalf("Ask(%s) = %+v, want %q", name, entry, body)
	}
}

func TestAges(t *testing.T) {
	c, clock := newCache(1 << 20)
	lead(t, c, "a", minute).Land(t.Context(), clock.entry("1"))
	clock.now = clock.now.Add(time.Minute)
	wantHeld(t, c, "a", minute, "1")
	wantHeld(t, c, "a", resultcache.Limits{MaxAge: time.Hour}, "1")

	// One second older than one caller takes: that one renews it.
	clock.now = clock.now.Add(time.Second)
	renewal := lead(t, c, "a", minute)
	wantHeld(t, c, "a", minute, "1") // stale, while it is renewed
	if entry, _, first := c.Ask(key("a"), resultcache.Limits{MaxAge: time.Minute}); entry != nil || first {
		t.Errorf("a caller who takes nothing stale got %v, first %v", entry, first)
	}
	clock.now = clock.now.Add(30 * time.Second)
	if entry, _, first := c.Ask(key("a"), minute); entry != nil || first {
		t.Errorf("older than stale: got %v, first %v", entry, first)
	}
	renewal.Land(t.Context(), clock.entry("2"))
	wantHeld(t, c, "a", minute, "2")
}

func TestARenewalThatFailsKeepsTheOldForLaterCallers(t *testing.T) {
	c, clock := newCache(1 << 20)
	lead(t, c, "a", minute).Land(t.Context(), clock.entry("1"))
	clock.now = clock.now.Add(70 * time.Second)
	lead(t, c, "a", minute).Leave(true)
	next := lead(t, c, "a", minute) // not held up by the failure
	wantHeld(t, c, "a", minute, "1")
	next.Leave(false)
}

func TestOneFlightForAll(t *testing.T) {
	c, clock := newCache(1 << 20)
	var runs, answers atomic.Int32
	var group sync.WaitGroup
	release := make(chan struct{})
	for range 1000 {
		group.Go(func() {
			entry, flight, first := c.Ask(key("a"), minute)
			if first {
				runs.Add(1)
				<-release
				flight.Land(t.Context(), clock.entry("1"))
				return
			}
			if entry == nil {
				entry, _, _ = flight.Wait(t.Context())
			}
			if entry != nil && string(entry.Body) == "1" {
				answers.Add(1)
			}
		})
	}
	close(release)
	group.Wait()
	if runs.Load() != 1 || answers.Load() != 999 {
		t.Errorf("%d runs, %d answers", runs.Load(), answers.Load())
	}
}

func TestOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*resultcache.Flight)
		want resultcache.Outcome
	}{
		{"alone", func(f *resultcache.Flight) { f.Leave(true) }, resultcache.Alone},
		{"abandoned", func(f *resultcache.Flight) { f.Leave(false) }, resultcache.Abandoned},
		{"left twice", func(f *resultcache.Flight) { f.Leave(true); f.Leave(false) }, resultcache.Alone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := newCache(1 << 20)
			flight := lead(t, c, "a", minute)
			_, same, first := c.Ask(key("a"), minute)
			if same != flight || first {
				t.Fatal("the second does not share the flight")
			}
			tt.end(flight)
			if entry, outcome, err := same.Wait(t.Context()); entry != nil || outcome != tt.want || err != nil {
				t.Errorf("Wait = %v, %v, %v", entry, outcome, err)
			}
			lead(t, c, "a", minute).Leave(false)
			if stats := c.Stats(); stats.Flights != 0 {
				t.Errorf("stats %+v", stats)
			}
		})
	}
}

func TestWaitEndsWithItsCaller(t *testing.T) {
	c, _ := newCache(1 << 20)
	flight := lead(t, c, "a", minute)
	defer flight.Leave(false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := flight.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v", err)
	}
}

func TestBytesAreBounded(t *testing.T) {
	const most = 1 << 20
	c, clock := newCache(most)
	for i := range 1000 {
		name := strconv.Itoa(i)
		lead(t, c, name, minute).Land(t.Context(), clock.entry(string(make([]byte, 10_000))))
		if stats := c.Stats(); stats.Bytes > most {
			t.Fatalf("%d bytes held", stats.Bytes)
		}
	}
	stats := c.Stats()
	if stats.Entries < 90 || stats.Evicted != uint64(1000-stats.Entries) {
		t.Errorf("stats %+v", stats)
	}
	wantHeld(t, c, "999", minute, string(make([]byte, 10_000)))
	lead(t, c, "0", minute).Leave(false) // evicted

	// What is too large is nobody's, and drives nothing out.
	lead(t, c, "large", minute).Land(t.Context(), clock.entry(string(make([]byte, most/8))))
	lead(t, c, "large", minute).Leave(false)
	if after := c.Stats(); after.Entries != stats.Entries || after.Bytes != stats.Bytes {
		t.Errorf("stats %+v after a result that is too large, %+v before", after, stats)
	}
}

// shared is a slower cache in a map.
type shared map[resultcache.Key]*resultcache.Entry

func (s shared) Find(_ context.Context, key resultcache.Key) *resultcache.Entry { return s[key] }

func (s shared) Store(_ context.Context, key resultcache.Key, e *resultcache.Entry) { s[key] = e }

func TestSharedCache(t *testing.T) {
	slower := shared{}
	clock := &clock{now: time.Unix(1_000_000, 0)}
	replica := func() *resultcache.Cache {
		return resultcache.New(resultcache.Options{MaxBytes: 1 << 20, Now: clock.Now, Shared: slower})
	}
	one, other := replica(), replica()
	flight := lead(t, one, "a", minute)
	if entry := flight.FindShared(t.Context(), minute); entry != nil {
		t.Fatalf("found %v", entry)
	}
	flight.Land(t.Context(), clock.entry("1"))

	flight = lead(t, other, "a", minute)
	if entry := flight.FindShared(t.Context(), minute); entry == nil || string(entry.Body) != "1" {
		t.Fatalf("found %v", entry)
	}
	wantHeld(t, other, "a", minute, "1")
	clock.now = clock.now.Add(2 * time.Minute)
	flight = lead(t, other, "a", minute)
	if entry := flight.FindShared(t.Context(), minute); entry != nil {
		t.Errorf("found %v, which is too old", entry)
	}
	flight.Leave(false)
}

func BenchmarkAsk(b *testing.B) {
	c, clock := newCache(1 << 20)
	_, flight, _ := c.Ask(key("a"), minute)
	flight.Land(b.Context(), clock.entry("1"))
	k := key("a")
	b.ReportAllocs()
	for b.Loop() {
		if entry, _, _ := c.Ask(k, minute); entry == nil {
			b.Fatal("nothing held")
		}
	}
}
