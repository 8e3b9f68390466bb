package host

import (
	"context"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
)

// runtimePath goes on with a language and the title of a registered function.
const runtimePath = "/runtime/"

// invokeFunction runs a registered function once, without a session (E10).
func (h *Host) invokeFunction(ctx context.Context, c *fasthttp.RequestCtx) error {
	t := timingOf(c)
	language, title, _ := strings.Cut(string(c.URI().PathOriginal()[len(runtimePath):]), "/")
	ref, err := h.refOf(c, language+"-"+title)
	if err != nil {
		return err
	}
	body, err := h.readBody(ctx, c, h.MaxBody)
	if err != nil {
		return err
	}
	defer body.release()
	var p post
	if err := h.parseCall(&p, body.bytes); err != nil {
		return err
	}
	t.lap(h.stages.read)
	session := &bundle.Session{Session: faas.Session{
		Context: callerOf(c).in(p.context), Timeout: p.timeout, MemoryMB: p.memoryMB, Limits: p.limits, Network: p.network,
	}}
	if err := h.useFunction(ctx, session, ref, requestID(c)); err != nil {
		return err
	}
	t.lap(h.stages.session)
	return h.run(ctx, c, invocation{timing: t, session: session, params: p.params})
}

// refOf is the function that ext_proc chose, else the one that the path names: of the caller's
// namespace.
func (h *Host) refOf(c *fasthttp.RequestCtx, name string) (faas.Ref, error) {
	ref, err := h.parseRef(chosen(c, name))
	return ref.In(namespaceOf(c)), err
}

// parseRef parses a part of a path, where '@' and ':' may be escaped.
func (h *Host) parseRef(escaped string) (faas.Ref, error) {
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return faas.Ref{}, invalid("the function's name in the path is not well escaped")
	}
	ref, err := faas.ParseRefIn(faas.InPath, name)
	if err == nil && ref.Name.Language != h.Language {
		err = h.otherLanguage()
	}
	return ref, err
}

// parseCall finds the params and the context of a single call, and what else is
// wanted. They are parts of the body, but for the context.
func (h *Host) parseCall(p *post, body []byte, more ...member) error {
	var callContext []byte
	err := bodyMembers(body, append(more, member{"params", &p.params}, member{"context", &callContext})...)
	if err != nil {
		return err
	}
	if err := p.parseContext(callContext); err != nil {
		return err
	}
	if err := p.single(); err != nil {
		return err
	}
	return h.checkOptions(p)
}

// useFunction makes the session run a registered function. A session that gets no id
// is that of this one call: it is stored nowhere.
func (h *Host) useFunction(ctx context.Context, session *bundle.Session, ref faas.Ref, key string) error {
	function, err := h.Bundles.Function(ctx, ref, key)
	if err != nil {
		return err
	}
	session.Name, session.Version = function.Name, function.Version
	session.Script, session.Digest = function.Script, function.Script.Digest
	session.Owner, session.Schema, session.Params = function.Owner(), function.Schema, function.Params
	if session.Timeout == 0 {
		session.Timeout = function.Timeout
	}
	if session.MemoryMB == 0 {
		session.MemoryMB = function.MemoryMB
	}
	session.Limits = session.Limits.Or(function.Limits)
	session.Environment, session.Variables = function.Function.Variables(), function.Variables
	if err := session.Variables.Err(); err != nil {
		return err
	}
	return h.useNetwork(session, function.Network)
}
