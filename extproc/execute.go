package extproc

import (
	"context"
	"strings"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"envoke/internal/faas"
)

// pass lets a request go on as it is: the route that brought it here names the cluster.
var pass = emptyAnswer(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{}})

// execute lets a live session's request go on to the runtime of its language, which
// the id has told Envoy.
func (s *Server) execute(ctx context.Context, r *request) (*extprocv3.ProcessingResponse, error) {
	id := faas.SessionID(r.path[len(executePath)+1:])
	language, ok := id.Language() // false where more than one segment follows
	if !ok {
		return nil, faas.ErrNoSession
	}
	if err := r.checkCacheControl(); err != nil {
		return nil, err
	}
	if _, err := s.registry.FindSession(ctx, id); err != nil {
		return nil, err
	}
	if !s.served[language] {
		return nil, noRuntime(language)
	}
	return pass, nil
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
