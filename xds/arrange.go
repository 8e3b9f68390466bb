package xds

import (
	"context"
	"maps"
	"strings"
	"time"

	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// arrangement is a target with what cannot be as the target has it yet, or any more.
type arrangement struct {
	target *Snapshot
	items  map[string]map[string]*item
	copied map[string]bool // types whose items are no longer the target's own
}

func (a *arrangement) find(r reference) *item { return a.items[r.typeURL][r.name] }

// put has another item in place of one; nil: none.
func (a *arrangement) put(r reference, i *item) {
	if !a.copied[r.typeURL] {
		a.items[r.typeURL], a.copied[r.typeURL] = maps.Clone(a.items[r.typeURL]), true
	}
	if i == nil {
		delete(a.items[r.typeURL], r.name)
		return
	}
	a.items[r.typeURL][r.name] = i
}

func (a *arrangement) snapshot() *Snapshot {
	if len(a.copied) == 0 {
		return a.target
	}
	s := newSnapshot(a.items)
	s.filter = a.target.filter
	return s
}

// arrange publishes as much of the target as Envoys can have now, and returns when to look
// again. What they refused is kept apart; hosts and routes wait for clusters that are not
// there yet; what was removed lingers, since requests and routes of before still need it. It
// is called with mu held.
func (c *Controller) arrange(ctx context.Context) (time.Duration, error) {
	now := time.Now()
	a := &arrangement{target: c.target, items: maps.Clone(c.target.items), copied: map[string]bool{}}
	c.refusals.apply(a)
	c.metrics.apart.Set(float64(len(c.refusals.guilty)))
	again := c.joining.apply(a, c, now)
	again = min(again, c.parting.apply(a, c, now))
	before := c.published
	if err := c.put(ctx, a.snapshot()); err != nil {
		return again, err
	}
	c.joining.published(before, c, now)
	if len(c.joining) > 0 {
		again = min(again, joinAtMost)
	}
	return again, nil
}

// declared tells whether a resource is of one declared upstream or host, which others do
// without.
func declared(r reference) bool {
	return r.typeURL == virtualHostType || strings.HasPrefix(r.name, UpstreamCluster(""))
}

// parting are what was removed, and until when it stays.
type parting map[reference]time.Time

// partingTypes are what routes, and requests under way, need.
var partingTypes = []string{resourcev3.ClusterType, resourcev3.EndpointType, resourcev3.SecretType}

func (p parting) apply(a *arrangement, c *Controller, now time.Time) time.Duration {
	again := time.Hour
	if c.published == nil {
		return again
	}
	stay := func(i *item) bool {
		r := i.reference()
		if r.typeURL == resourcev3.SecretType && !declared(r) {
			return false
		}
		if p[r].IsZero() {
			p[r] = now.Add(c.linger)
		}
		return p[r].After(now)
	}
	for r := range p {
		if a.find(r) != nil {
			delete(p, r) // it is back
		}
	}
	for _, typeURL := range partingTypes {
		for name, i := range c.published.items[typeURL] {
			r := reference{typeURL, name}
			switch {
			case a.find(r) != nil:
			case stay(i):
				a.put(r, i)
				again = min(again, p[r].Sub(now))
			default:
				delete(p, r)
			}
		}
	}
	return again
}
