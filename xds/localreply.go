package xds

import (
	"net/http"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"envoke/internal/faas"
)

// localReply is what a caller is told of a failure that Envoy answers itself. The
// message is constant: Envoy's own details hold addresses and other people's text,
// and are for the access log.
type localReply struct {
	when      string // CEL over Envoy's attributes
	status    uint32 // 0: as it is
	code      faas.Code
	component faas.Component
	message   string
}

// CEL over route names: whose answer was it that did not come?
const (
	toRuntime = "(xds.route_name in ['initialize', 'oneshot'] || xds.route_name.startsWith('execute') || xds.route_name.startsWith('invoke') || xds.route_name.startsWith('grpc-'))"
	toControl = "xds.route_name in ['session', 'function', 'functionwrite', 'key', 'secret', 'audit', 'health', 'document']"
	// The second is an answer of ext_proc's that its mutation rules forbid.
	fromExtProc = "response.code_details.startsWith('ext_proc') || response.code_details.startsWith('header_mutation')"

	usedUp    = "response.code_details.startsWith('local_rate_limit') || response.code_details == 'request_rate_limited'"
	forbidden = "response.code_details.startsWith('rbac_access_denied')"

	// What is left when nobody is away: the overload manager.
	overloaded = "response.code == 503"

	// By a token whose issuer has a namespace_claim, with no namespace there (see Auth.placed).
	displaced = "'x-user-id' in request.headers && '" + faas.IssuerHeader + "' in request.headers" +
		" && !('" + faas.NamespaceHeader + "' in request.headers && request.headers['" + faas.NamespaceHeader + "'] != '" + faas.DefaultNamespace + "'" +
		" && size(request.headers['" + faas.NamespaceHeader + "']) <= 63 && request.headers['" + faas.NamespaceHeader + "'].matches('^" + faas.NamespacePattern + "$'))"

	awayCode = " && response.code in [502, 503]"
	slowCode = " && response.code == 504"
)

// localReplyTable is tried in order; the first match wins.
var localReplyTable = []localReply{
	{
		fromExtProc, http.StatusServiceUnavailable, faas.Unavailable, faas.InExtProc,
		"control did not answer; nothing was run",
	},
	{
		"response.code_details.contains('Jwt_is_expired')", http.StatusUnauthorized, faas.Unauthorized, faas.InEnvoy,
		"the token has expired: get a new one",
	},
	{
		"response.code_details.contains('Audiences_in_Jwt')", http.StatusUnauthorized, faas.Unauthorized, faas.InEnvoy,
		"the token is for somebody else: its audience (aud) is none that is taken here",
	},
	{
		"response.code_details.startsWith('jwt_authn')", http.StatusUnauthorized, faas.Unauthorized, faas.InEnvoy,
		"the token is not valid: it must be a JWT that is signed by an issuer who is known here",
	},
	{
		"response.code_details == 'ext_authz_error'", http.StatusServiceUnavailable, faas.Unavailable, faas.InControl,
		"who calls could not be checked, since control did not answer; nothing was run",
	},
	{
		usedUp, 0, faas.RateLimited, faas.InEnvoy,
		"the caller's requests of this minute are used up; nothing was run, and Retry-After says when the next may come",
	},
	{
		forbidden + " && 'x-user-id' in request.headers && !request.headers['x-user-id'].matches('^" + faas.UserPattern + "$')", 0, faas.Forbidden, faas.InEnvoy,
		"the caller's user id is not usable here: it must be printable ASCII, with no space at either end",
	},
	{
		forbidden + " && " + displaced, 0, faas.Forbidden, faas.InEnvoy,
		"the token does not say of which namespace its caller is, as those of its issuer must",
	},
	{
		forbidden + " && 'x-user-id' in request.headers", 0, faas.Forbidden, faas.InEnvoy,
		"the caller has no scope that allows this",
	},
	{
		forbidden, http.StatusUnauthorized, faas.Unauthorized, faas.InEnvoy,
		"say who calls: by an API key in X-API-Key, or by a token in Authorization: Bearer",
	},
	{
		"response.code_details == 'cluster_not_found'", http.StatusServiceUnavailable, faas.Unavailable, faas.InRuntime,
		"no runtime host serves this language here; nothing was run",
	},
	{
		"response.code_details == 'no_healthy_upstream'", http.StatusServiceUnavailable, faas.Unavailable, faas.InRuntime,
		"no runtime host is there; nothing was run",
	},
	{
		"response.code_details == 'wasm_fail_stream'", http.StatusServiceUnavailable, faas.Unavailable, faas.InEnvoy,
		"the filter failed; what was called may have been run",
	},
	{
		toRuntime + " && response.code_details.contains('overflow')", http.StatusTooManyRequests, faas.RateLimited, faas.InEnvoy,
		"too many requests are under way; nothing was run, try again",
	},
	{toRuntime + slowCode, 0, faas.Timeout, faas.InRuntime, "the runtime host did not answer in time"},
	{
		toRuntime + awayCode, http.StatusServiceUnavailable, faas.Unavailable, faas.InRuntime,
		"the runtime host could not be reached or went away",
	},
	{toControl + slowCode, 0, faas.Timeout, faas.InControl, "control did not answer in time"},
	{
		toControl + awayCode, http.StatusServiceUnavailable, faas.Unavailable, faas.InControl,
		"control could not be reached or went away",
	},
	{
		"xds.route_name == '" + grpcElsewhere + "'", 0, faas.NotFound, faas.InEnvoy,
		"no runtime host of that language answers gRPC here: the metadata language-title must begin with a language that is served",
	},
	{
		"xds.route_name == '" + noLanguage + "'", 0, faas.NotFound, faas.InEnvoy,
		"no runtime of that language is configured here: the path is /function/<language>-<title>, such as /function/nodejs-calculator, or /runtime/<language>/<title>",
	},
	{
		"response.code_details == 'upgrade_failed'", 0, faas.InvalidRequest, faas.InEnvoy,
		"no protocol to upgrade to, such as WebSocket, is served here",
	},
	{"response.code == 426", 0, faas.InvalidRequest, faas.InEnvoy, "HTTP/1.1 or HTTP/2 is needed"},
	{"response.code == 404", 0, faas.NotFound, faas.InEnvoy, "no such path"},
	{"response.code == 405", 0, faas.InvalidRequest, faas.InEnvoy, "this path does not take this method; the Allow header says which it takes"},
	{"response.code == 408", 0, faas.Timeout, faas.InEnvoy, "the request took too long to arrive"},
	{"response.code == 413", 0, faas.PayloadTooLarge, faas.InEnvoy, "the request body is too large"},
	{"response.code == 431", 0, faas.InvalidRequest, faas.InEnvoy, "the request's headers are too large or too many"},
	{"response.code == 501", 0, faas.InvalidRequest, faas.InEnvoy, "this transfer encoding is not supported"},
	{overloaded, 0, faas.Unavailable, faas.InEnvoy, "too busy; try again"},
	{"response.code == 504", 0, faas.Timeout, faas.InEnvoy, "the answer did not come in time"},
	{"response.code >= 400 && response.code < 500", 0, faas.InvalidRequest, faas.InEnvoy, "the request is not valid HTTP"},
	{"true", 0, faas.InternalError, faas.InEnvoy, "internal error; the log has it under the request's id"},
}

