package extproc

import (
	"context"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"envoke/internal/faas"
)

// initialize makes the id of the session that the runtime host will create. The
// host that will serve it is the one that creates it: x-envoke-hash hashes like the
// :path of the executes to come.
func (s *Server) initialize(ctx context.Context, r *request) (*extprocv3.ProcessingResponse, error) {
	name, err := r.name()
	if err != nil {
		return nil, err
	}
	if s.routes[name.Language] == nil {
		return nil, noRuntime(name.Language)
	}
	plain, err := s.plain(ctx, name)
	if err != nil {
		return nil, err
	}
	id := string(s.key.NewID(name.Language, plain))
	return setHeaders(
		header{sessionHeader, id},
		header{hashHeader, executePath + "/" + id},
		header{clusterHeader, clusterOf(name.Language)},
	), nil
}

// oneShot makes a session as initialize does; the host executes it at once.
func (s *Server) oneShot(ctx context.Context, r *request) (*extprocv3.ProcessingResponse, error) {
	if err := r.checkCacheControl(); err != nil {
		return nil, err
	}
	return s.initialize(ctx, r)
}

// plain tells whether executes of a new session of that name may skip ext_proc:
// all may but those of a registered function whose results are cached. Whether
// the request brings its own code is in the body, which is not seen here; a
// script under such a name loses the shortcut and nothing else.
func (s *Server) plain(ctx context.Context, name faas.Name) (bool, error) {
	function, err := s.registry.FindFunction(ctx, name)
	if faas.IsNotFound(err) {
		return true, nil
	}
	return function.CacheTTL == 0, err
}

// name is what the Language-Title header says, sent exactly once.
func (r *request) name() (faas.Name, error) {
	if r.title.count > 1 {
		return faas.Name{}, &faas.Error{Code: faas.InvalidRequest, Message: "send the Language-Title header exactly once"}
	}
	return faas.ParseName(r.title.value)
}

func noRuntime(language faas.Language) error {
	return &faas.Error{
		Code:    faas.Unavailable,
		Message: "no " + string(language) + " runtime is configured here",
		Details: map[string]any{"component": faas.InRuntime},
	}
}
