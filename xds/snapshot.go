package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// versionLen is how many hexadecimal digits of the hash a version shows.
const versionLen = 16

// typeURLs are the types of resource that we serve.
var typeURLs = []string{
	resourcev3.ClusterType, resourcev3.EndpointType, resourcev3.RouteType, resourcev3.ListenerType,
	resourcev3.ExtensionConfigType, resourcev3.SecretType,
}

// Snapshot is an immutable set of Envoy resources. Its version is a hash of its
// content: control that was restarted publishes the version that Envoy already has.
type Snapshot struct {
	version string
	filter  string // the filter's version; empty: there is none
	cache   cache.Snapshot
}

type contents struct {
	listeners []*listenerv3.Listener
	routes    []*routev3.RouteConfiguration
	clusters  []*clusterv3.Cluster
	endpoints []*endpointv3.ClusterLoadAssignment
	filters   []*corev3.TypedExtensionConfig
	secrets   []*tlsv3.Secret
}

func newSnapshot(c contents) (*Snapshot, error) {
	return assemble(map[string][]types.Resource{
		resourcev3.ListenerType: resources(c.listeners),
		resourcev3.RouteType:    resources(c.routes),
		resourcev3.ClusterType:  resources(c.clusters),
		resourcev3.EndpointType: resources(c.endpoints),

		resourcev3.ExtensionConfigType: resources(c.filters),
		resourcev3.SecretType:          resources(c.secrets),
	})
}

func resources[R types.Resource](list []R) []types.Resource {
	out := make([]types.Resource, len(list))
	for i, r := range list {
		out[i] = r
	}
	return out
}

func assemble(byType map[string][]types.Resource) (*Snapshot, error) {
	s := new(Snapshot)
	whole := sha256.New()
	for _, typeURL := range typeURLs {
		version, err := hash(byType[typeURL])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", short(typeURL), err)
		}
		s.cache.Resources[cache.GetResponseType(typeURL)] = cache.NewResources(version, byType[typeURL])
		whole.Write([]byte(version))
	}
	s.version = hex.EncodeToString(whole.Sum(nil))[:versionLen]
	return s, s.cache.ConstructVersionMap()
}

// hash is a type's version. Names must differ: Envoy would keep one of two.
func hash(list []types.Resource) (string, error) {
	byName := map[string]types.Resource{}
	for _, r := range list {
		name := cache.GetResourceName(r)
		if byName[name] != nil {
			return "", fmt.Errorf("%q is there twice", name)
		}
		byName[name] = r
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		raw, err := cache.MarshalResource(byName[name])
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d ", name, len(raw))
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil))[:versionLen], nil
}

// Version is a hash of the snapshot's content.
func (s *Snapshot) Version() string { return s.version }

// keeping returns the snapshot with those clusters and endpoints of old that it
// lacks itself: routes that Envoy has not replaced yet, and requests in flight,
// still need them.
func (s *Snapshot) keeping(old *Snapshot) (*Snapshot, error) {
	merged := map[string][]types.Resource{}
	for _, typeURL := range typeURLs {
		all := s.cache.GetResources(typeURL)
		if typeURL == resourcev3.ClusterType || typeURL == resourcev3.EndpointType {
			union := maps.Clone(old.cache.GetResources(typeURL))
			maps.Copy(union, all)
			all = union
		}
		merged[typeURL] = slices.Collect(maps.Values(all))
	}
	both, err := assemble(merged)
	if err == nil {
		both.filter = s.filter
	}
	return both, err
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
	case resourcev3.ListenerType:
		return "listener"
	case resourcev3.ExtensionConfigType:
		return "filter"
	case resourcev3.SecretType:
		return "secret"
	}
	return "other"
}
