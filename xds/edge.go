package xds

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	brotliv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/brotli/compressor/v3"
	gzipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/gzip/compressor/v3"
	compressorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	corsFilter = "envoy.filters.http.cors"

	// anyOrigin stands for every one.
	anyOrigin = "*"
	// preflightAge is for how long a browser may believe a preflight's answer. Some believe
	// none for longer.
	preflightAge = 2 * time.Hour

	// compressFrom is how long an answer is that is worth compressing.
	compressFrom = 1 << 10
)

// What browsers may send, and what their scripts may read of an answer.
const (
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	corsHeaders = "content-type, authorization, x-api-key, language-title, x-cache-control, x-request-id"
	corsExposed = "x-request-id, server-timing, age, retry-after"
)

// compressed are the types of what is text and no stream: an event stream is in none of them.
var compressed = []string{
	"application/json", "application/problem+json", "application/javascript", "application/xml", "image/svg+xml",
	"text/css", "text/csv", "text/html", "text/javascript", "text/markdown", "text/plain", "text/xml",
}

// CheckOrigin tells whether a browser could send it: scheme, host, and a port where it is not
// the scheme's own.
func CheckOrigin(origin string) error {
	if origin == anyOrigin {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin || strings.ToLower(origin) != origin {
		return fmt.Errorf("%q is no origin: it must be as browsers send it, such as https://app.example.com (lower case, no path, no slash at its end), or *", origin)
	}
	if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		return fmt.Errorf("%q names its scheme's own port, which browsers leave out", origin)
	}
	return nil
}

func (l Listener) checkOrigins() error {
	var faults []error
	for n, origin := range l.Origins {
		faults = append(faults, CheckOrigin(origin))
		if slices.Contains(l.Origins[:n], origin) {
			faults = append(faults, fmt.Errorf("origin %q is there twice", origin))
		}
	}
	if len(l.Origins) > 1 && slices.Contains(l.Origins, anyOrigin) {
		faults = append(faults, errors.New("the origin * stands alone"))
	}
	return errors.Join(faults...)
}

// edgeFilters come before all others, so that what these answer, and what caches keep, is
// without what one browser is told, and not compressed. They are there only where they are
// asked for.
func edgeFilters(l Listener) []*hcmv3.HttpFilter {
	var filters []*hcmv3.HttpFilter
	if len(l.Origins) > 0 {
		filters = append(filters, filterOf(corsFilter, &corsv3.Cors{}))
	}
	if l.Compress {
		filters = append(filters,
			compressor("br", &brotliv3.Brotli{}, true),
			compressor("gzip", &gzipv3.Gzip{}, false))
	}
	return filters
}

func filterOf(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(config)}}
}

// compressor leaves alone what has an encoding already, and what says no-transform. Of a
// client that takes several encodings alike, it is the first one's.
func compressor(encoding string, library proto.Message, first bool) *hcmv3.HttpFilter {
	return filterOf("envoke."+encoding, &compressorv3.Compressor{
		CompressorLibrary: extension(encoding, library),
		ChooseFirst:       first,
		ResponseDirectionConfig: &compressorv3.Compressor_ResponseDirectionConfig{
			CommonConfig: &compressorv3.Compressor_CommonDirectionConfig{
				MinContentLength: wrapperspb.UInt32(compressFrom),
				ContentType:      compressed,
			},
		},
	})
}

// corsPolicy is that of all routes; nil: there is none.
func corsPolicy(l Listener) map[string]*anypb.Any {
	if len(l.Origins) == 0 {
		return nil
	}
	policy := &corsv3.CorsPolicy{
		AllowMethods: corsMethods, AllowHeaders: corsHeaders, ExposeHeaders: corsExposed,
		MaxAge: strconv.Itoa(int(preflightAge.Seconds())),
		// With any origin, every page could act as who looks at it.
		AllowCredentials: wrapperspb.Bool(!slices.Contains(l.Origins, anyOrigin)),
	}
	for _, origin := range slices.Sorted(slices.Values(l.Origins)) {
		policy.AllowOriginStringMatch = append(policy.AllowOriginStringMatch, &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: origin},
		})
	}
	return map[string]*anypb.Any{corsFilter: pack(policy)}
}

