package host

import (
	"context"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
)

// routeOf is the declared route by which a request came; empty: it came by the API.
func routeOf(c *fasthttp.RequestCtx) string {
	return string(c.Request.Header.Peek(faas.RouteHeader))
}

// invokeRouted runs the function behind a declared route, whatever the path: the route says
// which it is.
func (h *Host) invokeRouted(ctx context.Context, c *fasthttp.RequestCtx) error {
	ref, err := h.parseKey(string(c.Request.Header.Peek(functionHeader)))
	if err != nil {
		return err
	}
	if ref.Name.Namespace == "" {
		ref = ref.In(namespaceOf(c))
	}
	return h.serveFunction(ctx, c, ref, place{path: string(c.URI().PathOriginal()), route: routeOf(c)})
}

// parseKey reads a function that Envoy's configuration names.
func (h *Host) parseKey(key string) (faas.Ref, error) {
	ref, err := faas.ParseRefKey(key)
	if err == nil && ref.Name.Language != h.Language {
		err = h.otherLanguage()
	}
	return ref, err
}
