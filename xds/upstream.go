package xds

import (
	"cmp"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"envoke/internal/routing"
)

const (
	// serviceIdle is how long a connection to an existing service is kept without a request.
	// Many such servers close theirs after five seconds, and a request that meets that is lost.
	serviceIdle = 4 * time.Second
	// dnsRefresh is how often names are resolved, also where that failed.
	dnsRefresh = 5 * time.Second
	// systemCAs are the authorities that Envoy's system believes, where Debian has them.
	systemCAs = "/etc/ssl/certs/ca-certificates.crt"
)

// buildUpstream is what Envoy needs of one upstream: its cluster, where it is by addresses
// its endpoints, and its secrets.
func buildUpstream(u routing.Upstream) ([]*item, error) {
	c := newCollection()
	c.make(resourcev3.ClusterType, UpstreamCluster(u.Name), upstreamCluster(u))
	if !byName(u) {
		c.make(resourcev3.EndpointType, UpstreamCluster(u.Name), upstreamEndpoints(u))
	}
	addAll(c, resourcev3.SecretType, upstreamSecrets(u))
	if len(c.faults) > 0 {
		return nil, c.faults[0]
	}
	return c.all(), nil
}

// byName tells whether Envoy has to resolve an upstream's endpoints.
func byName(u routing.Upstream) bool {
	return slices.ContainsFunc(u.Endpoints, func(e routing.UpstreamEndpoint) bool { return e.Path == "" && !isAddress(e.Host) })
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func upstreamCluster(u routing.Upstream) *clusterv3.Cluster {
	options := serviceOptions(u)
	c := cluster(UpstreamCluster(u.Name), options)
	c.ConnectTimeout = duration(cmp.Or(u.ConnectTimeout.Time(), connectTimeout))
	c.LbPolicy = map[routing.LoadBalancing]clusterv3.Cluster_LbPolicy{
		routing.RoundRobin: clusterv3.Cluster_ROUND_ROBIN, routing.Random: clusterv3.Cluster_RANDOM,
		"": clusterv3.Cluster_LEAST_REQUEST, routing.LeastRequest: clusterv3.Cluster_LEAST_REQUEST,
	}[u.LoadBalancing]
	c.CircuitBreakers = upstreamBreakers(u.CircuitBreakers)
	c.OutlierDetection = upstreamOutliers(u.OutlierDetection)
	if u.HealthCheck != nil {
		c.HealthChecks = []*corev3.HealthCheck{upstreamCheck(u)}
		c.IgnoreHealthOnHostRemoval = true
	}
	c.TransportSocket = upstreamSocket(u)
	if !byName(u) {
		c = discovered(c)
		c.EdsClusterConfig.EdsConfig = fromADSSoon()
		return c
	}
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	// Else a name of both kinds is an IPv6 address, also where there is no such network.
	c.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
	//nolint:staticcheck // the successor of these is a cluster of an extension, which resolves names alike
	c.DnsRefreshRate = duration(dnsRefresh)
	//nolint:staticcheck // see above
	c.DnsFailureRefreshRate = &clusterv3.Cluster_RefreshRate{BaseInterval: duration(time.Second), MaxInterval: duration(dnsRefresh)}
	c.LoadAssignment = upstreamEndpoints(u)
	return c
}

// serviceOptions has a service see and say none of our headers.
func serviceOptions(u routing.Upstream) *httpv3.HttpProtocolOptions {
	options := http1()
	if u.AppProtocol == routing.HTTP2 {
		options = http2()
	}
	options.CommonHttpProtocolOptions.IdleTimeout = duration(serviceIdle)
	options.HttpFilters = serviceFilters()
	return options
}

// upstreamEndpoints are by zone. What is draining ends what it has.
func upstreamEndpoints(u routing.Upstream) *endpointv3.ClusterLoadAssignment {
	assignment := &endpointv3.ClusterLoadAssignment{ClusterName: UpstreamCluster(u.Name)}
	endpoints := slices.SortedFunc(slices.Values(u.Endpoints), func(a, b routing.UpstreamEndpoint) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	var zone *endpointv3.LocalityLbEndpoints
	for n, e := range endpoints {
		if n == 0 || e.Zone != endpoints[n-1].Zone {
			zone = &endpointv3.LocalityLbEndpoints{}
			if e.Zone != "" {
				zone.Locality = &corev3.Locality{Zone: e.Zone}
			}
			assignment.Endpoints = append(assignment.Endpoints, zone)
		}
		one := &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: Endpoint{Path: e.Path, Host: e.Host, Port: e.Port}.address(),
			}},
		}
		if e.Weight > 0 {
			one.LoadBalancingWeight = number(uint32(e.Weight)) // checked
		}
		if e.Draining {
			one.HealthStatus = corev3.HealthStatus_DRAINING
		}
		zone.LbEndpoints = append(zone.LbEndpoints, one)
	}
	return assignment
}

