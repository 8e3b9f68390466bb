package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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
)

// Hosts are runtime hosts by what they say of themselves. Whoever may write to Redis can say
// so too: it is for the reader to have them show who they are. It is safe for concurrent use.
type Hosts struct{ client *Client }

// NewHosts keeps hosts in the client's Redis.
func NewHosts(client *Client) *Hosts { return &Hosts{client} }

// Announce says that a host is there for as long as its life. It must be said again before.
func (h *Hosts) Announce(ctx context.Context, host faas.Host, life time.Duration) error {
	value, err := json.Marshal(host)
	if err != nil {
		return fmt.Errorf("encode host: %w", err)
	}
	now := time.Now()
	_, err = h.client.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, hostPrefix+host.Name, value, life)
		p.ZAdd(ctx, hostIndex, redis.Z{Score: float64(now.UnixMilli()), Member: host.Name})
		p.ZRemRangeByScore(ctx, hostIndex, "-inf", strconv.FormatInt(now.Add(-forgottenAfter).UnixMilli(), 10))
		return nil
	})
	if err != nil {
		h.client.metrics.failed.Inc()
		return fmt.Errorf("announce host: %w", err)
	}
	return nil
}

// List reads those that are there. What makes no sense is left out.
func (h *Hosts) List(ctx context.Context) ([]faas.Host, error) {
	names, err := h.client.redis.ZRangeArgs(ctx, redis.ZRangeArgs{Key: hostIndex, Start: 0, Stop: maxHosts - 1, Rev: true}).Result()
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
