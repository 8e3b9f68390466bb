// Package redis keeps in Redis what several controls share and may lose: live sessions, so
// that each finds at once what another has made, and results of functions. Redis that is
// away, slow, full or full of somebody else's data makes them slower and nothing else: what
// it does not say, the store does.
package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"envoke/internal/faas"
)

const (
	// dialTimeout and answerTimeout bound what a question may cost where Redis is slow. A
	// look-up of ext_proc that finds nothing here goes on to the store in time.
	dialTimeout   = 200 * time.Millisecond
	answerTimeout = 100 * time.Millisecond
	// questionTimeout bounds all of a question, a connection that is made for it included.
	questionTimeout = 250 * time.Millisecond
	// respite is how long Redis is left alone at most that did not answer: a dead one must cost
	// next to nothing.
	respite = 250 * time.Millisecond

	poolSize = 32
)

// Options open a Client. All fields are required but Instead, Answer and Respite.
type Options struct {
	URL     string // redis://, rediss:// or unix://
	Use     string // what it is for, the label of its metrics
	Instead string // what is done while it does not answer, for the log; empty: the store is asked
	// Answer is how long an answer may take where the question has more time; 0: 100 ms.
	Answer time.Duration
	// Respite is how long it is left alone after the first question that was not answered; each
	// further one doubles that, up to 250 ms. 0: that at once.
	Respite    time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Client is a connection to one Redis. It is safe for concurrent use.
type Client struct {
	redis   *redis.Client
	logger  *slog.Logger
	instead string

	restsUntil   atomic.Int64 // Unix time in nanoseconds; 0: it answers
	firstRespite time.Duration
	lastRespite  atomic.Int64 // nanoseconds; 0: it has answered since
	metrics      metrics
}

type metrics struct {
	hits, misses, failed, foreign, skipped, doubted prometheus.Counter
}

// New makes a client. It does no I/O: a Redis that is away at the start is like one that goes
// away later. The error names no password.
func New(o Options) (*Client, error) {
	options, err := parse(o.URL)
	if err != nil {
		return nil, err
	}
	answer := cmp.Or(o.Answer, answerTimeout)
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = max(dialTimeout, answer), answer, answer
	options.PoolSize, options.PoolTimeout = poolSize, answer
	options.MaxRetries = -1   // the store is the other try
	options.DialerRetries = 1 // five, and pauses of 100 ms, would keep a request waiting
	options.ContextTimeoutEnabled = true
	options.ClientName = "envoke"
	asked := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name:        "envoke_redis_questions_total",
		Help:        "Questions to Redis by outcome; foreign: it held what no Envoke wrote, skipped: it had not answered just before, doubted: it may have missed a deletion.",
		ConstLabels: prometheus.Labels{"use": o.Use},
	}, []string{"outcome"})
	o.Registerer.MustRegister(asked)
	c := &Client{redis: redis.NewClient(options), logger: o.Logger, instead: cmp.Or(o.Instead, "the store is asked in its place"), firstRespite: cmp.Or(o.Respite, respite)}
	for outcome, counter := range map[string]*prometheus.Counter{
		"hit": &c.metrics.hits, "miss": &c.metrics.misses, "failed": &c.metrics.failed,
		"foreign": &c.metrics.foreign, "skipped": &c.metrics.skipped, "doubted": &c.metrics.doubted,
	} {
		*counter = asked.WithLabelValues(outcome)
	}
	return c, nil
}

// Close ends the connections.
func (c *Client) Close() error {
	if err := c.redis.Close(); err != nil {
		return fmt.Errorf("close Redis: %w", err)
	}
	return nil
}

// Ping tells whether Redis answers.
func (c *Client) Ping(ctx context.Context) error {
	if err := c.redis.Ping(ctx).Err(); err != nil {
		return &faas.Error{Code: faas.Unavailable, Message: "Redis does not answer", Err: err}
	}
	return nil
}

// find reads a value. It is false where there is none, or no answer.
func (c *Client) find(ctx context.Context, key string) (value []byte, ok bool) {
	if c.resting() {
		return nil, false
	}
	bounded, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	value, err := c.redis.Get(bounded, key).Bytes()
	switch {
	case err == nil:
		return value, true
	case errors.Is(err, redis.Nil):
		c.metrics.misses.Inc()
	default:
		c.failed(ctx, "get", err)
	}
	return nil, false
}

// put writes a value that Redis forgets after its life, and tells whether it did.
func (c *Client) put(ctx context.Context, key string, value []byte, life time.Duration) bool {
	return c.write(ctx, life, func(ctx context.Context) error { return c.redis.Set(ctx, key, value, life).Err() })
}

// putNew is put where there is no value yet.
func (c *Client) putNew(ctx context.Context, key string, value []byte, life time.Duration) {
	c.write(ctx, life, func(ctx context.Context) error { return c.redis.SetNX(ctx, key, value, life).Err() })
}

// unlessDeleted is put in one step where there is no tombstone.
var unlessDeleted = redis.NewScript(`
if redis.call("GET", KEYS[1]) == "` + tombstone + `" then return 0 end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1`)

// putUnlessDeleted is put where there is no tombstone.
func (c *Client) putUnlessDeleted(ctx context.Context, key string, value []byte, life time.Duration) {
	c.write(ctx, life, func(ctx context.Context) error {
		return unlessDeleted.Run(ctx, c.redis, []string{key}, value, life.Milliseconds()).Err()
	})
}

// write bounds a question that writes what lives for some time, and tells whether it was done.
func (c *Client) write(ctx context.Context, life time.Duration, question func(context.Context) error) bool {
	if life < time.Millisecond || c.resting() {
		return false
	}
	bounded, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	err := question(bounded)
	if err != nil {
		c.failed(ctx, "set", err)
	}
	return err == nil
}

// resting tells whether Redis is left alone for now.
func (c *Client) resting() bool {
	if time.Now().UnixNano() >= c.restsUntil.Load() {
		return false
	}
	c.metrics.skipped.Inc()
	return true
}

// failed notes that Redis did not answer. Of a time that it is away one line is logged.
func (c *Client) failed(ctx context.Context, what string, err error) {
	c.metrics.failed.Inc()
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return // the caller gave up, which says nothing of Redis
	}
	now, before := time.Now(), c.restsUntil.Load()
	rest := min(respite, max(c.firstRespite, 2*time.Duration(c.lastRespite.Load())))
	if now.UnixNano() < before || !c.restsUntil.CompareAndSwap(before, now.Add(rest).UnixNano()) {
		return // others have noted it, who asked when this question was asked
	}
	c.lastRespite.Store(int64(rest))
	if now.UnixNano()-before > int64(time.Minute) {
		c.logger.WarnContext(ctx, "Redis does not answer", "operation", what, "instead", c.instead, "error", err)
	}
}

// foreign notes a value that no Envoke of this version wrote.
func (c *Client) foreign(ctx context.Context, key string) {
	c.metrics.foreign.Inc()
	c.logger.DebugContext(ctx, "Redis holds what is not ours", "key", key)
}
