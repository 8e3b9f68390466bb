package extproc

import (
	"context"
	"net/url"
	"strings"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"envoke/internal/faas"
)

// invokeHTTP finds the language of a function that is called by its path. Only where
// names are mapped to languages does Envoy ask.
func (s *Server) invokeHTTP(_ context.Context, r *request) (*extprocv3.ProcessingResponse, error) {
	escaped, _, _ := strings.Cut(r.path[len(functionPath):], "/")
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, &faas.Error{Code: faas.InvalidRequest, Message: "the function's name in the path is not well escaped"}
	}
	ref, err := s.choose(faas.InPath, name)
	if err != nil {
		return nil, err
	}
	language := ref.Name.Language
	if !s.served[language] {
		return nil, noRuntime(language)
	}
	return setHeaders(
		header{functionHeader, ref.String()},
		header{clusterHeader, clusterOf(language)},
	), nil
}
