package host

import (
	"context"
	"net/http"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/internal/strict"
	"envoke/runtimes/pool"
)

// checkPath is asked by control before it registers a function. Envoy has no route
// to it.
const checkPath = "/check"

// check shows that code can run here, as initialize would: it is the same request,
// without a session.
func (h *Host) check(ctx context.Context, c *fasthttp.RequestCtx) error {
	p, err := h.readPost(ctx, c)
	if err != nil {
		return err
	}
	if p.script == nil {
		return strict.BadMember("script_content", "is missing")
	}
	if network := faas.Network(c.Request.Header.Peek(networkHeader)); network != faas.NoNetwork {
		p.network = network
	}
	if err := h.checkRegistered(p.network); err != nil {
		return err
	}
	environment, err := faas.ParseEnvironment(p.environment)
	if err != nil {
		return strict.BadMember("environment", "must be an object of texts")
	}
	work := pool.Work{
		Environment: environment.Resolve(nil), Network: p.network,
		Script: faas.NewScript(h.Language, *p.script, p.options).With(p.dependencies), Owner: faas.Function{Name: p.ref.Name}.Owner(),
	}
	if err := h.load(ctx, work); err != nil {
		return err
	}
	write(c, http.StatusOK, []byte("{}"))
	return nil
}
