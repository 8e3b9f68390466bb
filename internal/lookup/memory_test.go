package lookup_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"envoke/internal/lookup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func memory(count int) *lookup.Memory[string, string] {
	return lookup.New[string](count, 10, func(s string) int64 { return int64(len(s)) })
}

func always(s string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return s, nil }
}

func TestFindHoldsWhatItFound(t *testing.T) {
	m := memory(2)
	if got, err := m.Find(t.Context(), "k", time.Second, always("one")); got != "one" || err != nil {
		t.Fatalf("Find = %q, %v", got, err)
	}
	if got, ok := m.Held("k"); got != "one" || !ok {
		t.Fatalf("Held = %q, %v", got, ok)
	}
	if got, _ := m.Find(t.Context(), "k", time.Second, always("two")); got != "two" {
		t.Fatalf("a second Find = %q, want what is true now", got)
	}
	m.Drop("k")
	if _, ok := m.Held("k"); ok || m.Len() != 0 || m.Size() != 0 {
		t.Fatalf("held after Drop: %v, len %d, size %d", ok, m.Len(), m.Size())
	}
}

func TestFindDoesNotHoldFailures(t *testing.T) {
	m, away := memory(2), errors.New("away")
	_, err := m.Find(t.Context(), "k", time.Second, func(context.Context) (string, error) { return "half", away })
	if _, held := m.Held("k"); !errors.Is(err, away) || held {
		t.Fatalf("Find = %v, held %v", err, held)
	}
}

func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []string // under their own names, oldest first
		want   []string
		size   int64
	}{
		{"fits", []string{"aaaa", "bbbb"}, []string{"aaaa", "bbbb"}, 8},
		{"count", []string{"a", "b", "c", "d"}, []string{"b", "c", "d"}, 3},
		{"size", []string{"aaaa", "bbbb", "cccc"}, []string{"bbbb", "cccc"}, 8},
		{"one too large alone", []string{"a", "0123456789x"}, []string{"a"}, 1},
		{"again", []string{"aaaaaa", "aaaaaa"}, []string{"aaaaaa"}, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := memory(3)
			for _, v := range tt.values {
				m.Hold(v, v)
			}
			for _, v := range tt.want {
				if _, ok := m.Held(v); !ok {
					t.Errorf("%q is not held", v)
				}
			}
			if m.Len() != len(tt.want) || m.Size() != tt.size {
				t.Errorf("len %d, size %d; want %d, %d", m.Len(), m.Size(), len(tt.want), tt.size)
			}
		})
	}
}

// Everyone who asks while a find is under way shares it.
func TestFindAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, asked, answer := memory(2), atomic.Int32{}, make(chan struct{})
		find := func(context.Context) (string, error) {
			asked.Add(1)
			<-answer
			return "v", nil
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if got, err := m.Find(t.Context(), "k", time.Second, find); got != "v" || err != nil {
					t.Errorf("Find = %q, %v", got, err)
				}
			})
		}
		synctest.Wait()
		close(answer)
		all.Wait()
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
}

// What a find read before a Drop, or an Unshare, is neither held nor shared with later callers.
func TestDropOutrunsFind(t *testing.T) {
	for name, drop := range map[string]func(*lookup.Memory[string, string]){
		"drop":    func(m *lookup.Memory[string, string]) { m.Drop("k") },
		"unshare": (*lookup.Memory[string, string]).Unshare,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, answer := memory(2), make(chan struct{})
				var all sync.WaitGroup
				all.Go(func() {
					_, _ = m.Find(t.Context(), "k", time.Second, func(context.Context) (string, error) {
						<-answer
						return "stale", nil
					})
				})
				synctest.Wait() // the find has read "stale"
				drop(m)
				if got, _ := m.Find(t.Context(), "k", time.Second, always("fresh")); got != "fresh" {
					t.Errorf("Find afterwards = %q", got)
				}
				close(answer)
				all.Wait()
				if got, _ := m.Held("k"); got != "fresh" {
					t.Errorf("Held = %q, want the fresh one", got)
				}
			})
		})
	}
}

// DropAll drops what matches, also what is on its way, and nothing else.
func TestDropAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, answer := memory(4), make(chan struct{})
		for _, key := range []string{"a1", "a2", "b1"} {
			m.Hold(key, key)
		}
		var all sync.WaitGroup
		for _, key := range []string{"a3", "b2"} {
			all.Go(func() {
				_, _ = m.Find(t.Context(), key, time.Second, func(context.Context) (string, error) {
					<-answer
					return key, nil
				})
			})
		}
		synctest.Wait()
		m.DropAll(func(key string) bool { return key[0] == 'a' })
		close(answer)
		all.Wait()
		for key, want := range map[string]bool{"a1": false, "a2": false, "a3": false, "b1": true, "b2": true} {
			if _, held := m.Held(key); held != want {
				t.Errorf("%s is held: %v", key, held)
			}
		}
		if m.Size() != 4 {
			t.Errorf("size %d, want 4", m.Size())
		}
	})
}

func TestFindEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory(2)
		hang := func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		var all sync.WaitGroup
		all.Go(func() {
			gone, cancel := context.WithCancel(t.Context())
			cancel() // the caller's end is not the find's: the other still waits
			if _, err := m.Find(gone, "k", time.Second, hang); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first: %v", err)
			}
		})
		synctest.Wait()
		brief, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := m.Find(brief, "k", time.Second, hang); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second: %v", err)
		}
		if waited := time.Since(start); waited != 10*time.Millisecond {
			t.Errorf("the second waited %v", waited)
		}
		all.Wait()
	})
}

func TestPanicDoesNotHangOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, answer := memory(2), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			defer func() { _ = recover() }()
			_, _ = m.Find(t.Context(), "k", time.Second, func(context.Context) (string, error) {
				<-answer
				panic("find")
			})
		})
		synctest.Wait()
		all.Go(func() {
			if _, err := m.Find(t.Context(), "k", time.Second, always("v")); err == nil {
				t.Error("the other was given an answer")
			}
		})
		synctest.Wait()
		close(answer)
		all.Wait()
	})
}

func BenchmarkHeld(b *testing.B) {
	m := memory(10)
	m.Hold("k", "v")
	b.ReportAllocs()
	for b.Loop() {
		m.Held("k")
	}
}
