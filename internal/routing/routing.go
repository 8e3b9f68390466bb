// Package routing is what operators declare beside the API: existing services (upstreams),
// and routes to them and to functions. Its words and their meaning are those of the
// Kubernetes Gateway API (HTTPRoute, v1) where that has them; hooks are our own.
package routing

// Routing is a whole declaration. The zero Routing declares nothing.
type Routing struct {
	// API is where Envoke's own API is served.
	API API `json:"api,omitzero"`
	// Listeners are ports beside the first one, which flags set.
	Listeners []Listener `json:"listeners,omitempty"`
	Upstreams []Upstream `json:"upstreams,omitempty"`
	Routes    []Route    `json:"routes,omitempty"`
	// Defaults are those of rules that say nothing themselves.
	Defaults Defaults `json:"defaults,omitzero"`
}

// API is where Envoke's own API is served.
type API struct {
	// Hostnames are those that serve it; empty: every host that no route names, which also
	// takes the API's paths before the rules of routes without hostnames.
	Hostnames []string `json:"hostnames,omitempty"`
}

// Listener is a port. Each serves all routes.
type Listener struct {
	Name     string   `json:"name"`
	Host     string   `json:"host,omitempty"` // an IP address; empty: that of the first listener
	Port     int      `json:"port"`
	Protocol Protocol `json:"protocol"`
	// TLS is that of HTTPS.
	TLS ListenerTLS `json:"tls,omitzero"`
	// HTTP3 has it served by QUIC too, on the UDP port of the same number: not in this version.
	HTTP3 bool `json:"http3,omitempty"`
	// RedirectTo sends every caller to https at that port; 0: nobody is.
	RedirectTo int `json:"redirectTo,omitempty"`
}

// Protocol is what a listener speaks.
type Protocol string

// Protocols. Both take HTTP/1.1 and HTTP/2.
const (
	HTTP  Protocol = "HTTP"
	HTTPS Protocol = "HTTPS"
)

// ListenerTLS names files that are read again when they change.
type ListenerTLS struct {
	CertificateFile string `json:"certificateFile,omitempty"` // PEM, the server's own first
	KeyFile         string `json:"keyFile,omitempty"`         // PEM
}

// Defaults are those of rules that say nothing themselves.
type Defaults struct {
	Timeouts Timeouts `json:"timeouts,omitzero"`
	Retry    *Retry   `json:"retry,omitempty"`
}

// Route is a set of rules for hosts, as an HTTPRoute is. Where several routes name one host,
// the order of their rules is that of the Gateway API: see Rule.
type Route struct {
	Name string `json:"name"` // unique; of a Kubernetes source, namespace/name
	// Hostnames are exact ones, or begin with *. , which stands for one label or more; empty:
	// all hosts that no other route names.
	Hostnames []string `json:"hostnames,omitempty"`
	Rules     []Rule   `json:"rules"`
}

// Rule says what happens to requests that any of Matches matches. Of all rules of a host, the
// one is taken whose match has, in this order: an exact path, the longest path prefix, a
// method, most headers, most query parameters; then the first route by name, and the first
// rule in it. Of a template or an expression it is the length of what is literal at its
// beginning that counts, and it comes before a prefix of that length. The rules of the most
// specific hostname alone count.
type Rule struct {
	Name        string       `json:"name,omitempty"`
	Matches     []Match      `json:"matches,omitempty"` // empty: all requests
	Filters     []Filter     `json:"filters,omitempty"`
	BackendRefs []BackendRef `json:"backendRefs,omitempty"` // empty: 500, unless a filter redirects
	Timeouts    Timeouts     `json:"timeouts,omitzero"`
	Retry       *Retry       `json:"retry,omitempty"`
	// Hooks are functions that see the request or the response on its way.
	Hooks Hooks `json:"hooks,omitzero"`
	// Access is who may call, where callers are checked (AUTH).
	Access Access `json:"access,omitzero"`
}

// Match is a condition: all that it says must hold.
type Match struct {
	Path        *PathMatch   `json:"path,omitempty"`   // nil: every path
	Method      string       `json:"method,omitempty"` // empty: every method
	Headers     []ValueMatch `json:"headers,omitempty"`
	QueryParams []ValueMatch `json:"queryParams,omitempty"`
}

// MatchType tells how a value is compared.
type MatchType string

// Match types. Paths are compared by Exact, PathPrefix (by whole segments), Template and
// RegularExpression; headers and query parameters by Exact and RegularExpression.
const (
	Exact      MatchType = "Exact"
	PathPrefix MatchType = "PathPrefix"
	// Template is a path with {name} for one segment each, and {name=**} at its end for the
	// rest, as google.api.http and Envoy's URI templates have it.
	Template MatchType = "Template"
	// RegularExpression is RE2's, of the whole value.
	RegularExpression MatchType = "RegularExpression"
)

// PathMatch is a condition on the path without its query.
type PathMatch struct {
	Type  MatchType `json:"type,omitempty"` // empty: PathPrefix
	Value string    `json:"value"`
}

// ValueMatch is a condition on a header or a query parameter.
type ValueMatch struct {
	Type  MatchType `json:"type,omitempty"` // empty: Exact
	Name  string    `json:"name"`           // of a header in any case
	Value string    `json:"value"`
}

// Kind is what a BackendRef refers to.
type Kind string

// Kinds.
const (
	ToUpstream Kind = "Upstream"
	ToFunction Kind = "Function"
)

// BackendRef is where a share of a rule's requests goes.
type BackendRef struct {
	Kind Kind `json:"kind,omitempty"` // empty: Upstream
	// Name is an upstream's, or a function's language-title, with :alias or @version if one is
	// meant.
	Name string `json:"name"`
	// Namespace is that of a function; empty: the default one.
	Namespace string `json:"namespace,omitempty"`
	// Weight is its share of the sum of all; nil: 1. 0: nothing goes there.
	Weight *int `json:"weight,omitempty"`
}

// Timeouts bound a request.
type Timeouts struct {
	// Request is for all of it, tries again included; 0: the default of 15 s for upstreams, and
	// the function's own for functions.
	Request Duration `json:"request,omitzero"`
	// BackendRequest is for one try; 0: that of Request.
	BackendRequest Duration `json:"backendRequest,omitzero"`
}

// Retry has requests sent again that an upstream did not answer well. Requests to functions
// are only sent again where no host has seen them, whatever it says.
type Retry struct {
	// Codes are statuses after which it is tried again; beside them it is after a connection
	// that failed or was reset before an answer began.
	Codes    []int    `json:"codes,omitempty"`
	Attempts int      `json:"attempts,omitempty"` // after the first; 0: 1
	Backoff  Duration `json:"backoff,omitzero"`   // before the first; 0: 25 ms
}

// Access is who may call a rule, where callers are checked. The zero Access: everybody may
// call upstreams, which check their callers themselves and get what those show; functions may
// be called by those of their namespace whom their own paths let. Scopes are those of callers of
// the functions' namespace and of the default one: a team's issuer says for its team alone.
type Access struct {
	// Public lets everybody.
	Public bool `json:"public,omitempty"`
	// Scopes let those who have one of them; what they show goes no further than Envoy then.
	Scopes []string `json:"scopes,omitempty"`
}
