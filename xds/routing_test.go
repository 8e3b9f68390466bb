package xds

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envoke/internal/envoytest"
	"envoke/internal/faas"
	"envoke/internal/routing"
	"envoke/internal/testrig"
)

// declare adds an upstream for each of some names, which answers by its name.
func (s *stack) declare(names ...string) {
	s.t.Helper()
	for _, name := range names {
		path := filepath.Join(s.dir, name+".sock")
		serveHTTP(s.t, path, upstream(name))
		s.state.Routing.Upstreams = append(s.state.Routing.Upstreams, routing.Upstream{
			Name: name, Endpoints: []routing.UpstreamEndpoint{{Path: path}},
		})
	}
}

func to(name string) []routing.BackendRef { return []routing.BackendRef{{Name: name}} }

func toFunction(name string) []routing.BackendRef {
	return []routing.BackendRef{{Kind: routing.ToFunction, Name: name}}
}

func onPath(kind routing.MatchType, value string) []routing.Match {
	return []routing.Match{{Path: &routing.PathMatch{Type: kind, Value: value}}}
}

// at sends a request to a host.
func (s *stack) at(host, method, path string, headers ...string) envoytest.Reply {
	s.t.Helper()
	lines := []string{method + " " + path + " HTTP/1.1", "Host: " + host}
	for i := 0; i < len(headers); i += 2 {
		lines = append(lines, headers[i]+": "+headers[i+1])
	}
	return envoytest.Raw(s.t, s.Addr, strings.Join(lines, "\r\n")+"\r\n\r\n")
}

// TestDeclaredRoutes sees requests meet what their host and path stand for.
func TestDeclaredRoutes(t *testing.T) {
	s := newStack(t, nil)
	s.declare("shop", "blog", "rest")
	s.state.Routing.Routes = []routing.Route{
		{Name: "shop", Hostnames: []string{"Shop.example.com"}, Rules: []routing.Rule{
			{Matches: onPath(routing.PathPrefix, "/blog"), BackendRefs: to("blog")},
			{Matches: onPath(routing.Exact, "/api/v1/functions"), BackendRefs: to("blog")},
			{Matches: onPath(routing.PathPrefix, "/call/"), BackendRefs: toFunction("nodejs-hello:prod")},
			{Matches: onPath(routing.PathPrefix, "/nothing")},
			{BackendRefs: to("shop")},
		}},
		{Name: "wild", Hostnames: []string{"*.example.com"}, Rules: []routing.Rule{{BackendRefs: to("blog")}}},
		{Name: "rest", Rules: []routing.Rule{
			{Matches: onPath(routing.PathPrefix, "/rest"), BackendRefs: to("rest")},
			{Matches: onPath(routing.PathPrefix, "/health"), BackendRefs: to("rest")},
		}},
	}
	s.publish(s.state)
	for _, tt := range []struct {
		host, path string
		want       string // upstream, or a status
	}{
		{"shop.example.com", "/", "shop"},
		{"SHOP.example.com:9000", "/x?y=/blog", "shop"},
		{"shop.example.com", "/blog", "blog"},
		{"shop.example.com", "/blog/1", "blog"},
		{"shop.example.com", "/blogs", "shop"},
		{"shop.example.com", "/api/v1/functions", "blog"},
		{"shop.example.com", "/health", "shop"},
		{"shop.example.com", "/call/x", "host"},
		{"shop.example.com", "/nothing", "500"},
		{"a.b.example.com", "/", "blog"},
		{"a,b.example.com", "/", "400"},
		{"example.com", "/", "404"},
		{"example.com", "/rest", "rest"},
		{"example.com", "/health", "api"},
		{"127.0.0.1", "/rest/1", "rest"},
	} {
		reply := s.at(tt.host, "GET", tt.path)
		got := fmt.Sprint(reply.Status)
		if reply.Status == http.StatusOK {
			got = strings.TrimRight(decode(t, reply).Upstream, "01")
		}
		if got != tt.want {
			t.Errorf("%s%s got to %s, want %s: %.200s", tt.host, tt.path, got, tt.want, reply.Body)
		}
	}
}

