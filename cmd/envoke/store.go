package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"envoke/internal/accesslog"
	"envoke/internal/api"
	"envoke/internal/faas"
	"envoke/internal/keys"
	"envoke/internal/postgres"
	"envoke/internal/registry"
	"envoke/internal/secrets"
	"envoke/internal/sqlite"
	"envoke/migrations"
)

// store is what control asks of where it keeps functions, sessions and logs.
type store interface {
	accesslog.Store
	api.Store
	keys.Store
	migrations.Store
	registry.Store
	secrets.Stale
	secrets.Store
	sweeper
	SessionKey(context.Context) (faas.SessionKey, error)
	LatestRequestLogs(context.Context, faas.RequestLogQuery) ([]faas.RequestLog, error)
	AppendRecords(context.Context, faas.Records) error
	FindFailures(ctx context.Context, requestIDs []string) ([]faas.Failure, error)
	FindExchanges(ctx context.Context, requestID string) ([]faas.Exchange, error)
	Close() error
}

// openStore opens the database that the settings name, with its tables up to date.
func openStore(ctx context.Context, c *Config) (store, error) {
	if c.onPostgres() {
		s, err := postgres.Open(ctx, c.DatabaseURL)
		if err != nil {
			return nil, err // not s: a nil *Store is no nil store
		}
		return s, nil
	}
	s, err := sqlite.Open(ctx, c.databasePath())
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *Config) bindStores(f *pflag.FlagSet) {
	f.StringVar(&c.DatabaseURL, "database-url", "", "empty, sqlite:<path> or postgres://<user>:<password>@<host>/<database>: where functions, sessions and logs are stored")
	c.bindSecrets(f)
	f.StringVar(&c.RedisURL, "redis-url", "", "redis://<user>:<password>@<host>:<port>/<number>, rediss:// or unix://: where live sessions are looked up before the database; empty: in memory only")
	f.StringVar(&c.RedisCacheURL, "redis-cache-url", "", "the same, where results of functions are kept that may be cached; empty: in memory only")
}

// trimStores takes off what a file or a template has left around addresses, and a key.
func (c *Config) trimStores() {
	for _, address := range []*string{&c.DatabaseURL, &c.RedisURL, &c.RedisCacheURL, &c.AdminKey} {
		*address = strings.TrimSpace(*address)
	}
}

// follower is a store that tells what other processes have changed in it.
type follower interface {
	FollowChanges(ctx context.Context, heard func(faas.Change), lost func(error)) error
}

// onPostgres tells whether the store is a PostgreSQL database.
func (c *Config) onPostgres() bool {
	return strings.HasPrefix(c.DatabaseURL, "postgres://") || strings.HasPrefix(c.DatabaseURL, "postgresql://")
}

// checkDatabase says nothing of the address itself, which may have a password in it.
func (c *Config) checkDatabase() error {
	switch {
	case c.onPostgres():
		return postgres.CheckAddress(c.DatabaseURL)
	case c.DatabaseURL != "" && !strings.HasPrefix(c.DatabaseURL, "sqlite:"):
		return errors.New("it must be empty, sqlite:<path> or postgres://<user>:<password>@<host>/<database>")
	}
	return nil
}

func (c *Config) databasePath() string {
	if path, ok := strings.CutPrefix(c.DatabaseURL, "sqlite:"); ok {
		return strings.TrimPrefix(path, "//")
	}
	return filepath.Join(c.DataDir, "envoke.db")
}

func (c *Config) sessionExpiry() time.Duration {
	return time.Duration(c.SessionExpirySeconds) * time.Second
}
