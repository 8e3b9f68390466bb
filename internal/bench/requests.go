package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Requests are answered requests of one kind, through Envoy, by 32 connections.
type Requests struct {
	Name      string  `json:"name"`
	Requests  int     `json:"requests"`
	PerSecond float64 `json:"requests_per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	// Shared is the part of them for which Redis had the result, of kinds that ask it.
	Shared float64 `json:"from_redis,omitempty"`
}

func newRequests(name string, o outcome) Requests {
	return Requests{
		Name: name, Requests: len(o.sorted), PerSecond: o.requestsPerSecond(),
		P50: milliseconds(percentile(o.sorted, 0.50)), P99: milliseconds(percentile(o.sorted, 0.99)),
	}
}

// stateConnections ask at once.
const stateConnections = 32

// measureInitializes makes sessions of new code in each store, and then compares where
// results come from.
func (s *state) measureInitializes(ctx context.Context) error {
	n := len(s.stand.processes)
	s.config.Progress("starting an Envoke on SQLite")
	ours, err := s.stand.startEnvoke(ctx, onSQLiteName, "--filter=false")
	if err != nil {
		return err
	}
	if err := s.measureInitialize(ctx, ours); err != nil {
		return err
	}
	s.stand.stopSince(n)
	address, err := s.postgres.NewDatabase(ctx, "serves")
	if err != nil {
		return err
	}
	s.config.Progress("starting two Envokes on PostgreSQL and Redis")
	flags := []string{"--filter=false", "--database-url", address, "--redis-url", s.redis.URL(), "--redis-cache-url", s.redis.URL()}
	if s.served, err = s.stand.startEnvoke(ctx, onPostgresName, flags...); err != nil {
		return err
	}
	if err := s.measureInitialize(ctx, s.served); err != nil {
		return err
	}
	other, err := s.stand.startEnvoke(ctx, otherName, flags...)
	if err != nil {
		return err
	}
	last := len(s.stand.processes) - 1
	if err := s.measureShared(ctx, other); err != nil {
		return err
	}
	s.stand.stopSince(last)
	return nil
}

// measureInitialize posts code that nobody has seen before in each request.
func (s *state) measureInitialize(ctx context.Context, ours target) error {
	s.config.Progress("making sessions: " + ours.name)
	endpoint := Endpoint{
		Network: "tcp", Address: ours.address, Path: "/api/v1/initialize", Of: []string{ours.name},
		Header: http.Header{"Language-Title": {"nodejs-bench"}},
		Body:   `{"script_content":"return event.params.a + %d"}`, Holds: `"status":"initialized"`,
	}
	if err := s.settled(ctx); err != nil {
		return err
	}
	o, err := measure(ctx, endpoint, Load{Connections: stateConnections, Duration: s.duration()})
	if err != nil {
		return fmt.Errorf("initialize by %s: %w", ours.name, err)
	}
	s.Requests = append(s.Requests, newRequests("initialize of new code, "+ours.name, o))
	return s.settled(ctx)
}

// settled waits until what runs rests.
func (s *state) settled(ctx context.Context) error {
	_, _, err := s.settle(ctx, quietPolls, settleMost)
	return err
}

// sharedEach is how many results each connection asks for, for each second of a
// measurement: some that fit into a cache of the default size, and take about that long.
const sharedEach = 125

// measureShared asks for the same results three times: of an Envoke that runs the function
// and keeps them, of another, which finds them in Redis, and of that again, whose ext_proc
// has them in memory then.
func (s *state) measureShared(ctx context.Context, other target) error {
	body, err := json.Marshal(map[string]any{
		"language": "nodejs", "title": strings.TrimPrefix(cachedTitle, "nodejs-"), "script_content": cachedSource, "cache_ttl_seconds": 600,
	})
	if err != nil {
		return fmt.Errorf("register %s: %w", cachedTitle, err)
	}
	functions := Endpoint{Network: "tcp", Address: s.served.address, Path: "/api/v1/functions"}
	if _, err := post(ctx, functions, string(body)); err != nil {
		return fmt.Errorf("register %s: %w", cachedTitle, err)
	}
	for _, pass := range []struct {
		name string
		of   target
	}{
		{"GET of a result that is made and kept", s.served},
		{"GET answered from Redis (L2)", other},
		{"GET answered by ext_proc (L1)", other},
	} {
		s.config.Progress(pass.name)
		if err := s.settled(ctx); err != nil {
			return err
		}
		requests, err := s.askEach(ctx, pass.name, pass.of)
		if err != nil {
			return fmt.Errorf("%s: %w", pass.name, err)
		}
		s.Requests = append(s.Requests, requests)
	}
	return nil
}

// resultsInRedis counts what Redis had.
const resultsInRedis = `envoke_redis_questions_total{outcome="hit",use="results"}`

// askEach asks for as many results, each once.
func (s *state) askEach(ctx context.Context, name string, of target) (Requests, error) {
	ctx, cancel := context.WithTimeout(ctx, s.duration()+stallTimeout)
	defer cancel()
	endpoint := Endpoint{Network: "tcp", Address: of.address, Path: cachedPath, Get: true}
	connections, err := connect(ctx, dialWaiting, endpoint, stateConnections)
	defer func() {
		for _, c := range connections {
			c.close()
		}
	}()
	if err != nil {
		return Requests{}, err
	}
	for _, c := range connections {
		c.most = max(1, int(sharedEach*s.duration().Seconds()))
	}
	before, err := readMetric(ctx, of.operators, resultsInRedis)
	if err != nil {
		return Requests{}, err
	}
	began := time.Now()
	if err := closedLoop(ctx, connections, began.Add(s.duration()+stallTimeout)); err != nil {
		return Requests{}, err
	}
	o := outcome{elapsed: time.Since(began), sorted: merge(connections)}
	after, err := readMetric(ctx, of.operators, resultsInRedis)
	requests := newRequests(name, o)
	requests.Shared = (after - before) / float64(requests.Requests)
	return requests, err
}