func upstreamBreakers(b *routing.CircuitBreakers) *clusterv3.CircuitBreakers {
	if b == nil {
		b = &routing.CircuitBreakers{}
	}
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     number(uint32(cmp.Or(b.MaxConnections, 1024))), // all checked
		MaxPendingRequests: number(uint32(cmp.Or(b.MaxPendingRequests, 1024))),
		MaxRequests:        number(uint32(cmp.Or(b.MaxRequests, 1024))),
		MaxRetries:         number(uint32(cmp.Or(b.MaxRetries, 3))),
	}}}
}

func upstreamOutliers(o *routing.OutlierDetection) *clusterv3.OutlierDetection {
	if o == nil {
		return nil
	}
	return &clusterv3.OutlierDetection{
		Consecutive_5Xx:      number(uint32(cmp.Or(o.Consecutive5xx, 5))), // all checked
		Interval:             duration(cmp.Or(o.Interval.Time(), 10*time.Second)),
		BaseEjectionTime:     duration(cmp.Or(o.BaseEjectionTime.Time(), 30*time.Second)),
		MaxEjectionPercent:   number(uint32(cmp.Or(o.MaxEjectionPercent, 10))),
		EnforcingSuccessRate: number(0), // not asked for
	}
}

func upstreamCheck(u routing.Upstream) *corev3.HealthCheck {
	h := u.HealthCheck
	interval := duration(cmp.Or(h.Interval.Time(), 5*time.Second))
	check := &corev3.HealthCheck_HttpHealthCheck{Host: cmp.Or(h.Hostname, u.Name), Path: h.Path}
	if u.AppProtocol == routing.HTTP2 {
		check.CodecClientType = typev3.CodecClientType_HTTP2
	}
	return &corev3.HealthCheck{
		Timeout: duration(checkTimeout(h)), Interval: interval, NoTrafficInterval: interval,
		UnhealthyThreshold: number(uint32(cmp.Or(h.UnhealthyThreshold, 3))), // both checked
		HealthyThreshold:   number(uint32(cmp.Or(h.HealthyThreshold, 1))),
		HealthChecker:      &corev3.HealthCheck_HttpHealthCheck_{HttpHealthCheck: check},
	}
}

func checkTimeout(h *routing.HealthCheck) time.Duration { return cmp.Or(h.Timeout.Time(), time.Second) }

// Names of an upstream's secrets, whose files Envoy reads, and reads again when they are
// replaced.
func identityOf(upstream string) string { return UpstreamCluster(upstream) + "/identity" }

func authoritiesOf(upstream string) string { return UpstreamCluster(upstream) + "/authorities" }

// upstreamSocket is TLS by which the service must show the name that is asked for.
func upstreamSocket(u routing.Upstream) *corev3.TransportSocket {
	if u.TLS == nil {
		return nil
	}
	protocol, kind := "http/1.1", tlsv3.SubjectAltNameMatcher_DNS
	if u.AppProtocol == routing.HTTP2 {
		protocol = "h2"
	}
	if isAddress(u.TLS.Hostname) {
		kind = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	}
	context := &tlsv3.CommonTlsContext{
		TlsParams:     &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
		AlpnProtocols: []string{protocol},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext: &tlsv3.CertificateValidationContext{
					MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
						SanType: kind,
						Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: u.TLS.Hostname}},
					}},
				},
				ValidationContextSdsSecretConfig: secretSoon(authoritiesOf(u.Name)),
			},
		},
	}
	if u.TLS.CertificateFile != "" {
		context.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{secretSoon(identityOf(u.Name))}
	}
	return &corev3.TransportSocket{Name: tlsSocket, ConfigType: &corev3.TransportSocket_TypedConfig{
		TypedConfig: pack(&tlsv3.UpstreamTlsContext{Sni: sni(u.TLS.Hostname), CommonTlsContext: context}),
	}}
}

func secretSoon(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: fromADSSoon()}
}

// sni is no address: RFC 6066, 3.
func sni(hostname string) string {
	if isAddress(hostname) {
		return ""
	}
	return hostname
}

func upstreamSecrets(u routing.Upstream) (all []*tlsv3.Secret) {
	if u.TLS == nil {
		return nil
	}
	authorities := cmp.Or(u.TLS.CAFile, systemCAs)
	all = append(all, &tlsv3.Secret{Name: authoritiesOf(u.Name), Type: &tlsv3.Secret_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: file(authorities), WatchedDirectory: folder(authorities)},
	}})
	if u.TLS.CertificateFile != "" {
		all = append(all, &tlsv3.Secret{Name: identityOf(u.Name), Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: file(u.TLS.CertificateFile), PrivateKey: file(u.TLS.KeyFile), WatchedDirectory: folder(u.TLS.CertificateFile),
		}}})
	}
	return all
}

func file(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

func folder(path string) *corev3.WatchedDirectory {
	return &corev3.WatchedDirectory{Path: filepath.Dir(path)}
}
