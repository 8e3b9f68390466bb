package redis_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/postgres"
	"envoke/internal/redis"
	"envoke/internal/testrig"
)

// control is what one control has of sessions, with the feed of changes where it serves.
func control(t *testing.T, store *postgres.Store, url string) (s *redis.Sessions, serve func()) {
	t.Helper()
	c, _ := client(t, url)
	s = redis.NewSessions(c, store, store)
	return s, func() {
		t.Helper()
		testrig.Serve(t, s.Serve)
		testrig.Serve(t, func(ctx context.Context) error { return store.FollowChanges(ctx, s.Heard, func(error) {}) })
	}
}

func openPostgres(t *testing.T, address string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// away is a store that must not be asked for sessions.
type away struct{ redis.SessionStore }

func (away) FindLive(context.Context, faas.SessionID) (faas.Session, error) {
	return faas.Session{}, errors.New("the store was asked")
}

// Who deleted is gone with what it owed to Redis: a control that is started later does not
// believe what Redis still has, and tells it.
func TestADeletionOutlivesItsControl(t *testing.T) {
	store, server := openPostgres(t, testrig.Postgres(t)), testrig.Redis(t)
	killed, _ := control(t, store, server.URL())
	var deleted []faas.SessionID
	for range 3 {
		deleted = append(deleted, create(t, killed, time.Hour).ID)
	}
	kept := create(t, killed, time.Hour)
	server.Stall(t)
	for _, id := range deleted { // by one whose question to Redis was never sent
		if err := store.DeleteSession(t.Context(), faas.Actor{}, id); err != nil {
			t.Fatal(err)
		}
	}
	started, serve := control(t, store, server.URL())
	isGone(t, "who was started while Redis stalls", started, deleted[0])
	server.Resume(t)
	isGone(t, "who was started, and has told nothing yet", started, deleted[0])
	serve()
	alone, _ := client(t, server.URL())
	inRedis := redis.NewSessions(alone, away{store}, nil) // believes nothing but tombstones
	testrig.Eventually(t, "Redis knows of all deletions", func() bool {
		for _, id := range deleted {
			isGone(t, "who was started", started, id)
			if _, err := inRedis.FindLive(t.Context(), id); !faas.IsNotFound(err) {
				return false
			}
		}
		return true
	})
	if found, err := started.FindLive(t.Context(), kept.ID); err != nil || found.ID != kept.ID {
		t.Errorf("%+v, %v", found, err)
	}
}

// Redis is believed about older sessions when it was told of all deletions.
func TestRedisIsBelievedAgain(t *testing.T) {
	store, server := openPostgres(t, testrig.Postgres(t)), testrig.Redis(t)
	first, _ := control(t, store, server.URL())
	session := create(t, first, time.Hour)
	c, metrics := client(t, server.URL())
	second := redis.NewSessions(c, store, store)
	if _, err := second.FindLive(t.Context(), session.ID); err != nil {
		t.Fatal(err)
	}
	asked(t, metrics, "doubted", 1)
	testrig.Serve(t, second.Serve)
	testrig.Serve(t, func(ctx context.Context) error { return store.FollowChanges(ctx, second.Heard, func(error) {}) })
	testrig.Eventually(t, "a hit", func() bool {
		if _, err := second.FindLive(t.Context(), session.ID); err != nil {
			t.Fatal(err)
		}
		return sum(t, metrics, "hit") > 0
	})
}

// A control that lives pays what another owed.
func TestADeletionIsHeard(t *testing.T) {
	store, server := openPostgres(t, testrig.Postgres(t)), testrig.Redis(t)
	one, serve := control(t, store, server.URL())
	serve()
	dead, _ := control(t, store, server.URL())
	session := create(t, one, time.Hour)
	testrig.Eventually(t, "the other to follow", func() bool {
		other := create(t, dead, time.Hour)
		_ = store.DeleteSession(t.Context(), faas.Actor{}, other.ID)
		<-time.After(50 * time.Millisecond)
		_, err := one.FindLive(t.Context(), other.ID)
		return faas.IsNotFound(err)
	})
	server.Stall(t)
	if err := store.DeleteSession(t.Context(), faas.Actor{}, session.ID); err != nil {
		t.Fatal(err) // by one whose question to Redis was never sent
	}
	server.Resume(t)
	alone, _ := client(t, server.URL())
	inRedis := redis.NewSessions(alone, away{store}, nil)
	testrig.Eventually(t, "Redis to know", func() bool {
		_, err := inRedis.FindLive(t.Context(), session.ID)
		return faas.IsNotFound(err)
	})
}

// With SQLite a process hears of no deletion that came before it: it believes Redis only about
// what is younger.
func TestWhatIsOlderIsNotBelieved(t *testing.T) {
	store, server := newStore(t), testrig.Redis(t)
	killed, _ := replicas(t, store, server)
	session := create(t, killed, time.Hour)
	if err := store.DeleteSession(t.Context(), faas.Actor{}, session.ID); err != nil { // Redis was never told
		t.Fatal(err)
	}
	started, _ := replicas(t, store, server)
	isGone(t, "who was started later", started, session.ID)
}

// Of more deletions than it remembers a control loses none: it believes Redis about nothing.
func TestTooManyDeletions(t *testing.T) {
	store, server := newStore(t), testrig.Redis(t)
	one, _ := replicas(t, store, server)
	session := create(t, one, time.Hour)
	if err := store.DeleteSession(t.Context(), faas.Actor{}, session.ID); err != nil {
		t.Fatal(err)
	}
	one.Heard(faas.Change{Session: session.ID})
	for n := range 20_000 {
		one.Heard(faas.Change{Session: faas.SessionID(fmt.Sprint(n))})
	}
	isGone(t, "who heard of many", one, session.ID)
}
