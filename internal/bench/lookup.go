package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"envoke/internal/accesslog"
	"envoke/internal/faas"
	"envoke/internal/postgres"
	"envoke/internal/redis"
	"envoke/internal/registry"
	"envoke/internal/sqlite"
)

// Lookups are look-ups of live sessions in one place.
type Lookups struct {
	Where     string  `json:"where"`
	ThirtyTwo float64 `json:"per_second_by_32"`
	One       float64 `json:"per_second_by_1"`
	// Failed were not answered in time: Redis is given 100 ms, and then left alone for a
	// moment. On a machine that does nothing else there are none.
	Failed int `json:"failed,omitempty"`
}

// What control asks one after the other, and SQLite in place of PostgreSQL.
const (
	inMemory   = "memory"
	inRedis    = "Redis"
	inPostgres = "PostgreSQL"
	inSQLite   = "SQLite"
)

// lookupSessions is how many live sessions there are, which all are asked about in turns.
const lookupSessions = 1000

// databaseStore is what both databases are.
type databaseStore interface {
	accesslog.Store
	registry.Store
	Close() error
}

// stores are what a control stands on, each with the same sessions in it.
type stores struct {
	sqlite, postgres databaseStore
	redis            *redis.Client
	sessions         []faas.Session
}

func (s *state) openStores(ctx context.Context) (*stores, error) {
	open := &stores{}
	address, err := s.postgres.NewDatabase(ctx, "inside")
	if err == nil {
		var store *postgres.Store
		if store, err = postgres.Open(ctx, address); err == nil {
			open.postgres = store
		}
	}
	if err == nil {
		var store *sqlite.Store
		if store, err = sqlite.Open(ctx, filepath.Join(s.stand.dir, "inside.db")); err == nil {
			open.sqlite = store
		}
	}
	if err == nil {
		open.redis, err = redis.New(redis.Options{URL: s.redis.URL(), Use: "sessions", Logger: silent(), Registerer: prometheus.NewRegistry()})
	}
	if err != nil {
		return nil, errors.Join(err, open.close())
	}
	return open, nil
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (s *stores) close() (err error) {
	for _, store := range []databaseStore{s.sqlite, s.postgres} {
		if store != nil {
			err = errors.Join(err, store.Close())
		}
	}
	if s.redis != nil {
		err = errors.Join(err, s.redis.Close())
	}
	return err
}

// measureLookups asks each layer alone: what is in the one is not looked for in the next.
func (s *state) measureLookups(ctx context.Context, stores *stores) error {
	key := faas.NewSessionKey()
	s.config.Progress("looking sessions up")
	// Before there are sessions: Redis is believed about those that come after.
	inFront := redis.NewSessions(stores.redis, stores.postgres, nil)
	alone := redis.NewSessions(stores.redis, nowhere{stores.postgres}, nil)
	if err := stores.fill(ctx, key); err != nil {
		return fmt.Errorf("make sessions: %w", err)
	}
	memory := registry.New(registry.Options{Store: stores.postgres, Key: key, Logger: silent(), Registerer: prometheus.NewRegistry()})
	for _, session := range stores.sessions { // each layer has them from the one behind it
		_, err := inFront.FindLive(ctx, session.ID)
		if err == nil {
			_, err = memory.FindSession(ctx, session.ID)
		}
		if err != nil {
			return fmt.Errorf("look a session up: %w", err)
		}
	}
	for _, layer := range []struct {
		where string
		find  func(context.Context, faas.SessionID) (faas.Session, error)
	}{
		{inMemory, memory.FindSession}, {inRedis, alone.FindLive}, {inPostgres, stores.postgres.FindLive}, {inSQLite, stores.sqlite.FindLive},
	} {
		found := Lookups{Where: layer.where}
		for _, askers := range []struct {
			n    int
			rate *float64
		}{{32, &found.ThirtyTwo}, {1, &found.One}} {
			asked, err := s.lookUp(ctx, stores.sessions, askers.n, layer.find)
			if err != nil {
				return fmt.Errorf("look sessions up in %s: %w", layer.where, err)
			}
			*askers.rate = asked.perSecond
			found.Failed += asked.failed
		}
		s.Lookups = append(s.Lookups, found)
	}
	return nil
}

// nowhere is a store behind Redis that is not to be asked.
type nowhere struct{ redis.SessionStore }

// FindLive implements redis.SessionStore.
func (nowhere) FindLive(context.Context, faas.SessionID) (faas.Session, error) {
	return faas.Session{}, errors.New("the session was not in Redis, or Redis did not answer")
}

// fill makes the same live sessions in both databases.
func (s *stores) fill(ctx context.Context, key faas.SessionKey) error {
	script := faas.NewScript(faas.NodeJS, "return event.params.a + event.params.b", nil)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for range lookupSessions {
		now := time.Now()
		session := faas.Session{
			ID: key.NewID(faas.NodeJS, true), Name: faas.Name{Language: faas.NodeJS, Title: "bench"}, Digest: script.Digest,
			Context: []byte(`{"environment":"bench"}`), CreatedAt: now, ExpiresAt: now.Add(time.Hour), Status: faas.Active,
		}
		s.sessions = append(s.sessions, session)
		group.Go(func() error {
			return errors.Join(s.postgres.CreateSession(ctx, session, &script), s.sqlite.CreateSession(ctx, session, &script))
		})
	}
	return group.Wait()
}

// lookedUp is what became of look-ups.
type lookedUp struct {
	perSecond float64
	failed    int
}

// lookUpPause is after a look-up that failed.
const lookUpPause = 10 * time.Millisecond

// lookUp has so many ask at once, in each layer for as long.
func (s *state) lookUp(ctx context.Context, sessions []faas.Session, askers int, find func(context.Context, faas.SessionID) (faas.Session, error)) (lookedUp, error) {
	var asked, failed atomic.Int64
	began := time.Now()
	end := began.Add(s.config.Duration)
	group, ctx := errgroup.WithContext(ctx)
	for first := range askers {
		group.Go(func() error {
			n, found := 0, 0
			defer func() { asked.Add(int64(found)) }()
			for ; time.Now().Before(end); n++ {
				want := sessions[(first*len(sessions)/askers+n)%len(sessions)].ID
				got, err := find(ctx, want)
				switch {
				case err == nil && got.ID == want:
					found++
				case err == nil:
					return fmt.Errorf("session %s: found %q", want, got.ID)
				case ctx.Err() != nil || found == 0:
					return fmt.Errorf("session %s: %w", want, err)
				default:
					failed.Add(1)
					wait(ctx, lookUpPause)
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return lookedUp{float64(asked.Load()) / time.Since(began).Seconds(), int(failed.Load())}, err
}

// wait ends with the context, or after d.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
