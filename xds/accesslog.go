package xds

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	grpcv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"

	"envoke/internal/faas"
)

// accessLogFormat is one request's line. Text that a client chose is cut, so that
// a line has a bounded length.
var accessLogFormat = map[string]any{
	"start":      "%START_TIME(%s.%6f)%", // Unix seconds
	"request_id": `%COALESCE({"operators":[{"command":"REQ","param":"X-REQUEST-ID","max_length":256},{"command":"RESP","param":"X-REQUEST-ID"}]})%`,
	"route":      "%ROUTE_NAME%",
	// By gRPC the host names it, in trailers, or in headers that are trailers too. No
	// function can: hosts drop headers of ours from what functions say.
	"session":        `%COALESCE({"operators":[{"command":"REQ","param":"X-ENVOKE-SESSION"},{"command":"TRAILER","param":"X-ENVOKE-EXECUTED"},{"command":"RESP","param":"X-ENVOKE-EXECUTED"}]})%`,
	"language_title": "%REQ(LANGUAGE-TITLE):256%",
	"function":       "%REQ(X-ENVOKE-FUNCTION):256%", // of a declared route
	"method":         "%REQ(:METHOD):256%",
	"path":           "%PATH(NQ):1024%",
	"status":         "%RESPONSE_CODE%",
	"duration_us":    "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
	"client_ip":      "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
	"user_id":        "%REQ(X-USER-ID):256%",
	"namespace":      "%REQ(X-ENVOKE-NAMESPACE):64%",
	"bytes_in":       "%BYTES_RECEIVED%",
	"bytes_out":      "%BYTES_SENT%",
	"details":        "%RESPONSE_CODE_DETAILS%",
	"flags":          "%RESPONSE_FLAGS%",
}

func accessLog(s State) (logs []*accesslogv3.AccessLog) {
	if s.AccessLog != "" {
		logs = append(logs, fileLog(s.AccessLog))
	}
	if s.AccessLogStream {
		logs = append(logs, streamLog())
	}
	return logs
}

func fileLog(path string) *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name: "envoy.access_loggers.file",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&filev3.FileAccessLog{
			Path:            path,
			AccessLogFormat: &filev3.FileAccessLog_LogFormat{LogFormat: jsonFormat(accessLogFormat)},
		})},
	}
}

// streamLog sends control what the lines of the file hold. An entry has the headers that are
// named here and no others.
func streamLog() *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name: "envoy.access_loggers.http_grpc",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&grpcv3.HttpGrpcAccessLogConfig{
			CommonConfig: &grpcv3.CommonGrpcAccessLogConfig{
				LogName:             "envoke",
				TransportApiVersion: corev3.ApiVersion_V3,
				GrpcService:         controlService(), // not tried again: a row would come twice
				BufferFlushInterval: duration(100 * time.Millisecond),
			},
			AdditionalRequestHeadersToLog:   []string{"x-envoke-session", "language-title", "x-user-id", faas.NamespaceHeader, FunctionHeader},
			AdditionalResponseHeadersToLog:  []string{"x-request-id", "x-envoke-executed"},
			AdditionalResponseTrailersToLog: []string{"x-envoke-executed"},
		})},
	}
}
