package host

import (
	"bytes"
	"context"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// Execution is an execute that comes by another protocol than HTTP.
type Execution struct {
	RequestID string // of the call, for the log
	Caller    Caller
	Session   faas.SessionID // what is run; not looked at where there is a script
	Script    *string        // code of the call's own, run once
	Params    []byte         // any JSON; empty: null
	Context   []byte         // a JSON object in place of the session's; empty: the session's
}

// Initialization is an initialize that comes by another protocol than HTTP.
type Initialization struct {
	Caller        Caller
	LanguageTitle string  // a function's name, name@version or name:alias
	Script        *string // nil: run the registered function of that name
	Context       []byte  // a JSON object, or empty
	Dependencies  []byte  // a JSON object of the files that pin the script's packages, or empty
}

// Ready tells whether an initialize would be taken.
func (h *Host) Ready() bool { return h.Bundles.Ready() }

// Stats counts workers and calls.
func (h *Host) Stats() pool.Stats { return h.Engine.Stats() }

// Execute runs a session's function, or a script, once. A script gets a worker that
// no other call ever uses, and no session is made of it. Large payloads share the
// memory of large bodies. Errors are those of an execute by HTTP.
func (h *Host) Execute(ctx context.Context, e Execution) (pool.Result, error) {
	t := newTiming(time.Now())
	if size := len(e.Params) + len(e.Context); size > keepBuffer {
		var held buffer
		if err := h.bodies.hold(ctx, &held, int64(size)); err != nil {
			return pool.Result{}, err
		}
		defer held.holdOnly(0)
	}
	params, err := value("params", e.Params)
	if err != nil {
		return pool.Result{}, err
	}
	var p post
	if err := h.fill(&p, e.Script, e.Context); err != nil {
		return pool.Result{}, err
	}
	if err := p.single(); err != nil {
		return pool.Result{}, err
	}
	session, err := h.sessionOf(ctx, &p, e.Session, e.Caller)
	if err != nil {
		return pool.Result{}, err
	}
	t.lap(h.stages.session)
	return h.invoke(ctx, e.RequestID, invocation{timing: &t, session: session, params: params})
}

// Initialize makes a session, as an initialize by HTTP does. Its id is the host's own:
// by HTTP, ext_proc makes it.
func (h *Host) Initialize(ctx context.Context, i Initialization) (*faas.Session, error) {
	arrived := time.Now()
	var p post
	ref, err := faas.ParseRef(i.LanguageTitle)
	if err != nil {
		return nil, err
	}
	if ref.Name.Language != h.Language {
		return nil, h.otherLanguage()
	}
	if err := h.fill(&p, i.Script, i.Context); err != nil {
		return nil, err
	}
	dependencies, err := value("dependencies", i.Dependencies)
	if err != nil {
		return nil, err
	}
	if err := h.parseDependencies(&p, dependencies); err != nil {
		return nil, err
	}
	// Whether a registered function's results are cached is not known here: without
	// the shortcut past ext_proc its session is slower by HTTP, never wrong.
	p.ref, p.caller = ref.In(i.Caller.Namespace), i.Caller
	if p.id, err = h.Bundles.NewID(p.script != nil); err != nil {
		return nil, err
	}
	session, err := h.open(ctx, p, arrived)
	if err != nil {
		return nil, err
	}
	return &session.Session, nil
}

// fill takes a script and a context that are not members of a body.
func (h *Host) fill(p *post, script *string, raw []byte) error {
	if script != nil {
		if err := h.setScript(p, *script); err != nil {
			return err
		}
	}
	raw, err := value("context", raw)
	if err != nil {
		return err
	}
	if err := p.parseContext(raw); err != nil {
		return err
	}
	return h.checkOptions(p)
}

// value checks that raw is one JSON value, or empty, as members does.
func value(name string, raw []byte) ([]byte, error) {
	raw = bytes.Trim(raw, " \t\r\n")
	if len(raw) > 0 && (!utf8.Valid(raw) || !jsontext.Value(raw).IsValid(lenient...)) {
		return nil, invalid(name + " is not valid JSON")
	}
	return raw, nil
}
