package extproc

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"envoke/internal/faas"
)

// invokeHTTP finds the language of a function that is called by its path, where the
// path does not tell Envoy, and how its results are cached. Only a GET without a body
// is answered from the cache; that its caller is nobody in particular is what its
// route is for.
func (s *Server) invokeHTTP(ctx context.Context, r *request) (pass, error) {
	if s.elsewhere != nil {
		return s.invokeOr(ctx, r)
	}
	escaped, _, _ := strings.Cut(r.path[len(functionPath):], "/")
	ref, err := s.refInPath(r, escaped)
	if err != nil {
		return pass{}, err
	}
	return s.callHTTP(ctx, r, ref)
}

// callHTTP is callFunction of a call by plain HTTP.
func (s *Server) callHTTP(ctx context.Context, r *request, ref faas.Ref) (pass, error) {
	cacheable := r.method == http.MethodGet && r.contentLength <= 0 && r.caller == [6]string{}
	return s.callFunction(ctx, r, ref, cacheable)
}

// invoke finds how results of a function that is called once are cached (E10).
func (s *Server) invoke(ctx context.Context, r *request) (pass, error) {
	ref, err := s.refInPath(r, strings.Replace(r.path[len(runtimePath):], "/", "-", 1))
	if err != nil {
		return pass{}, err
	}
	p, err := s.callFunction(ctx, r, ref, true)
	if r.caching != nil {
		r.caching.envelope = true
	}
	return p, err
}

func (s *Server) refInPath(r *request, escaped string) (faas.Ref, error) {
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return faas.Ref{}, &faas.Error{Code: faas.InvalidRequest, Message: "the function's name in the path is not well escaped"}
	}
	ref, err := s.choose(faas.InPath, name)
	return ref.In(r.namespace()), err
}

// callFunction names the cluster and the function. What may be cached names the very
// version, since the host may hear of a new one before or after us.
func (s *Server) callFunction(ctx context.Context, r *request, ref faas.Ref, cacheable bool) (pass, error) {
	if err := r.checkCacheControl(); err != nil {
		return pass{}, err
	}
	language := ref.Name.Language
	if !s.served[language] {
		return pass{}, noRuntime(language)
	}
	if err := s.may(r, faas.Invoke, language); err != nil {
		return pass{}, err
	}
	function := header{functionHeader, ""}
	if cacheable && s.pin(ctx, r, ref) {
		function.value = r.caching.subject
	} else {
		function.value = ref.String()
	}
	if s.mapped || s.elsewhere != nil && strings.HasPrefix(r.path, functionPath) {
		return pass{headers: []header{function, {clusterHeader, clusterOf(language)}}, reroute: true}, nil
	}
	return pass{
		headers:  []header{function},                  // its path has told Envoy the cluster
		uncached: r.caching == nil && r.callKey != "", // the filter need not send the next one here
	}, nil
}

// pin sets how results of the function are cached. Where they are, their subject is the
// version that runs; an alias that splits has no one version, and one with an environment is
// more than its version: neither has anything cached.
func (s *Server) pin(ctx context.Context, r *request, ref faas.Ref) (cached bool) {
	function, err := s.registry.FindFunction(ctx, ref)
	if err != nil || len(function.Weights) > 0 || len(function.AliasEnvironment) > 0 { // the host says what is wrong
		return false
	}
	if r.caching = s.caching(r, function.CacheTTL); r.caching == nil {
		return false
	}
	r.caching.subject = faas.Ref{Name: ref.Name, Version: function.Version}.String()
	r.caching.code = function.Script.Digest
	return true
}
