package xds

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// streamCache is the cache as one stream asks it. The server takes for granted that Envoy has
// what was sent to it; of a response that it refused, it does not.
type streamCache struct {
	cache.Cache
	stream *stream
}

// CreateDeltaWatch implements cache.ConfigWatcher. It is called by the goroutine that calls
// the stream's callbacks, after them, while there is no watch that looks at the subscription.
func (c *streamCache) CreateDeltaWatch(request *discoveryv3.DeltaDiscoveryRequest, s cache.Subscription, value chan cache.DeltaResponse) (func(), error) {
	if refused := c.stream.refused; refused != nil && refused.GetTypeUrl() == request.GetTypeUrl() {
		c.stream.refused = nil
		c.stream.remember(refused, s.ReturnedResources())
	}
	return c.Cache.CreateDeltaWatch(request, s, value)
}

// remember corrects what Envoy is thought to have by what it took: what it has not is sent
// again, unless it is kept apart.
func (s *stream) remember(refused *discoveryv3.DeltaDiscoveryResponse, returned map[string]string) {
	s.controller.mu.Lock()
	defer s.controller.mu.Unlock()
	held := s.held[refused.GetTypeUrl()]
	names := refused.GetRemovedResources()
	for _, r := range refused.GetResources() {
		names = append(names, r.GetName())
	}
	for _, name := range names {
		if version, has := held[name]; has {
			returned[name] = version
		} else {
			delete(returned, name)
		}
	}
}
