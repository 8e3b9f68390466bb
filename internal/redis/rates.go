package redis

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/go-redis/redis_rate/v10"

	"envoke/internal/budget"
	"envoke/internal/faas"
)

// Rates are requests that several controls count together, by GCRA: of a rate that was not
// used as many may come at one moment as a minute has, and it refills evenly, by Redis' clock.
type Rates struct {
	client       *Client
	limiter      *redis_rate.Limiter
	installation faas.SessionKey
}

// NewRates counts in the client's Redis for all that have the installation's key.
func NewRates(client *Client, installation faas.SessionKey) *Rates {
	return &Rates{client, redis_rate.NewLimiter(client.redis), installation}
}

// ratePrefix follows the library's own, "rate:".
const ratePrefix = "envoke:"

var errNotAsked = errors.New("Redis has not answered just before") //nolint:staticcheck // a name

// Take counts one request of whoever has the name. The error says that Redis has not counted
// it, within the time that the context has.
func (r *Rates) Take(ctx context.Context, name string, perMinute int) (budget.Taken, error) {
	if r.client.resting() {
		return budget.Taken{}, errNotAsked
	}
	result, err := r.limiter.Allow(ctx, r.keyOf(name), redis_rate.PerMinute(perMinute))
	if err != nil {
		r.client.failed(ctx, "count", err)
		return budget.Taken{}, err
	}
	r.client.lastRespite.Store(0)
	r.client.metrics.hits.Inc()
	return budget.Taken{
		Allowed: result.Allowed > 0, Remaining: result.Remaining,
		Retry: max(0, result.RetryAfter), Reset: max(0, result.ResetAfter).Round(time.Millisecond),
	}, nil
}

// keyOf has a bounded length, says nothing of who calls, and is another installation's for
// nobody: they may share a Redis.
func (r *Rates) keyOf(name string) string {
	digest := hmac.New(sha256.New, r.installation)
	_, _ = digest.Write([]byte(ratePrefix + name))
	const enough = 16 // bytes that tell callers apart
	return ratePrefix + hex.EncodeToString(digest.Sum(nil)[:enough])
}
