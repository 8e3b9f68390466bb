package xds

import (
	"net/http"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"envoke/internal/faas"
	"envoke/internal/mtls"
)

// Where parts are on several machines, every link is TLS in which both sides show a
// certificate that names their role. Envoy's own comes from files that it watches, so that
// it can be renewed.

const (
	protocolHTTP = mtls.HTTP
	protocolGRPC = mtls.GRPC

	// Names of the secrets in their files.
	identitySecret  = "identity"
	authoritySecret = "authority"
)

const (
	// Before the first retry at another control Envoy waits for some of controlBackoff, then
	// for some of twice that, up to controlBackoffMost: most of two seconds in all. One that was
	// started just before becomes fit in that: with half of it, killing the other as soon as
	// Envoy calls the first one healthy failed a few requests in every second try.
	controlRetries     = 36
	controlBackoff     = 25 * time.Millisecond
	controlBackoffMost = 100 * time.Millisecond
	// Controls are asked how they are, and one that was left out is back as soon as it answers:
	// the time for which a failed connection leaves it out grows with each.
	healthEvery = time.Second
	// healthTimeout is longer than Envoy's main thread, which asks, takes for a new filter.
	healthTimeout = 3 * time.Second
	// recoverEvery is how often one is asked that is left out: while it is, a second one that
	// dies would leave none.
	recoverEvery = 200 * time.Millisecond
	// Another machine without power says no goodbye: the kernel asks, in seconds.
	probeAfter = 1
	probeEvery = 1
	probes     = 3
)

// hasGRPC tells whether a language's hosts answer gRPC. On other machines all do, also those
// that are not there yet.
func (s State) hasGRPC(r Runtime) bool { return s.remote() || len(r.GRPC) > 0 }

// toHosts has a cluster speak TLS with hosts, where they are on other machines. One that hangs,
// or that this Envoy alone does not reach, is left out although others know that it is there.
// What it runs goes on: it may be slow.
func toHosts(s State, c *clusterv3.Cluster, protocol string) *clusterv3.Cluster {
	if !s.remote() {
		return c
	}
	c.TransportSocket = secured(s, mtls.Host, protocol)
	c.UpstreamConnectionOptions = watched()
	c.HealthChecks = []*corev3.HealthCheck{connects()}
	c.IgnoreHealthOnHostRemoval = true // one that says goodbye is well
	return c
}

// connects is a check that makes a connection, with TLS: what a part says of its health is of
// more than itself.
func connects() *corev3.HealthCheck {
	return &corev3.HealthCheck{
		Timeout: duration(healthTimeout), Interval: duration(healthEvery), NoTrafficInterval: duration(healthEvery),
		UnhealthyThreshold: number(2), HealthyThreshold: number(1), UnhealthyInterval: duration(recoverEvery),
		HealthChecker: &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: &corev3.HealthCheck_TcpHealthCheck{}},
	}
}

// toControls has a cluster reach all controls. Their names are resolved by Envoy, as long as
// it runs. One that died is left out at its first failed connection.
func toControls(s State, c *clusterv3.Cluster, protocol string) *clusterv3.Cluster {
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	c.LoadAssignment = loadAssignment(c.GetName(), s.Controls...)
	c.TransportSocket = secured(s, mtls.Control, protocol)
	c.UpstreamConnectionOptions = watched()
	c.OutlierDetection = unreachable()
	c.CircuitBreakers = breakers(unlimited, unlimited) // all that a control had may be trying again
	check := connects()
	if protocol == protocolGRPC {
		check.HealthChecker = &corev3.HealthCheck_GrpcHealthCheck_{GrpcHealthCheck: &corev3.HealthCheck_GrpcHealthCheck{}}
	}
	c.HealthChecks = []*corev3.HealthCheck{check}
	// What hangs on one that answers no more is tried at another.
	c.CloseConnectionsOnHostHealthFailure = true
	return c
}

func watched() *clusterv3.UpstreamConnectionOptions {
	return &clusterv3.UpstreamConnectionOptions{TcpKeepalive: &corev3.TcpKeepalive{
		KeepaliveProbes: number(probes), KeepaliveTime: number(probeAfter), KeepaliveInterval: number(probeEvery),
	}}
}

// secured is TLS to parts of one role.
func secured(s State, peer mtls.Role, protocol string) *corev3.TransportSocket {
	only13 := &tlsv3.TlsParameters{
		TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
	}
	return &corev3.TransportSocket{
		Name: tlsSocket,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(&tlsv3.UpstreamTlsContext{
			CommonTlsContext: &tlsv3.CommonTlsContext{
				TlsParams:                      only13,
				AlpnProtocols:                  []string{protocol},
				TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{secretIn(identitySecret, s.Secrets.Identity)},
				ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
					CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
						DefaultValidationContext: &tlsv3.CertificateValidationContext{
							MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
								SanType: tlsv3.SubjectAltNameMatcher_URI,
								Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: peer.URI()}},
							}},
						},
						ValidationContextSdsSecretConfig: secretIn(authoritySecret, s.Secrets.Authority),
					},
				},
			},
		})},
	}
}

func secretIn(name, path string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{
			PathConfigSource: &corev3.PathConfigSource{Path: path},
		},
		ResourceApiVersion: corev3.ApiVersion_V3,
	}}
}

// retryAtAnother has the API's routes try another control: what none has seen always, and
// what only reads also where one died over it.
func retryAtAnother(s State, routes []*routev3.Route) []*routev3.Route {
	if !s.remote() {
		return routes
	}
	for _, r := range routes {
		if r.GetRoute().GetCluster() != ControlAPICluster {
			continue
		}
		policy := retryUnsent()
		policy.NumRetries = number(controlRetries)
		policy.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{
			BaseInterval: duration(controlBackoff), MaxInterval: duration(controlBackoffMost),
		}
		if readsOnly(r) {
			policy.RetryOn += ",reset"
		}
		r.GetRoute().RetryPolicy = policy
	}
	return routes
}

// readMethods is how a route matches them.
const readMethods = "GET|HEAD"

// sessionRoutes are one route, or two where the methods are tried again differently.
func sessionRoutes(s State) []*routev3.Route {
	all := [][]string{{http.MethodGet, http.MethodHead, http.MethodDelete}}
	if s.remote() {
		all = [][]string{{http.MethodGet, http.MethodHead}, {http.MethodDelete}}
	}
	var routes []*routev3.Route
	for _, methods := range all {
		routes = append(routes, toAPI(faas.SessionRead, match(prefix(sessionsPath), method(methods...)), apiTimeout))
	}
	return routes
}

// readsOnly tells whether a route takes no method but those that read.
func readsOnly(r *routev3.Route) bool {
	for _, h := range r.GetMatch().GetHeaders() {
		if h.GetName() == ":method" {
			return h.GetStringMatch().GetSafeRegex().GetRegex() == readMethods
		}
	}
	return false
}
