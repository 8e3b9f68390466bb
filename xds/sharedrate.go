package xds

import (
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	mutationfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// The budget that several Envoys share is control's, which counts in Redis. Each Envoy's own
// buckets are in front of it: they refuse what is over the rate at one Envoy without a
// question, and are all that counts where the answer is not there in time.

const (
	sharedRateFilter = "envoy.filters.http.ratelimit"
	mutationFilter   = "envoy.filters.http.header_mutation"
	// BudgetCluster is control as what keeps the budget: its own cluster, since a question
	// that is given up after some milliseconds must not make Envoy leave the control out that
	// answers ext_proc.
	BudgetCluster = "budget"
	// BudgetDomain is what Envoys ask for.
	BudgetDomain = "envoke"
)

// Limit is the rate of a class of requests and of what it counts by, which are keys of
// descriptors that Envoys ask with; 0: there is none.
func (r Rates) Limit(class string, by func(key string) bool) int {
	for _, c := range r.limits() {
		if c.class == class && !slices.ContainsFunc(c.by, func(key string) bool { return !by(key) }) {
			return c.rate
		}
	}
	return 0
}

// ClassKey is the key of the class in a descriptor.
const ClassKey = classKey

func (s State) sharesRates() bool { return s.Auth != nil && s.Rates != (Rates{}) && s.SharedRates > 0 }

func sharedFilter(s State) *hcmv3.HttpFilter {
	return filterOf(sharedRateFilter, &ratelimitv3.RateLimit{
		Domain:                         BudgetDomain,
		RateLimits:                     counts(s),
		Timeout:                        duration(s.SharedRates),
		FailureModeDeny:                false,
		RateLimitedAsResourceExhausted: true,
		DisableXEnvoyRatelimitedHeader: true,
		RateLimitService: &rlsv3.RateLimitServiceConfig{
			GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
				ClusterName: BudgetCluster, SkipEnvoyHeaders: true,
			}}},
			TransportApiVersion: corev3.ApiVersion_V3,
		},
	})
}

// placeholder names a cluster for requests of which ext_proc says later where they go: the
// filter of the budget asks nothing about those that go nowhere yet. Were one of them to go
// on as it is, control's API would answer 404.
func placeholder(s State) []*mutationv3.HeaderMutation {
	if !s.sharesRates() {
		return nil
	}
	return []*mutationv3.HeaderMutation{{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: ClusterHeader, Value: ControlAPICluster},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}}}
}

// placeholders are the headers of that kind, which nobody behind Envoy needs.
func placeholders(s State) []string {
	if !s.sharesRates() {
		return nil
	}
	return []string{ClusterHeader}
}

// oneOfEach leaves of the headers that both filters of rates add to an answer the first, which
// the budget has added: it counts more than the Envoy does.
func oneOfEach() *hcmv3.HttpFilter {
	m := &mutationfilterv3.HeaderMutation{Mutations: &mutationfilterv3.Mutations{}}
	for _, name := range []string{"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} {
		m.Mutations.ResponseMutations = append(m.Mutations.ResponseMutations, &mutationv3.HeaderMutation{
			Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: name, Value: "%RESP(" + name + ")%"},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS,
			}},
		})
	}
	return filterOf(mutationFilter, m)
}

// budgetClusters is the cluster of the budget, where Envoys share one.
func budgetClusters(s State) []*clusterv3.Cluster {
	if !s.sharesRates() {
		return nil
	}
	c := cluster(BudgetCluster, http2())
	if !s.remote() {
		return []*clusterv3.Cluster{static(c, Endpoint{Path: s.ExtProcPath})}
	}
	c = toControls(s, c, protocolGRPC)
	c.OutlierDetection = nil
	return []*clusterv3.Cluster{c}
}
