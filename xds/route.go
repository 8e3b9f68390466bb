package xds

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"envoke/internal/faas"
)

// Paths of the API.
const (
	initializePath = "/api/v1/initialize"
	executePath    = "/api/v1/execute"
	sessionsPath   = "/api/v1/sessions/"
	functionsPath  = "/api/v1/functions"
	secretsPath    = "/api/v1/secrets"
	auditPath      = "/api/v1/audit"
	runtimePath    = "/runtime/"
	functionPath   = "/function/"
	keysPath       = "/api/v1/keys"
	healthPath     = "/health"
	documentPath   = "/api/v1/openapi.json"
)

// Headers by which ext_proc speaks to the routes. Clients cannot: the listener
// strips them from requests.
const (
	ClusterHeader = "x-envoke-cluster" // the cluster that serves the request
	HashHeader    = "x-envoke-hash"    // what the ring is asked with in place of :path
	SessionHeader = "x-envoke-session" // the id that a new session gets
	// FunctionHeader names the function to run, where the path does not (MappedNames).
	FunctionHeader = "x-envoke-function"
)

// StartHeader tells a host when the request's first byte came, in microseconds since
// 1970: it can say then what went by until it had the request.
const StartHeader = "x-envoke-start"

// Headers by which the filter, ext_proc and the hosts speak of cached results.
const (
	CallKeyHeader      = "x-envoke-key"       // the filter to ext_proc: the digest of the call
	CacheHeader        = "x-envoke-cache"     // ext_proc to a host: may others have the response?
	CacheableHeader    = "x-envoke-cacheable" // a host to ext_proc: they may
	KeepHeader         = "x-envoke-keep"      // ext_proc to the filter: for how long they may
	UncachedHeader     = "x-envoke-uncached"  // the filter to the routes: the function's results are not cached
	CacheControlHeader = "x-cache-control"    // of callers
)

// apiRoutes are those of Envoke's own API. Envoy tries routes in order, so what is hot
// comes first. The path alone decides after the method: each operation's routes are
// followed by one that answers 405.
func apiRoutes(s State) []*routev3.Route {
	routes := append([]*routev3.Route{doubledHost()}, preflights(s.Listener)...)
	for _, r := range s.Runtimes {
		routes = append(routes, plainExecute(s, r))
	}
	routes = append(routes, invokes(s)...) // of which the filter answers most
	for _, r := range s.Runtimes {
		routes = append(routes, uncachedExecute(s, r), checkedExecute(s, r))
	}
	post := method(http.MethodPost)
	read := method(http.MethodGet, http.MethodHead)
	routes = append(routes,
		viaExtProc(s, faas.Execute, match(prefix(executePath+"/"), post), ":path"), // no id: it is refused
		viaFilter(s, viaExtProc(s, faas.OneShot, match(exact(executePath), post), HashHeader)),
		viaFilter(s, viaExtProc(s, faas.Initialize, match(exact(initializePath), post), HashHeader)),
	)
	routes = append(routes, sessionRoutes(s)...)
	routes = append(routes,
		toAPI(faas.FunctionRead, match(exact(functionsPath), read), apiTimeout),
		viaFilter(s, toAPI(faas.FunctionRead, match(prefix(functionsPath+"/"), read), apiTimeout)),
		toAPI(faas.FunctionWrite, match(exact(functionsPath), post), WriteTimeout),
		// Control knows which path below takes which method.
		viaFilter(s, toAPI(faas.FunctionWrite, prefix(functionsPath+"/"), WriteTimeout)),
		toAPI(faas.KeyWrite, match(exact(keysPath), method(http.MethodGet, http.MethodHead, http.MethodPost)), apiTimeout),
		toAPI(faas.KeyWrite, match(prefix(keysPath+"/"), method(http.MethodDelete)), apiTimeout),
		toAPI(faas.SecretWrite, match(exact(secretsPath), read), apiTimeout),
		toAPI(faas.SecretWrite, prefix(secretsPath+"/"), apiTimeout),
		toAPI(faas.AuditRead, match(exact(auditPath), read), apiTimeout),
		toAPI(faas.Health, match(exact(healthPath), read), apiTimeout),
		toAPI(faas.Document, match(exact(documentPath), read), apiTimeout),
	)
	routes = append(append(routes, configRoutes()...), grpcRoutes(s)...)
	routes = append(routes,
		wrongMethod(prefix(executePath+"/"), "POST"),
		wrongMethod(exact(executePath), "POST"),
		wrongMethod(exact(initializePath), "POST"),
		wrongMethod(prefix(sessionsPath), "GET, HEAD, DELETE"),
		wrongMethod(exact(functionsPath), "GET, HEAD, POST"),
		wrongMethod(exact(keysPath), "GET, HEAD, POST"),
		wrongMethod(prefix(keysPath+"/"), "DELETE"),
		wrongMethod(exact(secretsPath), "GET, HEAD"),
		wrongMethod(exact(auditPath), "GET, HEAD"),
		wrongMethod(exact(healthPath), "GET, HEAD"),
		wrongMethod(exact(documentPath), "GET, HEAD"),
		refuse(noLanguage, prefix(runtimePath), http.StatusNotFound),
		refuse(noLanguage, prefix(functionPath), http.StatusNotFound),
	)
	return own(s, guard(s, readable(s.Listener, retryAtAnother(s, routes))))
}