// TestDeclaredHeaders: services know nothing of us, functions know what called them.
func TestDeclaredHeaders(t *testing.T) {
	s := newStack(t, nil)
	s.declare("shop")
	s.state.Routing.Routes = []routing.Route{{Name: "shop", Rules: []routing.Rule{
		{Name: "call", Matches: onPath(routing.PathPrefix, "/call"), BackendRefs: toFunction("nodejs-hello")},
		{Matches: onPath(routing.PathPrefix, "/mix"), BackendRefs: []routing.BackendRef{
			{Name: "shop"}, {Kind: routing.ToFunction, Name: "nodejs-hello", Namespace: "team-a"},
		}},
		{Matches: onPath(routing.PathPrefix, "/shop"), BackendRefs: to("shop")},
	}}}
	s.publish(s.state)
	spoof := []string{FunctionHeader, "nodejs-other", faas.RouteHeader, "x", "Authorization", "Basic 1", "Cookie", "a=b", "x-envoke-else", "1", "x-envoke-namespace", "theirs"}
	reply := s.at("a", "GET", "/shop", spoof...)
	got := decode(t, reply)
	for name := range got.Header {
		if strings.HasPrefix(name, "X-Envoke") {
			t.Errorf("the service got %s: %s", name, got.Header.Get(name))
		}
	}
	if got.Header.Get("Authorization") != "Basic 1" || got.Header.Get("Cookie") != "a=b" {
		t.Errorf("the service got %v", got.Header)
	}
	if leak := reply.Header.Get(SessionHeader); leak != "" {
		t.Errorf("the caller got %s of a service", leak)
	}
	got = decode(t, s.at("a", "GET", "/call", spoof...))
	if got.Header.Get(FunctionHeader) != "nodejs-hello" || got.Header.Get(faas.RouteHeader) != "route/shop/call" || got.Header.Get(StartHeader) == "" {
		t.Errorf("the host got %v", got.Header)
	}
	if got.Header.Get("X-Envoke-Namespace") != "" {
		t.Errorf("a caller named the namespace %s", got.Header.Get("X-Envoke-Namespace"))
	}
	met := map[string]bool{}
	for range 40 {
		got := decode(t, s.at("a", "GET", "/mix", spoof...))
		met[got.Upstream+got.Header.Get("X-Envoke-Function")+got.Header.Get("X-Envoke-Namespace")] = true
	}
	if len(met) != 2 || !met["shop"] { // one host: the ring is asked with the function's name
		t.Errorf("a mix met %v, want the service and one host", met)
	}
}

// TestDeclaredFilters sees what requests, redirects and answers become.
func TestDeclaredFilters(t *testing.T) {
	rewritten := func(kind routing.PathRewriteType, to string) routing.Filter {
		path := &routing.PathRewrite{Type: kind, ReplaceFullPath: to, ReplacePrefixMatch: to}
		return routing.Filter{Type: routing.URLRewrite, URLRewrite: &routing.Rewrite{Path: path}}
	}
	redirected := func(r routing.Redirect) routing.Filter {
		return routing.Filter{Type: routing.RequestRedirect, RequestRedirect: &r}
	}
	prefix := func(to string) *routing.PathRewrite {
		return &routing.PathRewrite{Type: routing.ReplacePrefixMatch, ReplacePrefixMatch: to}
	}
	for _, tt := range []struct {
		name   string
		match  string
		filter routing.Filter
		path   string
		want   string // the path that the service gets, or the location and status
	}{
		{"prefix", "/old", rewritten(routing.ReplacePrefixMatch, "/new"), "/old/a?b=/old", "/new/a?b=/old"},
		{"prefix alone", "/old", rewritten(routing.ReplacePrefixMatch, "/new/"), "/old", "/new"},
		{"prefix by a slash", "/old", rewritten(routing.ReplacePrefixMatch, "/"), "/old/a", "/a"},
		{"prefix by nothing", "/old", rewritten(routing.ReplacePrefixMatch, ""), "/old", "/"},
		{"prefix by nothing, with a slash", "/old", rewritten(routing.ReplacePrefixMatch, ""), "/old/?a", "/?a"},
		{"the slash", "/", rewritten(routing.ReplacePrefixMatch, "/new"), "/a", "/new/a"},
		{"full", "/old", rewritten(routing.ReplaceFullPath, "/new"), "/old/a?b", "/new?b"},
		{"redirect", "/old", redirected(routing.Redirect{}), "/old?a", "http://a.example:1234/old?a 302"},
		{"redirect to https", "/old", redirected(routing.Redirect{Scheme: "https", Port: 443, StatusCode: 301}), "/old?a", "https://a.example:443/old?a 301"},
		{"redirect to a host", "/old", redirected(routing.Redirect{Hostname: "b.example", StatusCode: 307}), "/old", "http://b.example/old 307"},
		{"redirect to a path", "/old", redirected(routing.Redirect{Path: prefix("/new"), StatusCode: 308}), "/old/x?a", "http://a.example:1234/new/x?a 308"},
		{"redirect from a slash", "/old", redirected(routing.Redirect{Path: prefix("/"), StatusCode: 303}), "/old/x", "http://a.example:1234/x 303"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := shared(t)
			s.state.Routing.Routes = []routing.Route{{Name: "shop", Hostnames: []string{"a.example"}, Rules: []routing.Rule{{
				Matches: onPath(routing.PathPrefix, tt.match), BackendRefs: to("shop"), Filters: []routing.Filter{tt.filter},
			}}}}
			s.publish(s.state)
			reply := s.at("a.example:1234", "GET", tt.path)
			got := fmt.Sprint(reply.Header.Get("Location"), " ", reply.Status)
			if reply.Status == http.StatusOK {
				got = decode(t, reply).Path
			}
			if got != tt.want {
				t.Errorf("%s became %s, want %s", tt.path, got, tt.want)
			}
		})
	}
}

