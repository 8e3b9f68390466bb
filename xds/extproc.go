package xds

import (
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"envoke/internal/faas"
)

const (
	extProcFilter = "envoy.filters.http.ext_proc"
	// extProcTimeout is what ext_proc may take. Its look-ups take less than a second, but a
	// thousand requests at one moment wait for each other.
	extProcTimeout = 3 * time.Second
)

// extProc is in the chain but disabled: a route that needs it enables it, and all
// others pay nothing. It sees the headers of requests and nothing else, unless it asks
// for more of a request whose result may be cached.
func extProc(s State) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name:     extProcFilter,
		Disabled: true,
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(&extprocv3.ExternalProcessor{
			GrpcService: extProcService(s),
			ProcessingMode: &extprocv3.ProcessingMode{
				RequestHeaderMode:   extprocv3.ProcessingMode_SEND,
				ResponseHeaderMode:  extprocv3.ProcessingMode_SKIP,
				RequestTrailerMode:  extprocv3.ProcessingMode_SKIP,
				ResponseTrailerMode: extprocv3.ProcessingMode_SKIP,
			},
			AllowModeOverride: true,
			// What it tells the filter, which sees it with the response.
			MetadataOptions: &extprocv3.MetadataOptions{ReceivingNamespaces: &extprocv3.MetadataOptions_MetadataNamespaces{
				Untyped: []string{"envoke"},
			}},
			MessageTimeout: duration(extProcTimeout),
			// It may ask for more, to wait for an equal call that is under way.
			MaxMessageTimeout: duration(s.MaxTimeout + 2*time.Second),
			// Who may call is decided there: without it nobody may.
			FailureModeAllow: false,
			StatusOnError:    &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
			// An answer that names the cluster asks for the route to be selected again.
			RouteCacheAction: extprocv3.ExternalProcessor_DEFAULT,
			ForwardRules:     forwardRules(),
			MutationRules: &mutationv3.HeaderMutationRules{
				DisallowSystem:  yes(), // :path and its like stay as the client sent them
				DisallowIsError: yes(),
			},
		})},
	}
}

// controlService is control's gRPC server.
func controlService() *corev3.GrpcService {
	return &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
		ClusterName:      ExtProcCluster,
		SkipEnvoyHeaders: true, // x-forwarded-for and its like of a call within
	}}}
}

// extProcService has no retry policy where the only control is this machine's: with one,
// Envoy keeps what it needs to send a stream again, a tenth of what a request through
// ext_proc costs it; and what a gone connection fails is told to be tried again (503). Of
// several controls another answers what one that is gone did not: it only reads.
func extProcService(s State) *corev3.GrpcService {
	service := controlService()
	if s.remote() {
		service.RetryPolicy = elsewhere("connect-failure,refused-stream,reset,unavailable,cancelled", controlRetries)
	}
	return service
}

// elsewhere has a stream tried again by another host, if there is one.
func elsewhere(on string, times uint32) *corev3.RetryPolicy {
	return &corev3.RetryPolicy{
		RetryOn:    on,
		NumRetries: number(times),
		RetryHostPredicate: []*corev3.RetryPolicy_RetryHostPredicate{{
			Name: notTheSame, ConfigType: &corev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: pack(&previousv3.PreviousHostsPredicate{})},
		}},
		HostSelectionRetryMaxAttempts: retries,
		RetryBackOff: &corev3.BackoffStrategy{
			BaseInterval: duration(controlBackoff), MaxInterval: duration(controlBackoffMost),
		},
	}
}

// forwardRules names the headers that ext_proc decides by, of requests and of
// responses. What it does not get, it cannot leak, and each header costs time.
func forwardRules() *extprocv3.HeaderForwardingRules {
	rules := &matcherv3.ListStringMatcher{}
	names := append(faas.CallerHeaders(),
		":method", ":path", "language-title", CacheControlHeader, "x-request-id", "content-length", "content-type", CallKeyHeader, faas.ScopesHeader,
		":status", CacheableHeader)
	for _, name := range names {
		rules.Patterns = append(rules.Patterns, &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name},
		})
	}
	return &extprocv3.HeaderForwardingRules{AllowedHeaders: rules}
}

// passBy has the route's requests pass by ext_proc although it was enabled when they came.
func passBy(r *routev3.Route) *routev3.Route {
	r.TypedPerFilterConfig = map[string]*anypb.Any{
		extProcFilter: pack(&extprocv3.ExtProcPerRoute{Override: &extprocv3.ExtProcPerRoute_Disabled{Disabled: true}}),
	}
	return r
}

// enableOpen is enable of ext_proc for a route whose requests may go on without it: it
// decides there only what is cached.
func enableOpen(r *routev3.Route) *routev3.Route {
	r.TypedPerFilterConfig = map[string]*anypb.Any{
		extProcFilter: pack(&extprocv3.ExtProcPerRoute{Override: &extprocv3.ExtProcPerRoute_Overrides{
			Overrides: &extprocv3.ExtProcOverrides{FailureModeAllow: wrapperspb.Bool(true)},
		}}),
	}
	return r
}
