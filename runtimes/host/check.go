package host

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// checkPath is asked by control before it registers a function. Envoy has no route
// to it.
const checkPath = "/check"

// check shows that code can run here, as initialize would.
func (h *Host) check(ctx context.Context, c *fasthttp.RequestCtx) error {
	body, err := h.readBody(ctx, c, h.maxInitialize())
	if err != nil {
		return err
	}
	defer body.release()
	var title, script, options []byte
	err = members(body.bytes, member{"language_title", &title}, member{"script_content", &script}, member{"compile_options", &options})
	if err != nil {
		return err
	}
	var (
		p        post
		language string
	)
	if err := json.Unmarshal(title, &language); err != nil {
		return invalid("language_title must be a string")
	}
	if name, err := faas.ParseName(language); err != nil || name.Language != h.Language {
		return invalid("this host runs " + string(h.Language) + " functions only")
	}
	if err := h.parseScript(&p, script); err != nil {
		return err
	}
	if p.script == nil {
		return invalid("script_content is missing")
	}
	if p.options, err = object("compile_options", options); err != nil {
		return err
	}
	work := pool.Work{Script: faas.NewScript(h.Language, *p.script, p.options), Owner: faas.Function{}.Owner()}
	if err := h.load(ctx, work); err != nil {
		return err
	}
	write(c, http.StatusOK, []byte("{}"))
	return nil
}