// plainExecute matches the ids of plain sessions of one language (see
// faas.SessionID) and sends them straight to its hosts: no ext_proc, which costs as
// much as a controller's hop. A cache header needs ext_proc, whatever it says.
func plainExecute(s State, r Runtime) *routev3.Route {
	m := match(sessionID(r.Language, plainFlag), method(http.MethodPost), absent(CacheControlHeader))
	return direct(s, faas.Execute+"-plain", m, r)
}

// uncachedExecute matches all ids of one language where the caller wants nothing
// cached: ext_proc looks the session up and refuses or lets pass. The id names the
// cluster, so that Envoy selects a route once: with a header of ext_proc's it would have
// to a second time.
func uncachedExecute(s State, r Runtime) *routev3.Route {
	m := match(sessionID(r.Language, anyFlags), method(http.MethodPost), noCache())
	return enable(extProcFilter, direct(s, faas.Execute, m, r))
}

// checkedExecute matches all other executes of one language, whose results may be
// cached: the filter answers or ext_proc does, which looks the session up as well.
func checkedExecute(s State, r Runtime) *routev3.Route {
	m := match(sessionID(r.Language, anyFlags), method(http.MethodPost))
	return cached(enable(extProcFilter, direct(s, faas.Execute, m, r)))
}

// cached has the filter answer what it holds. A body that is more than the filter
// hashes goes on by and by, so what Envoy may hold of it is that and what it reads at
// once, and not the size of a connection's buffer, at which it would refuse.
func cached(r *routev3.Route) *routev3.Route {
	r.RequestBodyBufferLimit = wrapperspb.UInt64(2 * bufferLimit)
	return enable(FilterName, r)
}

// noRoute is the route of what no other takes.
const noRoute = "none"

// noLanguage is the route of calls whose path begins with no language that is served.
const noLanguage = "language"

// invokes are the calls of registered functions. Hosts know themselves which version
// a name stands for, so ext_proc is asked only where it maps names to languages, and
// for what may be cached.
func invokes(s State) (routes []*routev3.Route) {
	routes = openFaaSChosen(s)
	for _, r := range s.Runtimes {
		path := runtimePath + string(r.Language) + "/"
		routes = append(routes,
			direct(s, faas.Invoke, match(prefix(path), method(http.MethodPost), absent(CacheControlHeader)), r),
			cached(enable(extProcFilter, direct(s, faas.Invoke, match(prefix(path), method(http.MethodPost)), r))),
			wrongMethod(prefix(path), "POST"))
		if !s.MappedNames && s.OpenFaaS.On() {
			routes = append(routes, invokesByName(s, r))
		} else if !s.MappedNames {
			path := functionPath + string(r.Language) + "-"
			routes = append(routes,
				passBy(direct(s, faas.InvokeHTTP, match(prefix(path), uncached()), r)),
				cached(enableOpen(direct(s, faas.InvokeHTTP, match(prefix(path), cacheable()...), r))),
				direct(s, faas.InvokeHTTP, prefix(path), r))
		}
	}
	if s.MappedNames {
		routes = append(routes, viaExtProc(s, faas.InvokeHTTP, prefix(functionPath), ":path"))
	}
	return append(routes, openFaaSRoutes(s)...)
}

