package xds

import (
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	connectTimeout = time.Second
	// socketTimeout is that of a socket on this machine: who serves it takes connections at
	// once, and who does not refuses. Only a machine without a free core lets one wait, and
	// the request had better wait too.
	socketTimeout = 5 * time.Second
	// upstreamIdle is how long Envoy keeps an idle connection to an upstream. Servers
	// must keep it longer, else a request may meet its end.
	upstreamIdle = time.Minute
	// unlimited stands for no circuit breaking: control bounds its own queues and says so
	// in its answers. The default of 1,024 requests would cap ext_proc's streams, and its
	// overflow is a 500.
	unlimited = 1 << 20
	// maxRetries is how many requests to the hosts of one language may be trying again.
	maxRetries = 1024
	// bufferLimit bounds what Envoy holds of one connection. Nothing is buffered
	// whole. Measured with 6 MiB uploads: 8.5 ms each, with 32 KiB 11 ms.
	bufferLimit = 1 << 20
)

// runtimeCluster has its endpoints by EDS, so that hosts come and go without Envoy
// warming a cluster. Ring hash keeps a session with the host that has loaded it.
func runtimeCluster(s State, r Runtime) *clusterv3.Cluster {
	c := discovered(toHosts(s, cluster(RuntimeCluster(r.Language), http1()), protocolHTTP))
	c.LbPolicy = clusterv3.Cluster_RING_HASH
	c.OutlierDetection = unreachable()
	c.CircuitBreakers = breakers(uint32(s.MaxRequests), maxRetries) // checked
	return patient(c, r.Endpoints)
}

const (
	ejectFor   = time.Second // then twice that, and so on, up to
	ejectMost  = 30 * time.Second
	outlierAge = time.Second // how often hosts are looked at
)

// unreachable leaves out a host that a connection to failed, for a while. What hosts answer
// says nothing of them: the error may be a function's. Where most hosts are left out, all
// are tried.
func unreachable() *clusterv3.OutlierDetection {
	return &clusterv3.OutlierDetection{
		SplitExternalLocalOriginErrors:         true,
		ConsecutiveLocalOriginFailure:          number(1),
		EnforcingConsecutiveLocalOriginFailure: number(100),
		EnforcingLocalOriginSuccessRate:        number(0),
		EnforcingConsecutive_5Xx:               number(0),
		EnforcingConsecutiveGatewayFailure:     number(0),
		EnforcingSuccessRate:                   number(0),
		EnforcingFailurePercentage:             number(0),
		EnforcingFailurePercentageLocalOrigin:  number(0),
		Interval:                               duration(outlierAge),
		BaseEjectionTime:                       duration(ejectFor),
		MaxEjectionTime:                        duration(ejectMost),
		MaxEjectionPercent:                     number(100),
	}
}

// runtimeGRPCCluster has no affinity: the session is in the message, which Envoy does
// not read. Any host can serve any session.
func runtimeGRPCCluster(s State, r Runtime) *clusterv3.Cluster {
	c := discovered(toHosts(s, cluster(grpcCluster(r.Language), http2()), protocolGRPC))
	if s.remote() {
		c.OutlierDetection = unreachable() // else hooks would go on to be asked of it
		// By default Envoy's threads hear up to a second late which host is well.
		c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{UpdateMergeWindow: duration(0)}
	}
	return patient(c, r.GRPC)
}

// patient has a cluster wait longer for a connection if all of it are sockets of this machine.
func patient(c *clusterv3.Cluster, to []Endpoint) *clusterv3.Cluster {
	elsewhere := func(e Endpoint) bool { return e.Path == "" }
	if len(to) > 0 && !slices.ContainsFunc(to, elsewhere) {
		c.ConnectTimeout = duration(socketTimeout)
	}
	return c
}

func discovered(c *clusterv3.Cluster) *clusterv3.Cluster {
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: fromADS()}
	return c
}

func controlAPICluster(s State) *clusterv3.Cluster {
	c := cluster(ControlAPICluster, http1())
	if s.remote() {
		return toControls(s, c, protocolHTTP)
	}
	return static(c, Endpoint{Path: s.APIPath})
}

func extProcCluster(s State) *clusterv3.Cluster {
	c := cluster(ExtProcCluster, http2())
	if s.remote() {
		return toControls(s, c, protocolGRPC)
	}
	return static(c, Endpoint{Path: s.ExtProcPath})
}

func static(c *clusterv3.Cluster, e Endpoint) *clusterv3.Cluster {
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = loadAssignment(c.GetName(), e)
	return patient(c, []Endpoint{e})
}

func cluster(name string, options *httpv3.HttpProtocolOptions) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                          name,
		ConnectTimeout:                duration(connectTimeout),
		PerConnectionBufferLimitBytes: number(bufferLimit),
		CircuitBreakers:               breakers(unlimited, unlimited),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(options),
		},
	}
}

func breakers(requests, retries uint32) *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     number(requests),
		MaxPendingRequests: number(requests),
		MaxRequests:        number(requests),
		MaxRetries:         number(retries),
	}}}
}

func http1() *httpv3.HttpProtocolOptions {
	return explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
		},
	})
}

func http2() *httpv3.HttpProtocolOptions {
	return explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: http2Options(),
		},
	})
}

func explicit(config *httpv3.HttpProtocolOptions_ExplicitHttpConfig) *httpv3.HttpProtocolOptions {
	return &httpv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: duration(upstreamIdle)},
		UpstreamProtocolOptions:   &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: config},
	}
}

// http2Options has the windows of Envoy's edge recommendations, not the protocol's
// 256 MiB defaults of Envoy.
func http2Options() *corev3.Http2ProtocolOptions {
	return &corev3.Http2ProtocolOptions{
		InitialStreamWindowSize:     number(64 << 10),
		InitialConnectionWindowSize: number(1 << 20),
	}
}

// discoveryTimeout is how long an Envoy that starts waits for a part of a declared upstream.
// One that it refused is kept from it, and must not keep it from all else.
const discoveryTimeout = 5 * time.Second

// fromADSSoon is fromADS of what others do without.
func fromADSSoon() *corev3.ConfigSource {
	source := fromADS()
	source.InitialFetchTimeout = duration(discoveryTimeout)
	return source
}

func fromADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		// A listener or cluster waits for its parts rather than serve without them.
		InitialFetchTimeout: duration(0),
	}
}
