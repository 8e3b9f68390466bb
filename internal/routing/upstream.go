package routing

// Upstream is an existing service.
type Upstream struct {
	Name      string             `json:"name"`                // unique; of a Kubernetes source, namespace/name:port
	Endpoints []UpstreamEndpoint `json:"endpoints,omitempty"` // may be empty: requests get 503
	// AppProtocol is what it speaks; empty: HTTP/1.1.
	AppProtocol AppProtocol `json:"appProtocol,omitempty"`
	// TLS has it reached by TLS; nil: by plain TCP.
	TLS              *UpstreamTLS      `json:"tls,omitempty"`
	LoadBalancing    LoadBalancing     `json:"loadBalancing,omitempty"` // empty: LeastRequest
	ConnectTimeout   Duration          `json:"connectTimeout,omitzero"` // 0: 1 s
	HealthCheck      *HealthCheck      `json:"healthCheck,omitempty"`   // nil: none
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`
	CircuitBreakers  *CircuitBreakers  `json:"circuitBreakers,omitempty"`
}

// UpstreamEndpoint is one address: a Unix socket, or a host and a port.
type UpstreamEndpoint struct {
	Path string `json:"path,omitempty"` // of a Unix socket
	// Host is an IP address, or a name, which Envoy resolves again and again. An upstream has
	// only addresses or only names.
	Host   string `json:"host,omitempty"`
	Port   int    `json:"port,omitempty"`
	Weight int    `json:"weight,omitempty"` // 0: 1
	// Zone is where it is; empty: nobody knows.
	Zone string `json:"zone,omitempty"`
	// Draining has it get no new requests: it ends those that it has.
	Draining bool `json:"draining,omitempty"`
}

// AppProtocol is what an upstream speaks.
type AppProtocol string

// Protocols of upstreams.
const (
	HTTP1 AppProtocol = "http1"
	HTTP2 AppProtocol = "http2" // in plain text (h2c) without TLS; gRPC needs it
)

// UpstreamTLS is how an upstream's certificate is checked.
type UpstreamTLS struct {
	// Hostname is asked for (SNI), and must be in the certificate.
	Hostname string `json:"hostname"`
	// CAFile has the authorities (PEM) that are believed, and is read again when it changes;
	// empty: those of the system.
	CAFile string `json:"caFile,omitempty"`
	// CertificateFile and KeyFile (PEM) are what Envoy shows; empty: nothing.
	CertificateFile string `json:"certificateFile,omitempty"`
	KeyFile         string `json:"keyFile,omitempty"`
}

// LoadBalancing is how one of an upstream's endpoints is chosen.
type LoadBalancing string

// Ways of load balancing.
const (
	LeastRequest LoadBalancing = "LeastRequest" // of two at random, the one with fewer requests
	RoundRobin   LoadBalancing = "RoundRobin"
	Random       LoadBalancing = "Random"
)

// HealthCheck asks each endpoint by HTTP. One that does not answer 200 gets no requests.
type HealthCheck struct {
	Path               string   `json:"path"`
	Hostname           string   `json:"hostname,omitempty"`           // in Host; empty: the upstream's name
	Interval           Duration `json:"interval,omitzero"`            // 0: 5 s
	Timeout            Duration `json:"timeout,omitzero"`             // 0: 1 s
	UnhealthyThreshold int      `json:"unhealthyThreshold,omitempty"` // failures in a row; 0: 3
	HealthyThreshold   int      `json:"healthyThreshold,omitempty"`   // successes in a row; 0: 1
}

// OutlierDetection leaves out an endpoint for a while that answers badly.
type OutlierDetection struct {
	Consecutive5xx     int      `json:"consecutive5xx,omitempty"`     // 0: 5
	Interval           Duration `json:"interval,omitzero"`            // between looks; 0: 10 s
	BaseEjectionTime   Duration `json:"baseEjectionTime,omitzero"`    // then twice that, and so on; 0: 30 s
	MaxEjectionPercent int      `json:"maxEjectionPercent,omitempty"` // of endpoints at once; 0: 10
}

// CircuitBreakers bound what one Envoy has under way; what is more is refused by 503.
type CircuitBreakers struct {
	MaxConnections     int `json:"maxConnections,omitempty"`     // 0: 1024
	MaxPendingRequests int `json:"maxPendingRequests,omitempty"` // 0: 1024
	MaxRequests        int `json:"maxRequests,omitempty"`        // 0: 1024
	MaxRetries         int `json:"maxRetries,omitempty"`         // 0: 3
}