// direct sends a request straight to the hosts of a language. A policy of retries costs
// each request 2.5 % of Envoy's time, also where nothing is retried, so there is none where
// the only host is this machine's: when that is gone, nobody else is there to ask.
func direct(s State, operation faas.Operation, m *routev3.RouteMatch, r Runtime) *routev3.Route {
	action := runtimeAction(s, ":path")
	action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: RuntimeCluster(r.Language)}
	if len(r.Endpoints) == 1 && r.Endpoints[0].Path != "" {
		action.RetryPolicy = nil
	}
	return toHost(string(operation)+"-"+string(r.Language), m, action)
}

// What the digit of a session's id may be that has its flags (see faas.SessionID).
const (
	plainFlag = "[13579bdf]"
	anyFlags  = "[0-9a-f]"
)

func sessionID(language faas.Language, flags string) *routev3.RouteMatch {
	return pathRegex(fmt.Sprintf(
		executePath+"/[0-9a-f]{8}-[0-9a-f]{4}-8%x%s[0-9a-f]-[89ab][0-9a-f]{3}-[0-9a-f]{12}", language.Digit(), flags))
}

// viaExtProc has ext_proc look at the headers first: it answers itself, or names
// the cluster.
func viaExtProc(s State, operation faas.Operation, m *routev3.RouteMatch, hashHeader string) *routev3.Route {
	action := runtimeAction(s, hashHeader)
	action.ClusterSpecifier = &routev3.RouteAction_ClusterHeader{ClusterHeader: ClusterHeader}
	return enable(extProcFilter, toHost(string(operation), m, action))
}

// viaFilter has the Wasm filter look at the request first (see wasmFilter): at the
// name of its function, unless only ext_proc knows what a name may be. Calls by path
// are hot, and their hosts look at the name themselves.
func viaFilter(s State, r *routev3.Route) *routev3.Route {
	if s.MappedNames {
		return r
	}
	return enable(FilterName, r)
}

// enable has the route's requests pass an HTTP filter that is in the chain but
// disabled. An empty config does that.
func enable(filter string, r *routev3.Route) *routev3.Route {
	if r.TypedPerFilterConfig == nil {
		r.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	r.TypedPerFilterConfig[filter] = pack(&routev3.FilterConfig{Config: new(anypb.Any)})
	return r
}

// runtimeAction hashes a session's id or a function's path, so that calls meet the
// host that has loaded the code. No response is bounded as a whole, since it may be a
// stream: only how long nothing comes of it, what ext_proc takes included. The host's own
// deadline comes first.
func runtimeAction(s State, hashHeader string) *routev3.RouteAction {
	return &routev3.RouteAction{
		Timeout:     duration(0),
		IdleTimeout: duration(s.MaxTimeout + extProcTimeout + time.Second),
		RetryPolicy: retryUnsent(),
		HashPolicy: []*routev3.RouteAction_HashPolicy{{
			PolicySpecifier: &routev3.RouteAction_HashPolicy_Header_{
				Header: &routev3.RouteAction_HashPolicy_Header{HeaderName: hashHeader},
			},
		}},
	}
}

const (
	retries      = 3
	retryBackoff = 100 * time.Millisecond // before the first; then twice that, and so on, with jitter
)

// notTheSame has a retry go to a host that was not tried, if there is one.
const notTheSame = "envoy.retry_host_predicates.previous_hosts"

// retryUnsent tries again where no host has seen the request: a function must never run
// twice for one request. The next try goes to a host that was not tried, if there is one.
func retryUnsent() *routev3.RetryPolicy {
	return &routev3.RetryPolicy{
		RetryOn:    "connect-failure,refused-stream,reset-before-request",
		NumRetries: number(retries),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: notTheSame,
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: pack(&previousv3.PreviousHostsPredicate{}),
			},
		}},
		HostSelectionRetryMaxAttempts: retries,
		RetryBackOff: &routev3.RetryPolicy_RetryBackOff{
			BaseInterval: duration(retryBackoff), MaxInterval: duration(retryBackoff << retries),
		},
	}
}