// preflights is the route of those that the cors filter answers: it looks at no route that
// refuses by itself, as one of another method would. Nothing follows it. What a page of
// another origin asks goes on: functions may answer that themselves.
func preflights(l Listener) []*routev3.Route {
	if len(l.Origins) == 0 {
		return nil
	}
	m := match(prefix("/"), method(http.MethodOptions), listedOrigin(l), present("access-control-request-method"))
	return []*routev3.Route{toAPI("preflight", m, apiTimeout)}
}

// listedOrigin matches pages of the listener's origins, of which there are some.
func listedOrigin(l Listener) *routev3.HeaderMatcher {
	var known []string
	for _, origin := range slices.Sorted(slices.Values(l.Origins)) {
		known = append(known, regexp.QuoteMeta(origin))
	}
	if known[0] == regexp.QuoteMeta(anyOrigin) {
		known = []string{".*"}
	}
	return header("origin", &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
		SafeRegex: &matcherv3.RegexMatcher{Regex: strings.Join(known, "|")},
	}})
}

// readable has pages of listed origins read what routes refuse by themselves, and that there
// is no route: the cors filter says nothing of such answers.
func readable(l Listener, routes []*routev3.Route) []*routev3.Route {
	if len(l.Origins) == 0 {
		return routes
	}
	headers := []*corev3.HeaderValueOption{
		headerOf("access-control-allow-origin", "%REQ(ORIGIN)%"), headerOf("access-control-expose-headers", corsExposed),
	}
	if !slices.Contains(l.Origins, anyOrigin) {
		headers = append(headers, headerOf("access-control-allow-credentials", "true"))
	}
	var all []*routev3.Route
	for _, r := range append(routes, refuse(noRoute, prefix("/"), http.StatusNotFound)) {
		if r.GetDirectResponse() != nil {
			listed, _ := proto.Clone(r).(*routev3.Route)
			listed.Match.Headers = append(listed.Match.Headers, listedOrigin(l))
			listed.ResponseHeadersToAdd = append(listed.ResponseHeadersToAdd, headers...)
			all = append(all, listed)
		}
		all = append(all, r)
	}
	return all
}

// plainHeaders are on every answer, unless a function has set them itself.
func plainHeaders() []*corev3.HeaderValueOption {
	return []*corev3.HeaderValueOption{ifAbsent("x-content-type-options", "nosniff")}
}

// answerHeaders are those of what Envoy answers by itself.
func answerHeaders(l Listener) []*corev3.HeaderValueOption {
	return append(plainHeaders(), hostHeaders(l)...)
}

// hostHeaders are those of the public listener, whatever answers.
func hostHeaders(l Listener) []*corev3.HeaderValueOption {
	if !l.TLS.On() || l.HSTS == 0 {
		return nil
	}
	return []*corev3.HeaderValueOption{ifAbsent("strict-transport-security", "max-age="+strconv.FormatInt(int64(l.HSTS.Seconds()), 10))}
}

// routeHeaders are those of what a host or control answers, or a route refuses. Envoy tells
// each origin its own name, which caches on the way must know; a function may have said that
// its answer varies by something else too.
func routeHeaders(l Listener) []*corev3.HeaderValueOption {
	headers := plainHeaders()
	if len(l.Origins) > 0 {
		headers = append(headers, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: "vary", Value: "origin"},
			AppendAction: corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD,
		})
	}
	return headers
}

func ifAbsent(key, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: key, Value: value},
		AppendAction: corev3.HeaderValueOption_ADD_IF_ABSENT,
	}
}
