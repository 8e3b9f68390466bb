package xds

import (
	"errors"
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// references are the names that resources use of other resources.
type references struct {
	clusters, endpoints, routes, filters, secrets map[string]bool
}

// check tells whether Envoy can serve the snapshot: each message keeps the rules of
// its own proto, and each name that is used is there. go-control-plane's own check
// looks at the names of load assignments and route tables only; a cluster that a
// route names and nobody defines is a 503 that nobody announced.
func (s *Snapshot) check() error {
	used := references{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, typeURL := range typeURLs {
		for name, resource := range s.cache.GetResources(typeURL) {
			if err := used.visit(resource); err != nil {
				return fmt.Errorf("%s %q: %w", short(typeURL), name, err)
			}
		}
	}
	return errors.Join(
		s.has(resourcev3.ClusterType, used.clusters),
		s.has(resourcev3.EndpointType, used.endpoints),
		s.has(resourcev3.RouteType, used.routes),
		s.has(resourcev3.SecretType, used.secrets),
		s.hasOnly(resourcev3.EndpointType, used.endpoints),
		s.hasOnly(resourcev3.RouteType, used.routes),
		s.hasOnly(resourcev3.SecretType, used.secrets),
		// A filter may be missing: its default stands in its place.
		s.hasOnly(resourcev3.ExtensionConfigType, used.filters),
	)
}

// has tells whether every name is that of a resource.
func (s *Snapshot) has(typeURL string, names map[string]bool) error {
	have := s.cache.GetResources(typeURL)
	var faults []error
	for name := range names {
		if have[name] == nil {
			faults = append(faults, fmt.Errorf("%s %q is named but not there", short(typeURL), name))
		}
	}
	return errors.Join(faults...)
}

// hasOnly tells whether every resource's name is used: Envoy asks for no others.
func (s *Snapshot) hasOnly(typeURL string, names map[string]bool) error {
	var faults []error
	for name := range s.cache.GetResources(typeURL) {
		if !names[name] {
			faults = append(faults, fmt.Errorf("%s %q is there but not named", short(typeURL), name))
		}
	}
	return errors.Join(faults...)
}

// visit walks a resource and all that is packed in it.
func (r references) visit(resource proto.Message) error {
	return protorange.Range(resource.ProtoReflect(), func(at protopath.Values) error {
		last := at.Index(-1)
		message, ok := last.Value.Interface().(protoreflect.Message)
		if !ok {
			return nil
		}
		kind := last.Step.Kind()
		if kind == protopath.RootStep || kind == protopath.AnyExpandStep {
			if err := validate(message.Interface()); err != nil {
				return err
			}
		}
		r.note(message.Interface())
		return nil
	})
}

func validate(m proto.Message) error {
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		return v.ValidateAll()
	}
	return nil
}

// note takes down the names that one message uses.
func (r references) note(m proto.Message) {
	switch m := m.(type) {
	case *routev3.RouteAction:
		if name := m.GetCluster(); name != "" {
			r.clusters[name] = true
		}
	case *corev3.GrpcService_EnvoyGrpc:
		r.clusters[m.GetClusterName()] = true
	case *clusterv3.Cluster:
		if m.GetType() == clusterv3.Cluster_EDS {
			r.endpoints[m.GetName()] = true
		}
	case *hcmv3.Rds:
		r.routes[m.GetRouteConfigName()] = true
	case *tlsv3.SdsSecretConfig:
		if m.GetSdsConfig().GetAds() != nil {
			r.secrets[m.GetName()] = true
		}
	case *hcmv3.HttpFilter:
		if m.GetConfigDiscovery() != nil {
			r.filters[m.GetName()] = true
		}
	}
}
