package extproc

import (
	"context"
	"net/http"
	"strings"

	"envoke/internal/faas"
)

// handler decides about a request. An error becomes the reply.
type handler func(s *Server, ctx context.Context, r *request) (pass, error)

const (
	initializePath = "/api/v1/initialize"
	executePath    = "/api/v1/execute"
	runtimePath    = "/runtime/"
	functionPath   = "/function/"
)

// api is every operation whose route in Envoy passes ext_proc. A path that ends in
// a slash stands for all below it, an empty method for all.
var api = []struct {
	method    string
	path      string
	operation faas.Operation
	handle    handler
}{
	{http.MethodPost, executePath + "/", faas.Execute, (*Server).execute},
	{http.MethodPost, executePath, faas.OneShot, (*Server).oneShot},
	{http.MethodPost, initializePath, faas.Initialize, (*Server).initialize},
	{"", functionPath, faas.InvokeHTTP, (*Server).invokeHTTP},
	{http.MethodPost, asyncPath, faas.InvokeHTTP, (*Server).invokeAsync},
	{http.MethodPost, runtimePath, faas.Invoke, (*Server).invoke},
}

// find fails closed: what the table does not name is refused, even if a route
// sent it here.
func find(r *request) (faas.Operation, handler) {
	for _, entry := range api {
		if (entry.method == "" || r.method == entry.method) && matches(r.path, entry.path) {
			return entry.operation, entry.handle
		}
	}
	return faas.OtherOperation, (*Server).unknown
}

func matches(path, pattern string) bool {
	return path == pattern || strings.HasSuffix(pattern, "/") && strings.HasPrefix(path, pattern)
}

// may checks that the caller may do the operation with a function of the language, which
// Envoy knows of most requests, and has checked of those.
func (s *Server) may(r *request, operation faas.Operation, language faas.Language) error {
	if !s.auth {
		return nil
	}
	scopes := s.nobody
	if r.user() != "" {
		scopes = faas.ScopesOf(r.scopes)
	}
	if needs := operation.Needs(language); !scopes.Allow(needs...) {
		return &faas.Error{Code: faas.Forbidden, Message: "the caller has none of the scopes that allow this: " + faas.Scopes(needs).String()}
	}
	return nil
}

func (s *Server) unknown(context.Context, *request) (pass, error) {
	return pass{}, &faas.Error{Code: faas.NotFound, Message: "no such endpoint"}
}
