package extproc

import (
	"context"

	"envoke/internal/faas"
)

// initialize makes the id of the session that the runtime host will create. The
// host that will serve it is the one that creates it: x-envoke-hash hashes like the
// :path of the executes to come.
func (s *Server) initialize(ctx context.Context, r *request) (pass, error) {
	ref, err := s.ref(r)
	if err != nil {
		return pass{}, err
	}
	language := ref.Name.Language
	if !s.served[language] {
		return pass{}, noRuntime(language)
	}
	if err := s.may(r, faas.Initialize, language); err != nil {
		return pass{}, err
	}
	plain, err := s.plain(ctx, ref)
	if err != nil {
		return pass{}, err
	}
	id := string(s.key.NewID(language, plain))
	headers := []header{
		{sessionHeader, id},
		{hashHeader, executePath + "/" + id},
		{clusterHeader, clusterOf(language)},
	}
	if name := ref.String(); name != r.title.value { // hosts know no other names
		headers = append(headers, header{titleHeader, name})
	}
	return pass{headers: headers, reroute: true}, nil
}

// oneShot makes a session as initialize does; the host executes it at once.
func (s *Server) oneShot(ctx context.Context, r *request) (pass, error) {
	if err := r.checkCacheControl(); err != nil {
		return pass{}, err
	}
	return s.initialize(ctx, r)
}

// plain tells whether executes of a new session of that name may skip ext_proc:
// all may but those of a registered function whose results are cached, in any
// version that the session may get: the host picks it by the id that is made here.
// Whether the request brings its own code is in the body, which is not seen here; a
// script under such a name loses the shortcut and nothing else.
func (s *Server) plain(ctx context.Context, ref faas.Ref) (bool, error) {
	function, err := s.registry.FindFunction(ctx, ref)
	if faas.IsNotFound(err) {
		return true, nil
	}
	plain := function.CacheTTL == 0
	for version := range function.Weights {
		if !plain || err != nil {
			break
		}
		plain, err = s.plain(ctx, faas.Ref{Name: ref.Name, Version: version})
	}
	return plain, err
}

// ref is what the Language-Title header says, sent exactly once.
func (s *Server) ref(r *request) (faas.Ref, error) {
	if r.title.count > 1 {
		return faas.Ref{}, &faas.Error{Code: faas.InvalidRequest, Message: "send the Language-Title header exactly once"}
	}
	ref, err := s.choose(faas.InHeader, r.title.value)
	return ref.In(r.namespace()), err
}

func noRuntime(language faas.Language) error {
	return &faas.Error{
		Code:    faas.Unavailable,
		Message: "no " + string(language) + " runtime is configured here",
		Details: map[string]any{"component": faas.InRuntime},
	}
}
