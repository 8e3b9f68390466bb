package main

import (
	"context"
	"errors"
	"fmt"

	"envoke/internal/faas"
	"envoke/internal/redis"
	"envoke/internal/registry"
	"envoke/internal/resultcache"
)

// redises are the Redises that the settings name.
type redises struct {
	sessions, results *redis.Client // nil: none
	rates             *redis.Client // where sessions are; nil: each Envoy counts by itself
	live              *redis.Sessions
}

func (c *Config) checkRedis() (faults []error) {
	for _, setting := range [...]struct{ name, url string }{{"REDIS_URL", c.RedisURL}, {"REDIS_CACHE_URL", c.RedisCacheURL}} {
		if setting.url == "" {
			continue
		}
		if err := redis.CheckURL(setting.url); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", setting.name, err))
		}
	}
	return append(faults, c.checkRates()...)
}

// openRedises does no I/O: what is away is asked again later.
func openRedises(e *environment, store redis.SessionStore) (r redises, err error) {
	if url := e.config.RedisURL; url != "" {
		if r.sessions, err = redis.New(redis.Options{URL: url, Use: "sessions", Logger: e.logger, Registerer: e.metrics}); err != nil {
			return r, err
		}
		deletions, _ := store.(redis.Deletions)
		r.live = redis.NewSessions(r.sessions, store, deletions)
	}
	if url := e.config.RedisCacheURL; url != "" {
		if r.results, err = redis.New(redis.Options{URL: url, Use: "results", Logger: e.logger, Registerer: e.metrics}); err != nil {
			return r, err
		}
	}
	r.rates, err = openRates(e)
	return r, err
}

// over is the store with its live sessions in Redis, where that is configured.
func (r redises) over(s store) registry.Store {
	if r.live == nil {
		return s
	}
	return sessionsInRedis{s, r.live}
}

// shared is where results of the installation are kept; nil: nowhere but in memory.
func (r redises) shared(key faas.SessionKey) resultcache.Shared {
	if r.results == nil {
		return nil
	}
	return redis.NewResults(r.results, key)
}

// hearing has Redis hear of changes before the others that do.
func (r redises) hearing(others func(faas.Change)) func(faas.Change) {
	if r.live == nil {
		return others
	}
	return func(c faas.Change) { r.live.Heard(c); others(c) }
}

// ping asks all that there are; nil where there is none.
func (r redises) ping() func(context.Context) error {
	if r.sessions == nil && r.results == nil {
		return nil
	}
	return func(ctx context.Context) (err error) {
		for _, client := range []*redis.Client{r.sessions, r.results} {
			if client != nil {
				err = errors.Join(err, client.Ping(ctx))
			}
		}
		return err
	}
}

// serve gives Redis what it did not take, until ctx ends, and closes the connections.
func (r redises) serve(ctx context.Context) error {
	if r.live == nil {
		<-ctx.Done()
		return r.close()
	}
	return errors.Join(r.live.Serve(ctx), r.close())
}

func (r redises) close() (err error) {
	for _, client := range []*redis.Client{r.sessions, r.results, r.rates} {
		if client != nil {
			err = errors.Join(err, client.Close())
		}
	}
	return err
}

// sessionsInRedis is a store whose sessions are asked for in Redis first.
type sessionsInRedis struct {
	store
	live *redis.Sessions
}

// CreateSession implements registry.Store.
func (s sessionsInRedis) CreateSession(ctx context.Context, session faas.Session, script *faas.Script) error {
	return s.live.CreateSession(ctx, session, script)
}

// FindLive implements registry.Store.
func (s sessionsInRedis) FindLive(ctx context.Context, id faas.SessionID) (faas.Session, error) {
	return s.live.FindLive(ctx, id)
}

// SetBuild implements registry.Store.
func (s sessionsInRedis) SetBuild(ctx context.Context, id faas.SessionID, status faas.CompileStatus, b faas.Build) error {
	return s.live.SetBuild(ctx, id, status, b)
}

// DeleteSession implements registry.Store.
func (s sessionsInRedis) DeleteSession(ctx context.Context, by faas.Actor, id faas.SessionID) error {
	return s.live.DeleteSession(ctx, by, id)
}
