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

// check tells whether Envoy can serve the snapshot: each name that is used is there, and
// nothing is there that nobody asks for. go-control-plane's own check
// looks at the names of load assignments and route tables only; a cluster that a
// route names and nobody defines is a 503 that nobody announced.
func (s *Snapshot) check() error {
	used := map[string]map[string]bool{}
	for _, typeURL := range typeURLs {
		used[typeURL] = map[string]bool{}
	}
	for _, byName := range s.items {
		for _, i := range byName {
			for _, r := range i.uses {
				used[r.typeURL][r.name] = true
			}
		}
	}
	var faults []error
	for _, typeURL := range []string{resourcev3.ClusterType, resourcev3.EndpointType, resourcev3.RouteType, resourcev3.SecretType} {
		faults = append(faults, s.has(typeURL, used[typeURL]))
	}
	// A filter may be missing: its default stands in its place.
	for _, typeURL := range []string{resourcev3.EndpointType, resourcev3.RouteType, resourcev3.SecretType, resourcev3.ExtensionConfigType} {
		faults = append(faults, s.hasOnly(typeURL, used[typeURL]))
	}
	return errors.Join(faults...)
}

// has tells whether every name is that of a resource.
func (s *Snapshot) has(typeURL string, names map[string]bool) error {
	have := s.items[typeURL]
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
	for name := range s.items[typeURL] {
		if !names[name] {
			faults = append(faults, fmt.Errorf("%s %q is there but not named", short(typeURL), name))
		}
	}
	return errors.Join(faults...)
}

// usedBy walks a resource and all that is packed in it: each message must keep the rules of
// its own proto.
func usedBy(resource proto.Message) (used []reference, err error) {
	seen := map[reference]bool{}
	err = protorange.Range(resource.ProtoReflect(), func(at protopath.Values) error {
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
		if r := usedIn(message.Interface()); r.name != "" && !seen[r] {
			seen[r] = true
			used = append(used, r)
		}
		return nil
	})
	return used, err
}

func validate(m proto.Message) error {
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		return v.ValidateAll()
	}
	return nil
}

// usedIn is the name that one message uses.
func usedIn(m proto.Message) reference {
	switch m := m.(type) {
	case *routev3.RouteAction:
		return reference{resourcev3.ClusterType, m.GetCluster()}
	case *routev3.WeightedCluster_ClusterWeight:
		return reference{resourcev3.ClusterType, m.GetName()}
	case *routev3.RouteAction_RequestMirrorPolicy:
		return reference{resourcev3.ClusterType, m.GetCluster()}
	case *corev3.GrpcService_EnvoyGrpc:
		return reference{resourcev3.ClusterType, m.GetClusterName()}
	case *clusterv3.Cluster:
		if m.GetType() == clusterv3.Cluster_EDS {
			return reference{resourcev3.EndpointType, m.GetName()}
		}
	case *hcmv3.Rds:
		return reference{resourcev3.RouteType, m.GetRouteConfigName()}
	case *tlsv3.SdsSecretConfig:
		if m.GetSdsConfig().GetAds() != nil {
			return reference{resourcev3.SecretType, m.GetName()}
		}
	case *hcmv3.HttpFilter:
		if m.GetConfigDiscovery() != nil {
			return reference{resourcev3.ExtensionConfigType, m.GetName()}
		}
	}
	return reference{}
}
