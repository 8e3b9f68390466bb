// Package authz is the ext_authz service that Envoy asks about requests that show an API
// key or a client's certificate: it says who calls, with which scopes. Tokens Envoy checks
// by itself, and what scopes a route needs it checks too; see package xds.
package authz

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	statusv3 "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"envoke/internal/faas"
)

// timeout bounds the check of one caller. Envoy's own is 3 s; ours comes first, since ours
// can say what was slow.
const timeout = 800 * time.Millisecond

// The headers that are looked at, or taken out: those of callers, and the last two, which
// Envoy sets.
const (
	keyHeader           = "x-api-key"
	authorizationHeader = "authorization"
	keyAsToken          = "Bearer ek_"
	requestIDHeader     = "x-request-id"
	certificateHeader   = "x-forwarded-client-cert"
)

// Options make a Server. All fields are required but Certificates and CertificateNamespace.
type Options struct {
	// Verify finds who has the API key. The address is the caller's. Its errors are for the
	// caller to read.
	Verify func(ctx context.Context, key, address string) (faas.Caller, error)
	// Certificates are the scopes of who shows a certificate that Envoy has verified.
	Certificates faas.Scopes
	// CertificateNamespace is that of who shows one.
	CertificateNamespace faas.Namespace
	Failed               func(faas.Failure) // hears of each request that is refused
	Logger               *slog.Logger
}

// Server implements Envoy's Authorization service.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	Options
}

// New makes a Server.
func New(o Options) *Server { return &Server{Options: o} }

// Check says who has sent a request. What it cannot say is refused.
func (s *Server) Check(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	sent := r.GetAttributes().GetRequest().GetHttp().GetHeaders()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	caller, err := s.find(ctx, sent, r.GetAttributes().GetSource())
	if err != nil {
		return s.refuse(ctx, sent[requestIDHeader], err), nil
	}
	if sent[faas.UserHeader] != "" { // a token has said who calls
		return admitted(), nil
	}
	ok := admitted(option(faas.UserHeader, caller.UserID), option(faas.ScopesHeader, caller.Scopes.String()), option(faas.ProofHeader, caller.Proof))
	place(ok.GetOkResponse(), caller.Namespace)
	return ok, nil
}

// place says of which namespace the caller is, whatever a token that names nobody has said.
func place(ok *authv3.OkHttpResponse, n faas.Namespace) {
	ok.HeadersToRemove = append(ok.HeadersToRemove, faas.IssuerHeader)
	if n == "" {
		ok.HeadersToRemove = append(ok.HeadersToRemove, faas.NamespaceHeader)
		return
	}
	ok.Headers = append(ok.Headers, option(faas.NamespaceHeader, string(n)))
}

// find contains a panic in the request that caused it.
func (s *Server) find(ctx context.Context, sent map[string]string, source *authv3.AttributeContext_Peer) (_ faas.Caller, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	key, isKey := keyOf(sent)
	switch {
	case isKey && sent[faas.UserHeader] != "":
		return faas.Caller{}, &faas.Error{Code: faas.InvalidRequest, Message: "the request shows both a token and an API key: send one of them"}
	case isKey:
		return s.Verify(ctx, key, source.GetAddress().GetSocketAddress().GetAddress())
	case sent[faas.UserHeader] != "": // of a token, which says more than the certificate
		return faas.Caller{UserID: sent[faas.UserHeader]}, nil
	}
	user := subjectOf(source.GetCertificate())
	if user == "" {
		return faas.Caller{}, &faas.Error{Code: faas.Unauthorized, Message: "the client's certificate names nobody: it needs one URI, or without any one DNS name, or without any one common name, of printable ASCII"}
	}
	return faas.Caller{Namespace: s.CertificateNamespace, UserID: user, Scopes: s.Certificates, Proof: faas.ByCertificate}, nil
}

// keyOf is the API key that the request shows, in either header.
func keyOf(sent map[string]string) (key string, ok bool) {
	if key = sent[keyHeader]; key != "" {
		return key, true
	}
	token := sent[authorizationHeader]
	if !strings.HasPrefix(token, keyAsToken) {
		return "", false
	}
	return strings.TrimPrefix(token, "Bearer "), true
}

// admitted lets the request go on, with these headers. What it has shown goes no further: a
// function is somebody else's code, and could use it.
func admitted(headers ...*corev3.HeaderValueOption) *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status: &statusv3.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: headers, HeadersToRemove: []string{keyHeader, certificateHeader, authorizationHeader},
		}},
	}
}

func (s *Server) refuse(ctx context.Context, requestID string, err error) *authv3.CheckResponse {
	failure := faas.AsError(err)
	if failure.Code == faas.InternalError {
		s.Logger.ErrorContext(ctx, "check who calls", "request_id", requestID, "error", err)
	}
	s.Failed(faas.NewFailure(requestID, faas.InExtProc, failure))
	headers := []*corev3.HeaderValueOption{option("content-type", "application/json")}
	switch failure.Code {
	case faas.Unauthorized:
		headers = append(headers, option("www-authenticate", `Bearer realm="envoke"`))
	case faas.RateLimited:
		headers = append(headers, option("retry-after", retryAfter(failure)))
	}
	return &authv3.CheckResponse{
		Status: &statusv3.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode(failure.HTTPStatus())},
			Headers: headers,
			Body:    string(failure.Body(faas.InExtProc, requestID)),
		}},
	}
}

// retryAfter is when who guesses keys may try again, in seconds.
func retryAfter(e *faas.Error) string {
	if seconds, ok := e.Details["retry_after_seconds"]; ok {
		return fmt.Sprint(seconds)
	}
	return "60"
}

func option(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