func toHost(name string, m *routev3.RouteMatch, action *routev3.RouteAction) *routev3.Route {
	r := route(name, m, action)
	r.RequestHeadersToAdd = []*corev3.HeaderValueOption{{
		Header:       &corev3.HeaderValue{Key: StartHeader, Value: "%START_TIME(%s%6f)%"},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}}
	return r
}

func route(name string, m *routev3.RouteMatch, action *routev3.RouteAction) *routev3.Route {
	return &routev3.Route{Name: name, Match: m, Action: &routev3.Route_Route{Route: action}}
}

func wrongMethod(m *routev3.RouteMatch, allow string) *routev3.Route {
	r := refuse("method", m, http.StatusMethodNotAllowed)
	r.ResponseHeadersToAdd = []*corev3.HeaderValueOption{{
		Header: &corev3.HeaderValue{Key: "allow", Value: allow},
	}}
	return r
}

// doubledHost refuses two Host headers, which Envoy joins with a comma: what is in
// front of us may have believed the other one.
func doubledHost() *routev3.Route {
	comma := header(":authority", &matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_Contains{Contains: ","},
	})
	return refuse("host", match(prefix("/"), comma), http.StatusBadRequest)
}

// refuse answers in Envoy; the body is a local reply's (see localReplies).
func refuse(name string, m *routev3.RouteMatch, status uint32) *routev3.Route {
	return &routev3.Route{Name: name, Match: m, Action: &routev3.Route_DirectResponse{
		DirectResponse: &routev3.DirectResponseAction{Status: status},
	}}
}

func match(path *routev3.RouteMatch, headers ...*routev3.HeaderMatcher) *routev3.RouteMatch {
	path.Headers = headers
	return path
}

func exact(path string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: path}}
}

func prefix(path string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: path}}
}

// pathRegex matches the whole path without its query.
func pathRegex(regex string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{
		SafeRegex: &matcherv3.RegexMatcher{Regex: regex},
	}}
}

func method(methods ...string) *routev3.HeaderMatcher {
	if len(methods) == 1 {
		return header(":method", &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: methods[0]},
		})
	}
	return header(":method", &matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_SafeRegex{
			SafeRegex: &matcherv3.RegexMatcher{Regex: strings.Join(methods, "|")},
		},
	})
}

func header(name string, m *matcherv3.StringMatcher) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: m},
	}
}

// noCache matches a caller who wants no cached result and none cached.
func noCache() *routev3.HeaderMatcher {
	return header(CacheControlHeader, &matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "no-cache"},
	})
}

// uncached matches calls of which the filter knows that ext_proc has nothing to say.
func uncached() *routev3.HeaderMatcher {
	return header(UncachedHeader, &matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "1"},
	})
}

// cacheable matches requests of plain HTTP whose results may be cached: their caller is
// nobody in particular.
func cacheable() []*routev3.HeaderMatcher {
	wanted := noCache()
	wanted.InvertMatch, wanted.TreatMissingHeaderAsEmpty = true, true
	matchers := []*routev3.HeaderMatcher{method(http.MethodGet), wanted}
	for _, name := range faas.CallerHeaders() {
		matchers = append(matchers, absent(name))
	}
	return matchers
}

func absent(name string) *routev3.HeaderMatcher { return presence(name, false) }

func present(name string) *routev3.HeaderMatcher { return presence(name, true) }

func presence(name string, there bool) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: there},
	}
}
