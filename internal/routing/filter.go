package routing

// FilterType tells which member of a Filter counts.
type FilterType string

// Filter types, as the Gateway API names them.
const (
	RequestHeaderModifier  FilterType = "RequestHeaderModifier"
	ResponseHeaderModifier FilterType = "ResponseHeaderModifier"
	RequestRedirect        FilterType = "RequestRedirect"
	URLRewrite             FilterType = "URLRewrite"
	RequestMirror          FilterType = "RequestMirror"
)

// Filter changes a request or its response. The member of the type's name is set, and no
// other.
type Filter struct {
	Type                   FilterType `json:"type"`
	RequestHeaderModifier  *Headers   `json:"requestHeaderModifier,omitempty"`
	ResponseHeaderModifier *Headers   `json:"responseHeaderModifier,omitempty"`
	RequestRedirect        *Redirect  `json:"requestRedirect,omitempty"`
	URLRewrite             *Rewrite   `json:"urlRewrite,omitempty"`
	RequestMirror          *Mirror    `json:"requestMirror,omitempty"`
}

// Headers are changes of headers: first set, then add, then remove.
type Headers struct {
	Set    []Header `json:"set,omitempty"`
	Add    []Header `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

// Header is a name and its value.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Redirect answers by a redirect. What is not set stays as the request has it.
type Redirect struct {
	Scheme     string       `json:"scheme,omitempty"` // http or https
	Hostname   string       `json:"hostname,omitempty"`
	Path       *PathRewrite `json:"path,omitempty"`
	Port       int          `json:"port,omitempty"`
	StatusCode int          `json:"statusCode,omitempty"` // 301, 302, 303, 307 or 308; 0: 302
}

// Rewrite is what upstreams and functions see in place of the request's own.
type Rewrite struct {
	Hostname string       `json:"hostname,omitempty"`
	Path     *PathRewrite `json:"path,omitempty"`
}

// PathRewriteType tells which member of a PathRewrite counts.
type PathRewriteType string

// Path rewrite types, as the Gateway API names them. A prefix is that of the match, whose type
// must be PathPrefix.
const (
	ReplaceFullPath    PathRewriteType = "ReplaceFullPath"
	ReplacePrefixMatch PathRewriteType = "ReplacePrefixMatch"
)

// PathRewrite is another path.
type PathRewrite struct {
	Type               PathRewriteType `json:"type"`
	ReplaceFullPath    string          `json:"replaceFullPath,omitempty"`
	ReplacePrefixMatch string          `json:"replacePrefixMatch,omitempty"`
}

// Mirror sends a copy of requests to an upstream, whose answers nobody reads.
type Mirror struct {
	BackendRef BackendRef `json:"backendRef"`
	Percent    *int       `json:"percent,omitempty"` // of requests, 0 to 100; nil: all
}

// Hooks are the functions that see a rule's requests and responses on their way.
type Hooks struct {
	// Request is called with the request's method, path and headers, before it goes on. It may
	// let it pass, change its headers, or answer itself.
	Request *Hook `json:"request,omitempty"`
	// Response is called with the response's status and headers, and may change those.
	Response *Hook `json:"response,omitempty"`
}

// Hook is a function at a route. What it does where the function does not answer in time, or
// fails, must be said.
type Hook struct {
	// Function is its language-title, with :alias or @version if one is meant.
	Function  string `json:"function"`
	Namespace string `json:"namespace,omitempty"` // empty: the default one
	// Deadline is how long it may take, at most 10 s. It must be set.
	Deadline Duration `json:"deadline"`
	// FailureMode is what happens then. It must be set.
	FailureMode FailureMode `json:"failureMode"`
}

// FailureMode is what happens where a hook does not answer.
type FailureMode string

// Failure modes.
const (
	FailOpen   FailureMode = "Open"   // the request goes on as if there were no hook
	FailClosed FailureMode = "Closed" // it is refused by 503
)
