package xds

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

const (
	// joinAtMost is how long routes wait for a new cluster. Then they go on without it: until
	// it is there, Envoy answers 503.
	joinAtMost = 5 * time.Second
	// resolving is what Envoy has, after it took a cluster, to resolve its names. It tells
	// nobody when it has.
	resolving = 500 * time.Millisecond
	// checking is what it has beside the timeout of its first health checks.
	checking = 100 * time.Millisecond
)

// joining are clusters that are published, but that not all Envoys can use yet. Envoy answers
// 503 where a route names a cluster that it does not know, or that is warming: it waits for
// the cluster's endpoints, its names, and its first health checks.
type joining map[string]*newcomer

type newcomer struct {
	since time.Time // when it was published
	taken time.Time // when all Envoys had it with its endpoints; zero: they do not yet
}

// apply has hosts and routes wait for new clusters that they use. Those that are not
// published yet begin to be with this arrangement.
func (j joining) apply(a *arrangement, c *Controller, now time.Time) time.Duration {
	c.waiting = nil
	if c.published == nil || len(c.streams) == 0 { // an Envoy that starts waits by itself
		clear(j)
		return time.Hour
	}
	again := j.look(a, c, now)
	for _, typeURL := range []string{virtualHostType, resourcev3.RouteType} {
		for name, i := range a.items[typeURL] {
			r := reference{typeURL, name}
			before := c.published.find(r)
			if before == i || before != nil && before.version == i.version || !j.usedBy(i, a, c) {
				continue
			}
			c.waiting = append(c.waiting, r)
			a.put(r, before)
		}
	}
	return again
}

// usedBy tells whether a resource uses a cluster that is not usable yet. What is kept apart
// never will be.
func (j joining) usedBy(i *item, a *arrangement, c *Controller) bool {
	for _, used := range i.uses {
		if used.typeURL != resourcev3.ClusterType || a.find(used) == nil {
			continue
		}
		if j[used.name] != nil || c.published.find(used) == nil {
			return true
		}
	}
	return false
}

// look takes from the newcomers those that can be used, and returns when to look again.
func (j joining) look(a *arrangement, c *Controller, now time.Time) time.Duration {
	again := time.Hour
	for name, n := range j {
		i := a.find(reference{resourcev3.ClusterType, name})
		if i == nil {
			delete(j, name)
			continue
		}
		if n.taken.IsZero() && c.taken(i) {
			n.taken = now
		}
		at := n.since.Add(joinAtMost)
		if !n.taken.IsZero() {
			at = n.taken.Add(warming(i))
		}
		if !at.After(now) {
			delete(j, name)
			continue
		}
		again = min(again, at.Sub(now))
	}
	return again
}

// published notes the clusters that a snapshot is the first to have.
func (j joining) published(before *Snapshot, c *Controller, now time.Time) {
	if before == nil || len(c.streams) == 0 {
		return
	}
	for name := range c.published.items[resourcev3.ClusterType] {
		if before.find(reference{resourcev3.ClusterType, name}) == nil {
			j[name] = &newcomer{since: now}
		}
	}
}

// taken tells whether all Envoys have a cluster and its endpoints.
func (c *Controller) taken(i *item) bool {
	for s := range c.streams {
		if s.held[i.typeURL][i.name] != i.version {
			return false
		}
		for _, used := range i.uses {
			if used.typeURL == resourcev3.EndpointType && s.held[used.typeURL][used.name] == "" {
				return false
			}
		}
	}
	return true
}

// warming is how long Envoy may take from then on.
func warming(i *item) time.Duration {
	cluster, ok := i.resource.(*clusterv3.Cluster)
	if !ok {
		return 0
	}
	var wait time.Duration
	if cluster.GetType() == clusterv3.Cluster_STRICT_DNS {
		wait = resolving
	}
	for _, check := range cluster.GetHealthChecks() {
		wait += min(check.GetTimeout().AsDuration()+checking, joinAtMost)
	}
	return wait
}
