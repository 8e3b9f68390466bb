package extproc

import (
	"context"
	"net/url"
	"strings"

	"envoke/internal/faas"
)

const asyncPath = "/async-function/"

// openFaaSCluster is Envoy's name of the gateway that has the functions which are not ours.
const openFaaSCluster = "openfaas"

// invokeOr finds whose function a call by plain HTTP means, where OpenFaaS has some too: ours
// if we have one of that name, else its. A name that nobody has is refused here.
func (s *Server) invokeOr(ctx context.Context, r *request) (pass, error) {
	escaped, _, _ := strings.Cut(r.path[len(functionPath):], "/")
	ref, err := s.refInPath(r, escaped)
	ours := err == nil
	if ours && s.found(ctx, ref) {
		return s.callHTTP(ctx, r, ref)
	}
	if denied := s.checkElsewhere(ctx, r, escaped); denied != nil {
		return pass{}, denied
	}
	if !ours && !s.mapped { // its path has told Envoy
		return pass{}, nil
	}
	return pass{headers: []header{{clusterHeader, openFaaSCluster}}, reroute: true}, nil
}

// invokeAsync lets calls go on that OpenFaaS is to make later. One of a function of ours is
// refused: what OpenFaaS may have by that name is another one.
func (s *Server) invokeAsync(ctx context.Context, r *request) (pass, error) {
	if s.elsewhere == nil {
		return s.unknown(ctx, r)
	}
	escaped, _, _ := strings.Cut(r.path[len(asyncPath):], "/")
	if ref, err := s.refInPath(r, escaped); err == nil && s.found(ctx, ref) {
		return pass{}, &faas.Error{Code: faas.InvalidRequest, Message: "this is a function of Envoke, and those are not called asynchronously: call it at /function/"}
	}
	return pass{}, s.checkElsewhere(ctx, r, escaped)
}

// found tells whether we have the function, or cannot tell: then its host says what is wrong.
func (s *Server) found(ctx context.Context, ref faas.Ref) bool {
	_, err := s.registry.FindFunction(ctx, ref)
	return err == nil || faas.AsError(err).Code != faas.NotFound
}

// checkElsewhere refuses what OpenFaaS has not, and whoever may not call it. It is the
// operator's, who is of the default namespace, and its functions are of no language.
func (s *Server) checkElsewhere(ctx context.Context, r *request, escaped string) error {
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return &faas.Error{Code: faas.InvalidRequest, Message: "the function's name in the path is not well escaped"}
	}
	if r.namespace() != "" || !s.elsewhere(ctx, name) {
		return &faas.Error{Code: faas.NotFound, Message: "no function of that name is here, nor has OpenFaaS one"}
	}
	return s.may(r, faas.InvokeHTTP, "")
}
