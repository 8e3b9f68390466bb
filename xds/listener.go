package xds

import (
	"slices"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	hcmFilter    = "envoy.filters.network.http_connection_manager"
	routerFilter = "envoy.filters.http.router"

	// maxStreams bounds the requests of one HTTP/2 connection.
	maxStreams = 100
)

func listeners(s State) []*listenerv3.Listener {
	public := listener(ListenerName, s, s.Listener.Port, connectionManager(s))
	chain := public.GetFilterChains()[0]
	if chain.TransportSocket = publicSocket(s.Listener); chain.TransportSocket != nil {
		// Who connects and says nothing is nobody's request yet.
		chain.TransportSocketConnectTimeout = duration(s.Listener.HeadersTimeout)
	}
	if s.Listener.Redirect.Port == 0 {
		return []*listenerv3.Listener{public}
	}
	return []*listenerv3.Listener{public, redirectListener(s)}
}

func listener(name string, s State, port int, h *hcmv3.HttpConnectionManager) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:                          name,
		Address:                       socketAddress(s.Listener.Host, port),
		PerConnectionBufferLimitBytes: number(bufferLimit),
		// A second Envoy on the port must fail, not take half of the connections.
		EnableReusePort: wrapperspb.Bool(false),
		// Without reuse of the port one thread accepts all that come at once: of 32
		// connections 32, 27 or 22 were with one of two threads.
		ConnectionBalanceConfig: &listenerv3.Listener_ConnectionBalanceConfig{
			BalanceType: &listenerv3.Listener_ConnectionBalanceConfig_ExactBalance_{
				ExactBalance: &listenerv3.Listener_ConnectionBalanceConfig_ExactBalance{},
			},
		},
		FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{{
				Name:       hcmFilter,
				ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(h)},
			}},
		}},
	}
}

// connectionManager has the settings that Envoy's documentation asks of an edge
// (best_practices/edge), and what makes every answer ours.
func connectionManager(s State) *hcmv3.HttpConnectionManager {
	h := &hcmv3.HttpConnectionManager{
		StatPrefix:       "public",
		RouteSpecifier:   &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: RoutesName, ConfigSource: fromADS()}},
		HttpFilters:      slices.Concat(edgeFilters(s.Listener), authFilters(s), rateFilters(s), scopeFilters(s), []*hcmv3.HttpFilter{wasmFilter(), extProc(s), hookChain(), router()}),
		LocalReplyConfig: localReplies(answerHeaders(s.Listener), slices.Concat(hookReplies(), openFaaSReplies(s))...),
		AccessLog:        accessLog(s),
	}
	harden(h, s)
	identify(h, s)
	showClient(h, s.Listener.TLS)
	return h
}

func router() *hcmv3.HttpFilter {
	return filterOf(routerFilter, &routerv3.Router{
		SuppressEnvoyHeaders: true, // x-envoy-* are nobody's business
		// By cluster and status: the access log has them, by operation too.
		DynamicStats: wrapperspb.Bool(false),
	})
}

// showClient tells hosts and control whose certificate a client has shown. What clients say
// of it themselves is removed in any case, which is Envoy's default.
func showClient(h *hcmv3.HttpConnectionManager, t TLS) {
	if t.ClientCA == "" {
		return
	}
	h.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
	h.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{
		Subject: yes(), Uri: true, Dns: true,
	}
}

// harden bounds what a client may send and how slowly, and leaves one spelling of
// each path: what routes, caches and hosts see is the same.
func harden(h *hcmv3.HttpConnectionManager, s State) {
	h.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{
		IdleTimeout:                  duration(s.Listener.IdleTimeout),
		HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_REJECT_REQUEST,
	}
	h.Http2ProtocolOptions = http2Options()
	h.Http2ProtocolOptions.MaxConcurrentStreams = number(maxStreams)
	h.RequestHeadersTimeout = duration(s.Listener.HeadersTimeout)
	h.RequestTimeout = duration(s.Listener.RequestTimeout)
	// A function that computes is silence too: its route's timeout comes first.
	h.StreamIdleTimeout = duration(s.MaxTimeout + 5*time.Second)
	h.NormalizePath = yes()
	h.MergeSlashes = true
	h.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_REJECT_REQUEST
	h.UseRemoteAddress = yes() // the peer is the client: x-forwarded-for is not believed
}

// identify gives each request an id and makes headers say only what is true.
func identify(h *hcmv3.HttpConnectionManager, s State) {
	h.ServerName = "envoke"
	h.PreserveExternalRequestId = true
	h.AlwaysSetRequestIdInResponse = true
	h.RequestIdExtension = &hcmv3.RequestIDExtension{TypedConfig: pack(&uuidv3.UuidRequestIdConfig{
		PackTraceReason: wrapperspb.Bool(false), // it would alter a caller's own id
	})}
	// Before route matching, and whatever filters there are.
	h.EarlyHeaderMutationExtensions = []*corev3.TypedExtensionConfig{
		extension("envoy.http.early_header_mutation.header_mutation", &earlyv3.HeaderMutation{
			Mutations: append([]*mutationv3.HeaderMutation{
				removePrefix("x-envoke-"), remove("x-user-id"),
				// Envoy has answered 100-continue itself by now. Any other expectation
				// would be a bare 417 of the HTTP servers behind it.
				remove("expect"),
			}, placeholder(s)...),
		}),
	}
}

func removePrefix(prefix string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
		RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix},
		}},
	}}
}

func remove(name string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}}
}
