package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
)

func loadAssignment(cluster string, endpoints ...Endpoint) *endpointv3.ClusterLoadAssignment {
	assignment := &endpointv3.ClusterLoadAssignment{ClusterName: cluster}
	if len(endpoints) == 0 {
		return assignment
	}
	zones := map[string]*endpointv3.LocalityLbEndpoints{}
	for _, e := range endpoints {
		locality := zones[e.Zone]
		if locality == nil {
			locality = &endpointv3.LocalityLbEndpoints{Locality: localityOf(e.Zone)}
			zones[e.Zone] = locality
			assignment.Endpoints = append(assignment.Endpoints, locality)
		}
		locality.LbEndpoints = append(locality.LbEndpoints, &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
				Endpoint: &endpointv3.Endpoint{Address: e.address()},
			},
		})
	}
	return assignment
}

// localityOf is nil where nobody knows the zone.
func localityOf(zone string) *corev3.Locality {
	if zone == "" {
		return nil
	}
	return &corev3.Locality{Zone: zone}
}

func (e Endpoint) address() *corev3.Address {
	if e.Path != "" {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: e.Path}}}
	}
	return socketAddress(e.Host, e.Port)
}

func socketAddress(host string, port int) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)}, // checked
	}}}
}
