package xds

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// hostStream has Envoy get all virtual hosts of a route table that it asks for. It asks for
// them by the table's name (namespace matching), and gets what is named <table>/<host>. There
// is one table, so that is all there is, which the cache knows as "*".
type hostStream struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
}

// Recv implements stream.DeltaStream.
func (s hostStream) Recv() (*discoveryv3.DeltaDiscoveryRequest, error) {
	request, err := s.AggregatedDiscoveryService_DeltaAggregatedResourcesServer.Recv()
	if err != nil || request.GetTypeUrl() != virtualHostType {
		return request, err
	}
	for _, names := range [][]string{request.GetResourceNamesSubscribe(), request.GetResourceNamesUnsubscribe()} {
		for n, name := range names {
			if name == RoutesName {
				names[n] = "*"
			}
		}
	}
	return request, nil
}
