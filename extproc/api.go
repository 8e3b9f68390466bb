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

func (s *Server) unknown(context.Context, *request) (pass, error) {
	return pass{}, &faas.Error{Code: faas.NotFound, Message: "no such endpoint"}
}
