package xds

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/prometheus/client_golang/prometheus"
)

// everyNode is the one key in the cache: all Envoys get the same snapshot.
const everyNode = "envoke"

type oneForAll struct{}

func (oneForAll) ID(*corev3.Node) string { return everyNode }

// Options of a Controller.
type Options struct {
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Nodes are the ids of the Envoys that are served; nil: all.
	Nodes []string
	// Debounce is how long Set waits for more changes; 0 means 20 ms.
	Debounce time.Duration
}

// Controller publishes snapshots to every Envoy that is connected, and knows what
// became of them. All of its methods may be called from any goroutine.
type Controller struct {
	debounce time.Duration
	nodes    []string // nil: all
	logger   *slog.Logger
	metrics  metrics
	cache    cache.SnapshotCache
	changed  chan struct{} // holds one token when wanted or lingerUntil changed

	mu          sync.Mutex // guards what follows
	wanted      *State     // what Set was given last; nil once it was published
	published   *Snapshot  // what the cache has
	final       *Snapshot  // published without the clusters that linger; nil: none do
	lingerUntil time.Time  // when final replaces published
	good        *Snapshot  // the last that an Envoy took whole
	putBack     bool       // good is to replace published, which was refused
	buildError  error      // of the last state
	nack        *Nack      // the last refusal
	streams     map[*stream]struct{}
}

// New makes a controller. It serves nothing before the first Publish or Set.
func New(o Options) *Controller {
	c := &Controller{
		debounce: o.Debounce,
		nodes:    o.Nodes,
		logger:   o.Logger,
		metrics:  newMetrics(o.Registerer),
		cache:    cache.NewSnapshotCache(true, oneForAll{}, nil),
		changed:  make(chan struct{}, 1),
		streams:  map[*stream]struct{}{},
	}
	if c.debounce == 0 {
		c.debounce = 20 * time.Millisecond
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Publish builds the state's snapshot and publishes it now. On error what was
// published stays. Whether Envoy takes it shows in Status a moment later.
func (c *Controller) Publish(ctx context.Context, state State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.publish(ctx, state)
}

// Set publishes the state soon; a burst of states becomes one snapshot. Faults are
// logged and show in Status. Serve does the work.
func (c *Controller) Set(state State) {
	c.mu.Lock()
	c.wanted = &state
	c.mu.Unlock()
	c.wake()
}

func (c *Controller) wake() {
	select {
	case c.changed <- struct{}{}:
	default: // there is a token already
	}
}

// Serve publishes what Set gets, puts the last good snapshot back after a refusal
// and ends the lingering of removed clusters, until ctx ends.
func (c *Controller) Serve(ctx context.Context) error {
	linger := time.NewTimer(time.Hour)
	defer linger.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-linger.C:
		case <-c.changed:
			select { // more of the burst
			case <-ctx.Done():
				return nil
			case <-time.After(c.debounce):
			}
		}
		linger.Reset(c.step(ctx))
	}
}

// step does what is due and returns when to look again.
func (c *Controller) step(ctx context.Context) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.wanted != nil:
		if err := c.publish(ctx, *c.wanted); err != nil {
			c.logger.Error("keep Envoy's configuration: the new one cannot be published", "error", err)
		}
	case c.putBack:
		c.putBack, c.final = false, nil
		if err := c.put(ctx, c.good); err != nil {
			c.logger.Error("put the last good configuration back", "error", err)
		}
	}
	if c.final == nil {
		return time.Hour
	}
	if wait := time.Until(c.lingerUntil); wait > 0 {
		return wait
	}
	if err := c.put(ctx, c.final); err != nil {
		c.logger.Error("remove unused clusters from Envoy", "error", err)
	}
	c.final = nil
	return time.Hour
}

// publish is called with mu held.
func (c *Controller) publish(ctx context.Context, state State) (err error) {
	c.wanted = nil
	defer func() {
		if c.buildError = err; err != nil {
			c.metrics.faults.Inc()
		}
	}()
	next, err := Build(state)
	if err != nil {
		return err
	}
	if c.published == nil {
		return c.put(ctx, next)
	}
	merged, err := next.keeping(c.published)
	if err != nil {
		return fmt.Errorf("publish Envoy's configuration: %w", err)
	}
	c.final = nil
	if merged.version != next.version {
		// By then Envoy has the new routes, and no request follows the old ones.
		c.final, c.lingerUntil = next, time.Now().Add(state.MaxTimeout+time.Second)
		c.wake()
	}
	return c.put(ctx, merged)
}

// put is called with mu held.
func (c *Controller) put(ctx context.Context, s *Snapshot) error {
	if c.published != nil && c.published.version == s.version {
		return nil
	}
	if err := c.cache.SetSnapshot(ctx, everyNode, &s.cache); err != nil {
		return fmt.Errorf("publish Envoy's configuration: %w", err)
	}
	c.published, c.putBack = s, false
	c.metrics.published.Inc()
	c.logger.Info("published Envoy's configuration", "version", s.version)
	return nil
}

// acknowledged is told that a stream's Envoy took a response. When it holds all of
// what is published, that is what to go back to.
func (c *Controller) acknowledged(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.published != nil && s.holds(c.published) {
		c.good = c.published
	}
}

// refused is told that an Envoy did not take resources. It goes on with what it
// has. Serve puts the last good snapshot back, for those that connect from now on
// and for the parts of the refused one that were taken.
func (c *Controller) refused(n Nack) {
	c.metrics.nacks.WithLabelValues(n.Type).Inc()
	c.logger.Error("Envoy refused its configuration",
		"node", n.Node, "type", n.Type, "version", n.Version, "error", n.Message)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nack = &n
	if c.good != nil && c.good != c.published && c.published.typeVersion(n.typeURL) == n.Version {
		c.putBack = true
		c.wake()
	}
}
