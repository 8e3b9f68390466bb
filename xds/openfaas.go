package xds

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"unicode/utf8"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"envoke/internal/faas"
)

const (
	// OpenFaaSCluster is the gateway of an OpenFaaS, as ext_proc names it too.
	OpenFaaSCluster = "openfaas"

	asyncPath = "/async-function/"
	// openFaaSRoute is the name of all routes to it: of the operation that they are, and of no
	// language.
	openFaaSRoute = string(faas.InvokeHTTP) + "-" + OpenFaaSCluster
)

// OpenFaaS is the gateway of one, which has the functions that are not ours. The zero OpenFaaS
// is none.
type OpenFaaS struct {
	Host string `json:"host"` // an IP address, or a name, which Envoy resolves again and again
	Port int    `json:"port"`
	// Authority is what it is called by in Host, with the port where that is not the scheme's.
	Authority string `json:"authority"`
	// CAFile is the file of the authorities (PEM) that are believed, as Envoy has it; empty: the
	// gateway speaks plain HTTP.
	CAFile string `json:"ca_file"`
}

// On tells whether there is one.
func (o OpenFaaS) On() bool { return o.Host != "" }

func (o OpenFaaS) check() error {
	switch {
	case o == OpenFaaS{}:
		return nil
	case o.Host == "" || o.Authority == "" || o.Port < 1 || o.Port > 65535:
		return errors.New("openfaas: it needs a host, a port and an authority")
	case !utf8.ValidString(o.Host) || !utf8.ValidString(o.Authority) || !utf8.ValidString(o.CAFile):
		return errors.New("openfaas: something is not UTF-8")
	}
	return nil
}

// openFaaSClusters is the gateway, or nothing.
func openFaaSClusters(s State) []*clusterv3.Cluster {
	o := s.OpenFaaS
	if !o.On() {
		return nil
	}
	c := cluster(OpenFaaSCluster, http1())
	c.CircuitBreakers = breakers(uint32(s.MaxRequests), maxRetries) // checked
	c.OutlierDetection = unreachable()
	c.LoadAssignment = loadAssignment(OpenFaaSCluster, Endpoint{Host: o.Host, Port: o.Port})
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	if _, err := netip.ParseAddr(o.Host); err != nil {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
		c.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
	}
	if o.CAFile != "" {
		c.TransportSocket = verified(o)
	}
	return []*clusterv3.Cluster{c}
}

// verified is TLS that believes the gateway by its name.
func verified(o OpenFaaS) *corev3.TransportSocket {
	name := &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_DNS, Matcher: equal(o.Host)}
	context := &tlsv3.UpstreamTlsContext{Sni: o.Host}
	if _, err := netip.ParseAddr(o.Host); err == nil {
		name.SanType, context.Sni = tlsv3.SubjectAltNameMatcher_IP_ADDRESS, "" // which is no name (RFC 6066, 3)
	}
	context.CommonTlsContext = &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2},
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa:                 &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: o.CAFile}},
			MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{name},
		}},
	}
	return &corev3.TransportSocket{Name: tlsSocket, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(context)}}
}

// openFaaSChosen is where ext_proc has found that OpenFaaS has the function of a call, and not we. It
// is in front of the routes that ask ext_proc, since Envoy selects again after that.
func openFaaSChosen(s State) []*routev3.Route {
	if !s.OpenFaaS.On() {
		return nil
	}
	is := header(ClusterHeader, equal(OpenFaaSCluster))
	return []*routev3.Route{
		toOpenFaaS(s, match(prefix(functionPath), is)),
	}
}

// openFaaSRoutes are calls of functions whose names say that they are none of ours: ext_proc only
// refuses what OpenFaaS does not have either. Where nobody checks who calls it may be away: then
// OpenFaaS refuses it itself, in its own words.
func openFaaSRoutes(s State) (routes []*routev3.Route) {
	if !s.OpenFaaS.On() {
		return nil
	}
	ask := func(r *routev3.Route) *routev3.Route { return enable(extProcFilter, r) }
	if s.Auth == nil {
		ask = enableOpen
	}
	if !s.MappedNames {
		routes = append(routes, ask(toOpenFaaS(s, prefix(functionPath))))
	}
	return append(routes,
		ask(toOpenFaaS(s, match(prefix(asyncPath), method(http.MethodPost)))),
		wrongMethod(prefix(asyncPath), "POST"))
}

// toOpenFaaS has the call go on as it came: its method, its path and its query are what
// OpenFaaS takes. What we say to our own hosts in headers is not for it.
func toOpenFaaS(s State, m *routev3.RouteMatch) *routev3.Route {
	r := route(openFaaSRoute, m, &routev3.RouteAction{
		ClusterSpecifier:     &routev3.RouteAction_Cluster{Cluster: OpenFaaSCluster},
		HostRewriteSpecifier: &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: s.OpenFaaS.Authority},
		AppendXForwardedHost: true,
		Timeout:              duration(0),
		IdleTimeout:          runtimeAction(s, ":path").GetIdleTimeout(),
		RetryPolicy:          retryUnsent(),
	})
	r.RequestHeadersToRemove = []string{
		ClusterHeader, HashHeader, SessionHeader, FunctionHeader, StartHeader,
		CallKeyHeader, CacheHeader, KeepHeader, UncachedHeader,
		faas.ScopesHeader, faas.NamespaceHeader, faas.IssuerHeader, faas.ProofHeader,
	}
	return r
}

// invokesByName are the calls by plain HTTP of functions whose names begin with a language of
// ours, where OpenFaaS may have one of such a name: ext_proc knows whether we do.
func invokesByName(s State, r Runtime) *routev3.Route {
	return viaExtProc(s, faas.InvokeHTTP, prefix(functionPath+string(r.Language)+"-"), ":path")
}

// openFaaSReplies are what callers are told of a gateway that does not answer. They come before
// the table's, which would say that a runtime host is away.
func openFaaSReplies(s State) (mappers []*hcmv3.ResponseMapper) {
	if !s.OpenFaaS.On() {
		return nil
	}
	// Neither ext_proc nor who checks callers is the gateway.
	on := fmt.Sprintf("xds.route_name == '%s' && !(%s) && response.code_details != 'ext_authz_error'", openFaaSRoute, fromExtProc)
	for _, reply := range []localReply{
		{
			on + " && response.code_details.contains('overflow')", http.StatusTooManyRequests, faas.RateLimited, faas.InEnvoy,
			"too many requests are under way; nothing was run, try again",
		},
		{on + slowCode, 0, faas.Timeout, faas.InOpenFaaS, "OpenFaaS did not answer in time"},
		{
			on + awayCode, http.StatusServiceUnavailable, faas.Unavailable, faas.InOpenFaaS,
			"OpenFaaS could not be reached or went away",
		},
	} {
		mappers = append(mappers, reply.mapper())
	}
	return mappers
}
