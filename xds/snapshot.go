package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// versionLen is how many hexadecimal digits of the hash a version shows.
const versionLen = 16

// typeURLs are the types of resource that we serve.
var typeURLs = []string{
	resourcev3.ClusterType, resourcev3.EndpointType, resourcev3.RouteType, resourcev3.VirtualHostType, resourcev3.ListenerType,
	resourcev3.ExtensionConfigType, resourcev3.SecretType,
}

// Snapshot is an immutable set of Envoy resources. Its version is a hash of its
// content: control that was restarted publishes the version that Envoy already has.
type Snapshot struct {
	version string
	filter  string                      // the filter's version; empty: there is none
	items   map[string]map[string]*item // type → name
	cache   cache.Snapshot
}

// newSnapshot makes one of items, which it keeps.
func newSnapshot(items map[string]map[string]*item) *Snapshot {
	s := &Snapshot{items: items}
	s.cache.VersionMap = map[string]map[string]string{}
	whole := sha256.New()
	for _, typeURL := range typeURLs {
		byName, sum := items[typeURL], uint64(0)
		versions := make(map[string]string, len(byName))
		resources := make(map[string]types.ResourceWithTTL, len(byName))
		for name, item := range byName {
			versions[name], resources[name] = item.version, types.ResourceWithTTL{Resource: item.resource}
			sum += item.digest // in any order
		}
		version := fmt.Sprintf("%016x", sum)
		s.cache.VersionMap[typeURL] = versions
		s.cache.Resources[cache.GetResponseType(typeURL)] = cache.Resources{Version: version, Items: resources}
		whole.Write([]byte(version))
	}
	s.version = hex.EncodeToString(whole.Sum(nil))[:versionLen]
	return s
}

// collection gathers items by type and name, and the faults of those that are none.
type collection struct {
	items  map[string]map[string]*item
	faults []error
}

func newCollection() *collection {
	c := &collection{items: map[string]map[string]*item{}}
	for _, typeURL := range typeURLs {
		c.items[typeURL] = map[string]*item{}
	}
	return c
}

// add takes items. Names must differ: Envoy would keep one of two.
func (c *collection) add(items ...*item) {
	for _, i := range items {
		if c.items[i.typeURL][i.name] != nil {
			c.faults = append(c.faults, fmt.Errorf("%s: %q is there twice", short(i.typeURL), i.name))
		}
		c.items[i.typeURL][i.name] = i
	}
}

// addAll makes items of resources of one type.
func addAll[R interface {
	types.Resource
	GetName() string
}](c *collection, typeURL string, list []R) {
	for _, r := range list {
		c.make(typeURL, r.GetName(), r)
	}
}

func (c *collection) make(typeURL, name string, r types.Resource) {
	i, err := newItem(typeURL, name, r)
	if err != nil {
		c.faults = append(c.faults, err)
		return
	}
	c.add(i)
}

// all are the items, in no order.
func (c *collection) all() (items []*item) {
	for _, byName := range c.items {
		items = slices.AppendSeq(items, maps.Values(byName))
	}
	return items
}

// Version is a hash of the snapshot's content.
func (s *Snapshot) Version() string { return s.version }

// find is nil where there is none.
func (s *Snapshot) find(r reference) *item {
	if s == nil {
		return nil
	}
	return s.items[r.typeURL][r.name]
}

// short is a type's name without its package, as people and labels say it.
func short(typeURL string) string {
	switch typeURL {
	case resourcev3.ClusterType:
		return "cluster"
	case resourcev3.EndpointType:
		return "endpoint"
	case resourcev3.RouteType:
		return "route"
	case resourcev3.VirtualHostType:
		return "host"
	case resourcev3.ListenerType:
		return "listener"
	case resourcev3.ExtensionConfigType:
		return "filter"
	case resourcev3.SecretType:
		return "secret"
	}
	return "other"
}
