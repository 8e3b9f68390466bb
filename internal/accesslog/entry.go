package accesslog

import (
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"

	"envoke/internal/faas"
)

// What an Envoy has to send beside what it sends anyway: see xds, whose configuration names
// these headers.
const (
	sessionHeader  = "x-envoke-session"
	executedHeader = "x-envoke-executed"
	titleHeader    = "language-title"
	functionHeader = "x-envoke-function"
	userHeader     = faas.UserHeader
	idHeader       = "x-request-id"
)

// Bounds of texts that callers choose, in bytes, as in lines of the file.
const (
	maxText = 256
	maxPath = 1024
)

// rowOf is the row of an entry, as parseLine is that of a line; false: it is none.
func rowOf(entry *datav3.HTTPAccessLogEntry) (faas.RequestLog, bool) {
	common, request, response := entry.GetCommonProperties(), entry.GetRequest(), entry.GetResponse()
	if common.GetStartTime() == nil || common.GetStartTime().CheckValid() != nil {
		return faas.RequestLog{}, false
	}
	headers := request.GetRequestHeaders()
	function := cutTo(headers[functionHeader], maxText)
	route, details := operation(common.GetRouteName(), function), response.GetResponseCodeDetails()
	path, _, _ := strings.Cut(request.GetPath(), "?")
	path = cutTo(path, maxPath)
	return faas.RequestLog{
		RequestID:     cutTo(first(request.GetRequestId(), response.GetResponseHeaders()[idHeader]), maxText),
		Operation:     route,
		SessionID:     session(path, first(headers[sessionHeader], response.GetResponseTrailers()[executedHeader], response.GetResponseHeaders()[executedHeader])),
		LanguageTitle: titleOf(common.GetRouteName(), function, path, cutTo(headers[titleHeader], maxText)),
		Method:        methodOf(request.GetRequestMethod()),
		Path:          faas.MaskKeySecrets(path),
		StatusCode:    int(min(response.GetResponseCode().GetValue(), 999)),
		Duration:      durationOf(common),
		StartedAt:     common.GetStartTime().AsTime().Truncate(time.Microsecond),
		ClientIP:      cutTo(common.GetDownstreamRemoteAddress().GetSocketAddress().GetAddress(), maxText),
		UserID:        cutTo(headers[userHeader], maxText),
		Namespace:     namespace(headers[faas.NamespaceHeader]),
		BytesIn:       int64(min(request.GetRequestBodyBytes(), 1<<62)),
		BytesOut:      int64(min(response.GetResponseBodyBytes(), 1<<62)),
		Cached:        cached(details),
		ErrorDetails:  errorDetails(cutTo(details, maxText), flagsOf(common.GetResponseFlags())),
	}, true
}

func cutTo(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "\uFFFD")
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// methodOf is empty where Envoy says none: that was no HTTP, or a method of the caller's own.
func methodOf(m corev3.RequestMethod) string {
	if m == corev3.RequestMethod_METHOD_UNSPECIFIED {
		return ""
	}
	return m.String()
}

// durationOf is from the first byte of the request to the last of its answer.
func durationOf(c *datav3.AccessLogCommon) time.Duration {
	d := c.GetTimeToLastDownstreamTxByte()
	if d == nil {
		d = c.GetDuration()
	}
	return max(0, d.AsDuration().Truncate(time.Microsecond))
}

// flagsOf are the flags as lines of the file have them.
func flagsOf(f *datav3.ResponseFlags) string {
	if f == nil {
		return ""
	}
	var set []string
	for _, flag := range [...]struct {
		set  bool
		name string
	}{
		{f.GetFailedLocalHealthcheck(), "LH"},
		{f.GetNoHealthyUpstream(), "UH"},
		{f.GetUpstreamRequestTimeout(), "UT"},
		{f.GetLocalReset(), "LR"},
		{f.GetUpstreamRemoteReset(), "UR"},
		{f.GetUpstreamConnectionFailure(), "UF"},
		{f.GetUpstreamConnectionTermination(), "UC"},
		{f.GetUpstreamOverflow(), "UO"},
		{f.GetNoRouteFound(), "NR"},
		{f.GetDelayInjected(), "DI"},
		{f.GetFaultInjected(), "FI"},
		{f.GetRateLimited(), "RL"},
		{f.GetUnauthorizedDetails() != nil, "UAEX"},
		{f.GetRateLimitServiceError(), "RLSE"},
		{f.GetDownstreamConnectionTermination(), "DC"},
		{f.GetUpstreamRetryLimitExceeded(), "URX"},
		{f.GetStreamIdleTimeout(), "SI"},
		{f.GetInvalidEnvoyRequestHeaders(), "IH"},
		{f.GetDownstreamProtocolError(), "DPE"},
		{f.GetUpstreamMaxStreamDurationReached(), "UMSDR"},
		{f.GetResponseFromCacheFilter(), "RFCF"},
		{f.GetNoFilterConfigFound(), "NFCF"},
		{f.GetDurationTimeout(), "DT"},
		{f.GetUpstreamProtocolError(), "UPE"},
		{f.GetNoClusterFound(), "NC"},
		{f.GetOverloadManager(), "OM"},
		{f.GetDnsResolutionFailure(), "DF"},
		{f.GetDownstreamRemoteReset(), "DR"},
	} {
		if flag.set {
			set = append(set, flag.name)
		}
	}
	return strings.Join(set, ",")
}
