package redis_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/redis"
	"envoke/internal/sqlite"
	"envoke/internal/testrig"
)

var key = faas.SessionKey("0123456789abcdef0123456789abcdef")

// counted is a store that counts the questions for sessions, and holds them up.
type counted struct {
	*sqlite.Store
	asked atomic.Int32
	after atomic.Pointer[func()] // runs when a session has been read
}

func (c *counted) FindLive(ctx context.Context, id faas.SessionID) (faas.Session, error) {
	c.asked.Add(1)
	found, err := c.Store.FindLive(ctx, id)
	if after := c.after.Load(); after != nil {
		(*after)()
	}
	return found, err
}

func newStore(t *testing.T) *counted {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &counted{Store: store}
}

// replicas are two controls over one store and one Redis.
func replicas(t *testing.T, store *counted, server *testrig.RedisServer) (one, two *redis.Sessions) {
	t.Helper()
	first, _ := client(t, server.URL())
	second, _ := client(t, server.URL())
	return redis.NewSessions(first, store, nil), redis.NewSessions(second, store, nil)
}

func create(t *testing.T, s *redis.Sessions, life time.Duration) faas.Session {
	t.Helper()
	script := faas.NewScript(faas.NodeJS, "return 1", nil)
	now := time.Now().UTC().Truncate(time.Microsecond)
	session := faas.Session{
		ID: key.NewID(faas.NodeJS, true), Name: faas.Name{Language: faas.NodeJS, Title: "f"}, Digest: script.Digest, Owner: "o",
		Context: []byte(`{"a": "<é>", "a": 12345678901234567890}`), Schema: []byte(`{ }`), Timeout: time.Second,
		CompileStatus: faas.CompileSuccess, Status: faas.Active, CreatedAt: now, ExpiresAt: now.Add(life),
	}
	if err := s.CreateSession(t.Context(), session, &script); err != nil {
		t.Fatal(err)
	}
	return session
}

func isGone(t *testing.T, who string, s *redis.Sessions, id faas.SessionID) {
	t.Helper()
	if found, err := s.FindLive(t.Context(), id); !faas.IsNotFound(err) {
		t.Errorf("%s finds %+v, %v", who, found, err)
	}
}

// What one control makes, the others find without the store.
func TestSessionsAreShared(t *testing.T) {
	store := newStore(t)
	one, two := replicas(t, store, testrig.Redis(t))
	want := create(t, one, time.Hour)
	got, err := two.FindLive(t.Context(), want.ID)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if n := store.asked.Load(); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
	if err := two.DeleteSession(t.Context(), faas.Actor{}, want.ID); err != nil {
		t.Fatal(err)
	}
	isGone(t, "the other", one, want.ID)
	if n := store.asked.Load(); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
}

// What Redis has lost comes back from the store, and expires with the session.
func TestSessionsAreRefilled(t *testing.T) {
	store, server := newStore(t), testrig.Redis(t)
	one, _ := replicas(t, store, server)
	session := create(t, one, 2*time.Second)
	server.Kill(t)
	server.Start(t)
	testrig.Eventually(t, "Redis has it again", func() bool {
		before := store.asked.Load()
		found, err := one.FindLive(t.Context(), session.ID)
		if err != nil || found.ID != session.ID {
			t.Fatalf("%+v, %v", found, err)
		}
		return store.asked.Load() == before
	})
	testrig.Eventually(t, "it has gone with the session", func() bool {
		before := store.asked.Load()
		_, _ = one.FindLive(t.Context(), session.ID)
		return store.asked.Load() > before
	})
}

// An id that nobody knows is asked about once a second.
func TestUnknownSessions(t *testing.T) {
	store := newStore(t)
	one, two := replicas(t, store, testrig.Redis(t))
	id := key.NewID(faas.NodeJS, true)
	for range 50 {
		isGone(t, "one", one, id)
		isGone(t, "two", two, id)
	}
	if n := store.asked.Load(); n > 5 {
		t.Errorf("the store was asked %d times", n)
	}
}

// A read of the store that began before a deletion does not bring the session back.
func TestADeletionIsNotUndone(t *testing.T) {
	store, server := newStore(t), testrig.Redis(t)
	one, two := replicas(t, store, server)
	session := create(t, one, time.Hour)
	server.Kill(t)
	server.Start(t) // so that it is read from the store
	testrig.Eventually(t, "both reach Redis again", func() bool {
		isGone(t, "one", one, key.NewID(faas.NodeJS, true))
		before := store.asked.Load()
		unknown := key.NewID(faas.NodeJS, true)
		isGone(t, "one", one, unknown)
		isGone(t, "two", two, unknown)
		return store.asked.Load() == before+1
	})
	deleted := func() {
		if err := two.DeleteSession(t.Context(), faas.Actor{}, session.ID); err != nil {
			t.Error(err)
		}
	}
	store.after.Store(&deleted)
	if _, err := one.FindLive(t.Context(), session.ID); err != nil {
		t.Fatal(err) // it was there when it was asked
	}
	store.after.Store(nil)
	isGone(t, "who asks later", one, session.ID)
}

// Nor does the end of a build that was noted before the deletion.
func TestABuildDoesNotUndoADeletion(t *testing.T) {
	store, server := newStore(t), testrig.Redis(t)
	one, two := replicas(t, store, server)
	session := create(t, one, time.Hour)
	deleted := func() {
		if err := two.DeleteSession(t.Context(), faas.Actor{}, session.ID); err != nil {
			t.Error(err)
		}
	}
	store.after.Store(&deleted)
	if err := one.SetBuild(t.Context(), session.ID, faas.CompileSuccess, faas.Build{}); err != nil {
		t.Fatal(err)
	}
	store.after.Store(nil)
	isGone(t, "who asks later", one, session.ID)
	isGone(t, "who deleted it", two, session.ID)
}

// Redis hears of a deletion that it did not take as soon as it can.
func TestTombstonesAreOwed(t *testing.T) {
	store, server := newStore(t), testrig.Redis(t)
	one, two := replicas(t, store, server)
	testrig.Serve(t, two.Serve)
	session := create(t, one, time.Hour)
	server.Stall(t)
	if err := two.DeleteSession(t.Context(), faas.Actor{}, session.ID); err != nil {
		t.Fatal(err)
	}
	isGone(t, "who deleted it", two, session.ID)
	server.Resume(t)
	isGone(t, "who deleted it, of what Redis still has", two, session.ID)
	testrig.Eventually(t, "the other does not find it", func() bool {
		_, err := one.FindLive(t.Context(), session.ID)
		return faas.IsNotFound(err)
	})
}

// A build that ends is known to all.
func TestBuildsAreShared(t *testing.T) {
	store := newStore(t)
	one, two := replicas(t, store, testrig.Redis(t))
	session := create(t, one, time.Hour)
	failed := faas.Build{Error: []byte(`{"code":"X"}`)}
	if err := one.SetBuild(t.Context(), session.ID, faas.CompileError, failed); err != nil {
		t.Fatal(err)
	}
	if found, err := two.FindLive(t.Context(), session.ID); err != nil || found.CompileStatus != faas.CompileError || string(found.Build.Error) != `{"code":"X"}` {
		t.Errorf("%+v, %v", found, err)
	}
}
