package xds

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
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
	// Debounce is how often snapshots are made of what Set gets; 0 means each 20 ms. A change
	// waits for more for a quarter of that at least.
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
	changed  chan struct{} // holds one token when wanted or putBack changed
	answered chan struct{} // holds one token when an Envoy took what others wait for

	mu         sync.Mutex // guards what follows
	builder    builder
	wanted     *State    // what Set was given last; nil once it was built
	target     *Snapshot // what Envoys are to have, as soon as they can
	published  *Snapshot // what the cache has
	good       *Snapshot // the last that an Envoy took whole
	putBack    bool      // good is to replace target, which was refused
	buildError error     // of the last state
	nack       *Nack     // the last refusal
	streams    map[*stream]struct{}
	linger     time.Duration // for how long requests may need what was removed
	parting    parting
	joining    joining
	waiting    []reference // hosts and routes that wait for clusters
	refusals   refusals
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
		answered: make(chan struct{}, 1),
		streams:  map[*stream]struct{}{},
		parting:  parting{},
		joining:  joining{},
		refusals: newRefusals(),
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

func (c *Controller) wake() { signal(c.changed) }

func signal(tokens chan struct{}) {
	select {
	case tokens <- struct{}{}:
	default: // there is a token already
	}
}

// Serve publishes what Set gets, what had to wait for something else, and the end of what
// lingers; and puts back what was good after a refusal, until ctx ends.
func (c *Controller) Serve(ctx context.Context) error {
	next := time.NewTimer(time.Hour)
	defer next.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		case <-c.answered:
		case <-c.changed:
			select { // more of the burst
			case <-ctx.Done():
				return nil
			case <-time.After(c.pause(last)):
			}
			last = time.Now()
		}
		next.Reset(c.step(ctx))
	}
}

// pause is how long a change waits for more: a part of the debounce, and what is left of it
// since the last one, so that one alone is live soon and many are few snapshots.
func (c *Controller) pause(last time.Time) time.Duration {
	return max(c.debounce/4, c.debounce-time.Since(last))
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
		c.target = c.good
	}
	c.putBack = false
	if c.target == nil {
		return time.Hour
	}
	again, err := c.arrange(ctx)
	if err != nil {
		c.logger.Error("publish Envoy's configuration", "error", err)
	}
	return again
}

// publish is called with mu held.
func (c *Controller) publish(ctx context.Context, state State) (err error) {
	c.wanted = nil
	defer func() {
		if c.buildError = err; err != nil {
			c.metrics.faults.Inc()
		}
	}()
	next, err := c.builder.build(state)
	if err != nil {
		return err
	}
	c.target, c.linger = next, state.MaxTimeout+time.Second
	if _, err = c.arrange(ctx); err == nil && (len(c.parting) > 0 || len(c.joining) > 0) {
		signal(c.answered) // Serve is to know when to look again
	}
	return err
}

// put is called with mu held.
func (c *Controller) put(ctx context.Context, s *Snapshot) error {
	if c.published != nil && c.published.version == s.version {
		return nil
	}
	if err := c.cache.SetSnapshot(ctx, everyNode, &s.cache); err != nil {
		return fmt.Errorf("publish Envoy's configuration: %w", err)
	}
	c.published = s
	c.metrics.published.Inc()
	c.logger.Info("published Envoy's configuration", "version", s.version)
	return nil
}

// acknowledged is told that a stream's Envoy took a response. When it holds all of
// what is published, that is what to go back to.
func (c *Controller) acknowledged(s *stream, response *discoveryv3.DeltaDiscoveryResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals.took(c.published, response)
	if c.published != c.good && c.published != nil && s.holds(c.published) {
		c.good = c.published
	}
	if len(c.joining) > 0 || len(c.refusals.suspects) > 0 {
		signal(c.answered)
	}
}

// refused is told that an Envoy did not take a response. It goes on with what it has. Of
// declared routes and upstreams those that it cannot take are kept apart, and all else goes
// on. Of anything else Serve puts the last good snapshot back, for those that connect from
// now on and for the parts of the refused one that were taken.
func (c *Controller) refused(ctx context.Context, n Nack, response *discoveryv3.DeltaDiscoveryResponse) (apart bool) {
	c.metrics.nacks.WithLabelValues(n.Type).Inc()
	c.logger.Error("Envoy refused its configuration",
		"node", n.Node, "type", n.Type, "version", n.Version, "error", n.Message)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nack = &n
	if c.target != nil && c.refusals.refuse(n, response) {
		if _, err := c.arrange(ctx); err != nil { // before the stream asks what is next
			c.logger.Error("keep apart what Envoy refused", "error", err)
		}
		signal(c.answered)
		return true
	}
	if c.good != nil && c.good != c.published && c.published.typeVersion(n.typeURL) == n.Version {
		c.putBack = true
		c.wake()
	}
	return false
}
