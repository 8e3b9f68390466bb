package extproc

import (
	"context"
	"strings"
	"time"

	"envoke/internal/faas"
)

// execute lets a live session's request go on as it is, to the runtime of its language,
// which the id has told Envoy.
func (s *Server) execute(ctx context.Context, r *request) (pass, error) {
	id := faas.SessionID(r.path[len(executePath)+1:])
	language, ok := id.Language() // false where more than one segment follows
	if !ok {
		return pass{}, faas.ErrNoSession
	}
	if err := r.checkCacheControl(); err != nil {
		return pass{}, err
	}
	session, err := s.registry.FindSession(ctx, id)
	if err != nil {
		return pass{}, err
	}
	if !r.from(session.Name.Namespace, session.UserID) { // another one's does not exist
		return pass{}, faas.ErrNoSession
	}
	if err := s.may(r, faas.Execute, language); err != nil {
		return pass{}, err
	}
	if !s.served[language] {
		return pass{}, noRuntime(language)
	}
	if session.Retain { // what it answers next is not what it answered before
		return pass{}, nil
	}
	// The session's id, which is in the path, stands for its version, its context and
	// its user: it has one of each for ever.
	if r.caching = s.caching(r, s.ttl(ctx, r, session)); r.caching != nil {
		r.caching.envelope = true
	}
	return pass{}, nil
}

// ttl is how long the function of the session has its results cached. A caller's own
// word makes the question unnecessary.
func (s *Server) ttl(ctx context.Context, r *request, session faas.Session) time.Duration {
	if session.Version == 0 || r.cacheControl.count > 0 {
		return 0
	}
	function, err := s.registry.FindFunction(ctx, faas.Ref{Name: session.Name, Version: session.Version})
	if err != nil { // deleted meanwhile, or the store is away: then it is run
		return 0
	}
	return function.CacheTTL
}

// maxAgeDigits keeps a max-age within 31 years, far from any overflow.
const maxAgeDigits = 9

// checkCacheControl refuses a X-Cache-Control that is neither "no-cache" nor
// "max-age=N": a caller that believes in caching should not be left to guess.
func (r *request) checkCacheControl() error {
	seconds, isMaxAge := strings.CutPrefix(r.cacheControl.value, "max-age=")
	switch {
	case r.cacheControl.count == 0:
		return nil
	case r.cacheControl.count > 1: // refused
	case r.cacheControl.value == "no-cache", isMaxAge && isNumber(seconds) && len(seconds) <= maxAgeDigits:
		return nil
	}
	return &faas.Error{
		Code:    faas.InvalidRequest,
		Message: "X-Cache-Control must be sent once, as no-cache or max-age=<seconds>",
	}
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
