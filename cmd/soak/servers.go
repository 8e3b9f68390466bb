package main

import (
	"context"
	"errors"
	"strconv"

	"envoke/internal/localdb"
	"envoke/internal/soak"
)

const (
	// redisMost is the memory after which Redis lets go of what was used least recently, as an
	// operator's would: sessions of one-shots are there for an hour, so that it only grows.
	redisMost = 64 << 20
	// redisBeside is what it takes beside that: buffers, and pages that are half empty.
	redisBeside = 48 << 20
	// postgresBeside is what processes of PostgreSQL share beside its buffers.
	postgresBeside = 48 << 20
)

// databases are those that Envoke is to stand on, in place of its own.
type databases struct {
	postgres *localdb.Postgres
	redis    *localdb.Redis
	flags    []string // of envoke serve
	servers  []soak.Server
}

// open starts what is asked for, of what make fetches to the cache folder.
func open(ctx context.Context, cache string, onPostgres, onRedis bool) (d *databases, err error) {
	d = &databases{}
	if onPostgres {
		err = d.openPostgres(ctx, cache)
	}
	if onRedis && err == nil {
		err = d.openRedis(ctx, cache)
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *databases) openPostgres(ctx context.Context, cache string) error {
	bin, err := localdb.FindPostgres(cache)
	if err != nil {
		return err
	}
	if d.postgres, err = localdb.OpenPostgres(ctx, localdb.PostgresOptions{Bin: bin, Durable: true}); err != nil {
		return err
	}
	address, err := d.postgres.NewDatabase(ctx, "soak")
	if err != nil {
		return err
	}
	d.flags = append(d.flags, "--database-url", address)
	// Its buffers fill up as tables grow, which is what they are for.
	d.servers = append(d.servers, soak.Server{Role: "postgres", Process: d.postgres.PID(), MostShared: localdb.SharedBuffers + postgresBeside})
	return nil
}

func (d *databases) openRedis(ctx context.Context, cache string) error {
	bin, err := localdb.FindRedis(cache)
	if err != nil {
		return err
	}
	d.redis, err = localdb.OpenRedis(ctx, bin, "--maxmemory", strconv.Itoa(redisMost), "--maxmemory-policy", "allkeys-lru")
	if err != nil {
		return err
	}
	d.flags = append(d.flags, "--redis-url", d.redis.URL(), "--redis-cache-url", d.redis.URL())
	d.servers = append(d.servers, soak.Server{Role: "redis", Process: d.redis.PID(), Most: redisMost + redisBeside})
	return nil
}

func (d *databases) close() (err error) {
	if d.redis != nil {
		err = d.redis.Close()
	}
	if d.postgres != nil {
		err = errors.Join(err, d.postgres.Close())
	}
	return err
}
