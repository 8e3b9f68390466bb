package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"envoke/internal/faas"
)

const (
	hostPrefix = "envoke:host:"
	// hostIndex has the names of hosts by when they were last heard, so that nobody has to
	// look through all the keys of a Redis that holds sessions too.
	hostIndex = "envoke:hosts"
	// maxHosts bounds those that are read, and maxHost the bytes of one.
	maxHosts = 1000
	maxHost  = 2 << 10
	// forgottenAfter is when the name of a host goes that was not heard since. Its own key
	// went long before.
	forgottenAfter = time.Hour
	// ahead is how far beyond Redis' own time a name counts: no host writes such a one but by
	// a clock of its own, and many would hide all others for as long.
	ahead = time.Minute
	// rebuilding is for how long an index that was deleted says nothing of who is there: by
	// then each host has written its name again.
	rebuilding = 1500 * time.Millisecond
)

// Hosts are runtime hosts by what they say of themselves. Whoever may write to Redis can say
// so too: it is for the reader to have them show who they are. It is safe for concurrent use.
type Hosts struct {
	client *Client
	whole  atomic.Int64 // Unix time in nanoseconds from which the index is whole
}

// NewHosts keeps hosts in the client's Redis.
func NewHosts(client *Client) *Hosts { return &Hosts{client: client} }

// Announce says that a host is there for as long as its life. It must be said again before.
func (h *Hosts) Announce(ctx context.Context, host faas.Host, life time.Duration) error {
	value, err := json.Marshal(host)
	if err != nil {
		return fmt.Errorf("encode host: %w", err)
	}
	// Redis' own time: each machine may have another.
	now, err := h.client.redis.Time(ctx).Result()
	if redis.HasErrorPrefix(err, "NOPERM") { // a user of an older version's rights
		now, err = time.Now(), nil
	}
	if err == nil {
		_, err = h.client.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, hostPrefix+host.Name, value, life)
			p.ZAdd(ctx, hostIndex, redis.Z{Score: float64(now.UnixMilli()), Member: host.Name})
			return nil
		})
	}
	if err != nil {
		h.client.metrics.failed.Inc()
		return fmt.Errorf("announce host: %w", err)
	}
	return nil
}

// List reads those that are there. What makes no sense is left out. It is for controls: it
// clears away the names of hosts that are long gone.
func (h *Hosts) List(ctx context.Context) ([]faas.Host, error) {
	names, err := h.names(ctx)
	if err != nil {
		h.client.metrics.failed.Inc()
		return nil, fmt.Errorf("list hosts: %w", err)
	}
	values := make([]*redis.StringCmd, len(names))
	// Not MGET: nobody knows how large a value is that somebody else wrote.
	_, err = h.client.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for n, name := range names {
			values[n] = p.GetRange(ctx, hostPrefix+name, 0, maxHost)
		}
		return nil
	})
	var ofRedis redis.Error // about one key, such as one of another type
	if err != nil && !errors.As(err, &ofRedis) {
		h.client.metrics.failed.Inc()
		return nil, fmt.Errorf("list hosts: %w", err)
	}
	hosts := make([]faas.Host, 0, len(names))
	for n, name := range names {
		raw, err := values[n].Bytes()
		if err == nil && len(raw) == 0 {
			continue // it is gone
		}
		host, err := parseHost(name, raw, err)
		if err != nil {
			h.client.foreign(ctx, hostPrefix+name)
			continue
		}
		hosts = append(hosts, host)
	}
	h.client.metrics.hits.Inc()
	return hosts, nil
}

// names are those of hosts that were heard lately, the latest first.
func (h *Hosts) names(ctx context.Context) ([]string, error) {
	if time.Now().UnixNano() < h.whole.Load() {
		return nil, errors.New("its index is being written anew")
	}
	now, err := h.client.redis.Time(ctx).Result()
	if err != nil {
		return nil, err
	}
	since, until := millis(now.Add(-forgottenAfter)), millis(now.Add(ahead))
	var names *redis.StringSliceCmd
	_, _ = h.client.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		names = p.ZRangeArgs(ctx, redis.ZRangeArgs{Key: hostIndex, Start: until, Stop: since, ByScore: true, Rev: true, Count: maxHosts})
		// A Redis that is read-only refuses these, which do no more than save room.
		p.ZRemRangeByScore(ctx, hostIndex, "-inf", "("+since)
		p.ZRemRangeByScore(ctx, hostIndex, "("+until, "+inf")
		return nil
	})
	if err := names.Err(); redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil, errors.Join(err, h.rebuild(ctx))
	}
	return names.Result()
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// rebuild deletes an index that somebody else wrote: no host could write its name there.
func (h *Hosts) rebuild(ctx context.Context) error {
	if err := h.client.redis.Del(ctx, hostIndex).Err(); err != nil {
		return err
	}
	h.whole.Store(time.Now().Add(rebuilding).UnixNano())
	h.client.logger.WarnContext(ctx, "deleted the index of hosts in Redis: somebody else wrote it, and hosts write it anew", "key", hostIndex)
	return nil
}

func parseHost(name string, raw []byte, err error) (host faas.Host, _ error) {
	if err != nil {
		return host, err
	}
	if err := json.Unmarshal(raw, &host); err != nil {
		return host, err
	}
	if host.Name != name {
		return host, errors.New("it has another's name")
	}
	return host, host.Check()
}