// localReplies rewrites every answer that Envoy makes into the API's error JSON. What is
// no error is a cached result, which must not pay for CEL; what is JSON already came
// from ext_proc or the filter. Both stay.
//
// All get the headers, also those that stay: each mapper's are its own. Mappers that are given
// come before those of the table.
func localReplies(headers []*corev3.HeaderValueOption, before ...*hcmv3.ResponseMapper) *hcmv3.LocalReplyConfig {
	mappers := []*hcmv3.ResponseMapper{{Filter: below(http.StatusBadRequest)}, {Filter: cel(
		"'content-type' in response.headers && response.headers['content-type'] == 'application/json'",
	)}}
	mappers = append(mappers, before...)
	for _, reply := range localReplyTable {
		mappers = append(mappers, reply.mapper())
	}
	for _, m := range mappers {
		m.HeadersToAdd = append(m.HeadersToAdd, headers...)
	}
	return &hcmv3.LocalReplyConfig{Mappers: mappers}
}

func (r localReply) mapper() *hcmv3.ResponseMapper {
	m := &hcmv3.ResponseMapper{
		Filter:             cel(r.when),
		BodyFormatOverride: r.body(),
		HeadersToAdd:       []*corev3.HeaderValueOption{requestID()},
	}
	if r.status != 0 {
		m.StatusCode = number(r.status)
	}
	switch r.code {
	case faas.RateLimited:
		if r.when == usedUp { // the filter of rates says when
			break
		}
		m.HeadersToAdd = append(m.HeadersToAdd, headerOf("retry-after", "1"))
	case faas.Unavailable:
		if r.when == overloaded {
			m.HeadersToAdd = append(m.HeadersToAdd, headerOf("retry-after", "1"))
		}
	case faas.Unauthorized:
		m.HeadersToAdd = append(m.HeadersToAdd, headerOf("www-authenticate", `Bearer realm="envoke"`))
	}
	return m
}

func headerOf(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
}

// requestID is the request's id. One that was refused before it had an id still
// gets one.
func requestID() *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header: &corev3.HeaderValue{
			Key:   "x-request-id",
			Value: `%COALESCE({"operators":[{"command":"REQ","param":"X-REQUEST-ID"},"UNIQUE_ID"]})%`,
		},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// body has the shape of faas.Error.Body.
func (r localReply) body() *corev3.SubstitutionFormatString {
	format := jsonFormat(map[string]any{
		"error": map[string]any{
			"code":    string(r.code),
			"message": r.message,
			"details": map[string]any{"component": string(r.component)},
		},
		"request_id": "%RESP(X-REQUEST-ID)%",
	})
	format.ContentType = "application/json"
	return format
}

func jsonFormat(format map[string]any) *corev3.SubstitutionFormatString {
	fields, err := structpb.NewStruct(format)
	if err != nil {
		panic("xds: " + err.Error()) // formats are constants of this package
	}
	return &corev3.SubstitutionFormatString{
		Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: fields},
	}
}

// below matches answers of a lower status.
func below(status uint32) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
		StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
			Op:    accesslogv3.ComparisonFilter_LE,
			Value: &corev3.RuntimeUInt32{DefaultValue: status - 1, RuntimeKey: "envoke.local_reply.status"},
		}},
	}}
}

func cel(expression string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name: "envoy.access_loggers.extension_filters.cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{
				TypedConfig: pack(&celv3.ExpressionFilter{Expression: expression}),
			},
		},
	}}
}
