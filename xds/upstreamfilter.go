package xds

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	headersv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	codecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// ownHeaders begins the names of headers by which our parts speak.
const ownHeaders = "x-envoke-"

// serviceFilters keep our headers from a service, also those that filters have set, and those
// of a service from our callers.
func serviceFilters() []*hcmv3.HttpFilter {
	strip := []*mutationv3.HeaderMutation{removePrefix(ownHeaders)}
	return []*hcmv3.HttpFilter{
		filterOf(mutationFilter, &headersv3.HeaderMutation{Mutations: &headersv3.Mutations{
			RequestMutations: strip, ResponseMutations: strip,
		}}),
		filterOf("envoy.filters.http.upstream_codec", &codecv3.UpstreamCodec{}),
	}
}
