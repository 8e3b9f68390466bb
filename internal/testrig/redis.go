package testrig

import (
	"context"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"envoke/internal/localdb"
)

// Do has the server do a command, which must not fail.
func (s *RedisServer) Do(t testing.TB, command ...any) {
	t.Helper()
	options, err := goredis.ParseURL(s.URL())
	must(t, err)
	client := goredis.NewClient(options)
	defer func() { _ = client.Close() }()
	must(t, client.Do(t.Context(), command...).Err())
}

// RedisServer is a Redis of a test's own, on a Unix socket in a temporary folder, with nothing
// on disk. It ends with the test.
type RedisServer struct{ server *localdb.Redis }

// Redis starts a server with more of its settings, such as "--maxmemory", "1mb". Without
// redis-server the test is skipped, and fails where CI is set.
func Redis(t testing.TB, settings ...string) *RedisServer {
	t.Helper()
	server, err := localdb.OpenRedis(context.Background(), RedisBin(t), settings...)
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	return &RedisServer{server}
}

// URL is its address.
func (s *RedisServer) URL() string { return s.server.URL() }

// Start starts the server and waits until it takes connections. It holds nothing.
func (s *RedisServer) Start(t testing.TB) { t.Helper(); must(t, s.server.Start(context.Background())) }

// Kill ends the server at once, with all that it holds.
func (s *RedisServer) Kill(t testing.TB) { t.Helper(); must(t, s.server.Kill()) }

// Stall keeps the server from answering until Resume, with its connections open.
func (s *RedisServer) Stall(t testing.TB) { t.Helper(); must(t, s.server.Stall()) }

// Resume ends a Stall.
func (s *RedisServer) Resume(t testing.TB) { t.Helper(); must(t, s.server.Resume()) }