// shared is a stack with a service named shop, for the subtests of one test.
func shared(t *testing.T) *stack {
	t.Helper()
	s := newStack(t, nil)
	s.declare("shop", "second")
	return s
}

// TestChangedHeaders sees filters' headers come one after the other.
func TestChangedHeaders(t *testing.T) {
	s := shared(t)
	change := func(kind routing.FilterType, h routing.Headers) routing.Filter {
		return routing.Filter{Type: kind, RequestHeaderModifier: &h, ResponseHeaderModifier: &h}
	}
	s.state.Routing.Routes = []routing.Route{{Name: "shop", Rules: []routing.Rule{{
		BackendRefs: to("shop"),
		Filters: []routing.Filter{
			change(routing.RequestHeaderModifier, routing.Headers{
				Set: []routing.Header{{Name: "X-A", Value: "100% %REQ(cookie)%"}}, Add: []routing.Header{{Name: "x-b", Value: "2"}}, Remove: []string{"x-c"},
			}),
			change(routing.RequestHeaderModifier, routing.Headers{Add: []routing.Header{{Name: "X-C", Value: "new"}}}),
			change(routing.ResponseHeaderModifier, routing.Headers{Set: []routing.Header{{Name: "X-Answer", Value: "yes"}}, Remove: []string{"Date"}}),
			{Type: routing.RequestMirror, RequestMirror: &routing.Mirror{BackendRef: routing.BackendRef{Name: "second"}}},
		},
	}}}}
	s.publish(s.state)
	reply := s.at("a", "GET", "/", "x-a", "old", "x-b", "1", "x-c", "old")
	got := decode(t, reply).Header
	if got.Get("x-a") != "100% %REQ(cookie)%" || strings.Join(got.Values("x-b"), ",") != "1,2" || strings.Join(got.Values("x-c"), ",") != "new" {
		t.Errorf("the service got %v", got)
	}
	if reply.Header.Get("X-Answer") != "yes" {
		t.Errorf("the caller got %v", reply.Header)
	}
}

// TestRetries sees a request sent again where an answer is bad.
func TestRetries(t *testing.T) {
	s := newStack(t, nil)
	var tries int
	path := filepath.Join(s.dir, "bad.sock")
	serveHTTP(t, path, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if tries++; tries < 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	s.state.Routing = routing.Routing{
		Upstreams: []routing.Upstream{{Name: "bad", Endpoints: []routing.UpstreamEndpoint{{Path: path}}}},
		Routes: []routing.Route{{Name: "bad", Rules: []routing.Rule{{
			BackendRefs: to("bad"), Retry: &routing.Retry{Codes: []int{502}, Attempts: 2, Backoff: routing.Duration(time.Millisecond)},
		}}}},
	}
	s.publish(s.state)
	if reply := s.at("a", "GET", "/"); reply.Status != 200 || tries != 3 {
		t.Errorf("status %d after %d tries", reply.Status, tries)
	}
}

// TestEmptyUpstream: nobody is there, which is said at once.
func TestEmptyUpstream(t *testing.T) {
	s := newStack(t, nil)
	s.state.Routing = routing.Routing{
		Upstreams: []routing.Upstream{{Name: "nobody"}},
		Routes:    []routing.Route{{Name: "nobody", Rules: []routing.Rule{{BackendRefs: to("nobody")}}}, {Name: "ruby", Hostnames: []string{"ruby"}, Rules: []routing.Rule{{BackendRefs: toFunction("ruby-a")}}}},
	}
	s.publish(s.state)
	for _, host := range []string{"a", "ruby"} {
		if reply := s.at(host, "GET", "/"); reply.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d: %s", host, reply.Status, reply.Body)
		}
	}
}

// TestAPIHostnames: the API is where it is to be, and nowhere else.
func TestAPIHostnames(t *testing.T) {
	s := shared(t)
	s.state.Routing.API.Hostnames = []string{"api.example"}
	s.state.Routing.Routes = []routing.Route{{Name: "shop", Rules: []routing.Rule{{Matches: onPath(routing.PathPrefix, "/health"), BackendRefs: to("shop")}}}}
	s.publish(s.state)
	for host, want := range map[string]string{"api.example": "api", "other": "shop"} {
		if got := decode(t, s.at(host, "GET", "/health")).Upstream; got != want {
			t.Errorf("%s: the health of %s, want %s", host, got, want)
		}
	}
	if reply := s.at("other", "POST", initializePath); reply.Status != 404 {
		t.Errorf("another host: status %d", reply.Status)
	}
	testrig.Eventually(t, "nothing is left to wait for", func() bool { return len(s.controller.Status().Waiting) == 0 })
}
