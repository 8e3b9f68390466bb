package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"envoke/internal/compile"
	"envoke/internal/faas"
	"envoke/internal/strict"
	"envoke/runtimes/bundle"
	"envoke/runtimes/pool"
)

// sessionHeader carries the id that ext_proc made. Envoy strips the header from
// what callers send.
const sessionHeader = "X-Envoke-Session"

// initialize makes a session of the posted or the registered code (E1).
func (h *Host) initialize(ctx context.Context, c *fasthttp.RequestCtx) error {
	post, err := h.readInitialize(ctx, c)
	if err != nil {
		return err
	}
	t := timingOf(c)
	t.lap(h.stages.read)
	session, err := h.open(ctx, post, t.arrived)
	t.loaded(h.stages.load)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if session.CompileStatus == faas.CompilePending {
		status = http.StatusAccepted
	}
	write(c, status, initialized(session))
	t.lap(h.stages.write)
	return nil
}

// oneShot is initialize and execute in one (E11). Its session is seldom executed again, so it
// is not held: who does has it fetched.
func (h *Host) oneShot(ctx context.Context, c *fasthttp.RequestCtx) error {
	post, err := h.readInitialize(ctx, c)
	if err == nil {
		err = wantParams(post.unread, post.params)
	}
	if err != nil {
		return err
	}
	t := timingOf(c)
	t.lap(h.stages.read)
	session, err := h.openFor(ctx, post, t.arrived)
	t.loaded(h.stages.load)
	if err != nil {
		return err
	}
	defer h.Bundles.Forget(session.ID)
	return h.run(ctx, c, invocation{timing: t, session: session, params: post.params, checked: true})
}

func initialized(session *bundle.Session) []byte {
	body, _ := json.Marshal(struct { // strings only: it cannot fail
		RequestID     faas.SessionID     `json:"request_id"`
		Status        string             `json:"status"`
		ExpiresAt     string             `json:"expires_at"`
		LanguageTitle string             `json:"language_title"`
		CompileStatus faas.CompileStatus `json:"compile_status"`
	}{session.ID, "initialized", session.ExpiresAt.UTC().Format(time.RFC3339), session.Name.String(), session.CompileStatus})
	return body
}

// post is the checked content of an initialize or a one-shot.
type post struct {
	id      faas.SessionID
	caller  Caller
	ref     faas.Ref
	script  *string // nil: run the registered function of that name
	context json.RawMessage
	options json.RawMessage
	timeout time.Duration
	// memoryMB is the limit of memory that was asked for; 0: none was.
	memoryMB int
	limits   faas.Limits  // of its calls that were asked for
	network  faas.Network // that was asked for
	retain   bool         // its context is to be kept from call to call
	// dependencies are the files that pin packages of the script; nil: none.
	dependencies json.RawMessage
	// environment of its worker, with no secrets: only control gives one, to have code checked.
	environment json.RawMessage
	params      []byte

	unread      string // a member of the body that means nothing here; empty: none
	optionsName string // where the options stood
}

func (h *Host) readInitialize(ctx context.Context, c *fasthttp.RequestCtx) (post, error) {
	id := faas.SessionID(c.Request.Header.Peek(sessionHeader))
	if language, _ := id.Language(); language != h.Language {
		return post{}, invalid("sessions are made through Envoy: this host got no session id of its own language, " + string(h.Language))
	}
	p, err := h.readPost(ctx, c)
	if err == nil && p.environment != nil {
		err = strict.BadMember("environment", "is that of registered functions: register this one, or use its context")
	}
	p.id, p.caller = id, callerOf(c)
	return p, err
}

// readPost reads all of an initialize but the session's id.
func (h *Host) readPost(ctx context.Context, c *fasthttp.RequestCtx) (p post, err error) {
	if p.ref, err = faas.ParseRefIn(faas.InHeader, string(c.Request.Header.Peek("Language-Title"))); err != nil {
		return post{}, err
	}
	if p.ref.Name.Language != h.Language {
		return post{}, h.otherLanguage()
	}
	p.ref = p.ref.In(namespaceOf(c))
	body, err := h.readBody(ctx, c, h.maxInitialize())
	if err != nil {
		return post{}, err
	}
	defer body.release()
	err = h.parse(&p, body.bytes)
	return p, err
}

func (h *Host) otherLanguage() error {
	return invalid("this host runs " + string(h.Language) + " functions only")
}

// maxInitialize bounds the body of an initialize, in bytes. JSON may write each byte
// of a script as six (\u00xx), which those of modules in base64 do not need; one-shots
// bring params, and control, in their place, the environment to check code with.
func (h *Host) maxInitialize() int {
	return h.MaxScript + min(5*h.MaxScript, maxEscapes) + MaxContext + MaxDependencies + h.MaxBody
}

// maxEscapes bounds what a script may grow by being written as JSON, in bytes.
const maxEscapes = 16 << 20

// parse copies what it takes from the body, whose buffer is reused.
func (h *Host) parse(p *post, body []byte) error {
	var script, sessionContext, options, params, dependencies, environment []byte
	unread, err := postMembers(body, member{"script_content", &script}, member{"context", &sessionContext},
		member{"compile_options", &options}, member{"params", &params}, member{"dependencies", &dependencies},
		member{"environment", &environment})
	if err != nil {
		return err
	}
	p.unread = unread
	if err := h.parseScript(p, script); err != nil {
		return err
	}
	if err := h.parseDependencies(p, dependencies); err != nil {
		return err
	}
	p.params = bytes.Clone(params)
	if given(environment) {
		p.environment = bytes.Clone(environment)
	}
	if err := p.parseContext(sessionContext); err != nil {
		return err
	}
	if given(options) {
		p.options, p.optionsName = bytes.Clone(options), "compile_options"
	}
	return h.checkOptions(p)
}

func (h *Host) parseScript(p *post, raw []byte) error {
	if !given(raw) {
		return nil
	}
	if raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 { // as of a module in base64
		return h.setScript(p, string(raw[1:len(raw)-1]))
	}
	var script string
	if err := json.Unmarshal(raw, &script); err != nil {
		return strict.BadMember("script_content", "must be a string")
	}
	return h.setScript(p, script)
}

func (h *Host) setScript(p *post, script string) error {
	if len(script) > h.MaxScript {
		return tooLarge("script_content", h.MaxScript)
	}
	if strings.TrimSpace(script) == "" {
		return strict.BadMember("script_content", "is empty")
	}
	p.script = &script
	return nil
}

// parseContext copies a context, an object or nothing, and reads the members of it that
// mean something to us.
func (p *post) parseContext(raw []byte) error {
	switch {
	case !given(raw):
		return nil
	case raw[0] != '{':
		return strict.BadMember("context", "must be an object")
	case len(raw) > MaxContext:
		return tooLarge("context", MaxContext)
	}
	p.context = bytes.Clone(raw)
	var timeout, retain, options, cpu, output, concurrency []byte
	err := members(p.context, member{"timeout_ms", &timeout}, member{"retain_session", &retain}, member{"compile_options", &options},
		member{"cpu_limit_ms", &cpu}, member{"output_limit_bytes", &output}, member{"max_concurrency", &concurrency})
	if err != nil {
		return err
	}
	if err := p.parseLimits(cpu, output, concurrency); err != nil {
		return err
	}
	switch string(retain) {
	case "", "null", "false":
	case "true":
		p.retain = true
	default:
		return strict.BadMember("context.retain_session", "must be true or false")
	}
	if given(timeout) {
		var ms float64
		if json.Unmarshal(timeout, &ms) != nil || ms < 1 || ms > math.MaxInt32 {
			return strict.BadMember("context.timeout_ms", "must be a number of milliseconds, from 1")
		}
		p.timeout = time.Duration(ms) * time.Millisecond
	}
	if given(options) {
		p.options, p.optionsName = options, "context.compile_options"
	}
	return nil
}

// checkOptions checks what is asked of a compiler, and of the worker.
func (h *Host) checkOptions(p *post) error {
	options, err := compile.Parse(p.options, p.optionsName, h.MaxMemoryMB)
	if err == nil && options.MemoryLimitMB != nil {
		p.memoryMB = *options.MemoryLimitMB
	}
	if options.Egress() {
		p.network = faas.Egress
	}
	return err
}

// given tells whether a member is there and not null.
func given(raw []byte) bool { return len(raw) > 0 && !isNull(raw) }

func isNull(raw []byte) bool { return string(raw) == "null" }

func invalid(message string) error {
	return &faas.Error{Code: faas.InvalidRequest, Message: message}
}

// open makes a session and stores it. Where its code takes long to build, that is pending.
func (h *Host) open(ctx context.Context, p post, arrived time.Time) (*bundle.Session, error) {
	session, err := h.prepare(ctx, p)
	if err != nil {
		return nil, err
	}
	return session, h.keep(ctx, p, session, opening{
		load: h.load, until: arrived.Add(h.buildWait()),
		late: func(b *build) error { return h.pend(ctx, session, b) },
	})
}

// openFor makes a session to be run with the post's params, and stores it: like any
// other, but not for params that its function would never see. New code is loaded where it
// will run at once, and not parsed by another worker before.
func (h *Host) openFor(ctx context.Context, p post, arrived time.Time) (*bundle.Session, error) {
	session, err := h.prepare(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := checkParams(session.Params, p.params); err != nil {
		return nil, err
	}
	timeout := h.timeout(session.Timeout)
	o := opening{load: h.load, late: func(*build) error { return faas.StillBuilding(timeout) }}
	if p.script != nil {
		o.load = h.Engine.Load
	}
	if stepOf(session) != loading { // which has a limit of its own
		o.until = arrived.Add(timeout)
	}
	return session, h.keep(ctx, p, session, o)
}

// prepare makes a session that is stored nowhere yet.
func (h *Host) prepare(ctx context.Context, p post) (*bundle.Session, error) {
	if p.retain && h.NoRetain != "" {
		return nil, strict.BadMember("context.retain_session", h.NoRetain)
	}
	if err := p.caller.check(); err != nil {
		return nil, err
	}
	now := time.Now()
	session := &bundle.Session{Session: faas.Session{
		ID: p.id, UserID: p.caller.UserID, Name: p.ref.Name, Context: p.caller.in(p.context), Timeout: p.timeout,
		MemoryMB: p.memoryMB, Limits: p.limits, Network: p.network, Retain: p.retain,
		CompileStatus: faas.CompileSuccess, Status: faas.Active,
		CreatedAt: now, ExpiresAt: now.Add(h.SessionExpiry),
	}}
	return session, h.findCode(ctx, p, session)
}

// opening is how the code of a new session is made ready.
type opening struct {
	load  func(context.Context, pool.Work) error
	until time.Time // the wait for it ends; zero: with the build
	late  func(*build) error
}

// keep stores the session, unless its code does not load.
func (h *Host) keep(ctx context.Context, p post, session *bundle.Session, o opening) error {
	w := work(session)
	b, err := h.builds.begin(ctx, func(ctx context.Context) error { return o.load(ctx, w) })
	if err != nil {
		return err
	}
	defer b.release() // the connection, whose context it is, may live for long
	err = h.Bundles.Create(ctx, session, p.script != nil, func() error {
		late, err := b.wait(ctx, o.until)
		if late {
			err = o.late(b)
		}
		return err
	})
	if session.CompileStatus != faas.CompilePending {
		b.cancel()
		return err
	}
	if err != nil {
		b.cancel()
		h.builds.forget(session.ID)
		return err
	}
	h.builds.follow(session.ID, b, h.settled(session.ID))
	return nil
}

// findCode sets what the session runs: its own script, or the registered function
// of its name.
func (h *Host) findCode(ctx context.Context, p post, session *bundle.Session) error {
	if p.script != nil && !p.ref.Bare() {
		return invalid("a version or alias names a registered function: leave it out of Language-Title, or script_content out of the body")
	}
	if p.script != nil {
		if err := h.checkNetwork(&p); err != nil {
			return err
		}
		script := faas.NewScript(h.Language, *p.script, p.options).With(p.dependencies)
		session.Script, session.Digest = script, script.Digest
		session.Owner = p.owner()
		return nil
	}
	err := h.useFunction(ctx, session, p.ref, string(p.id))
	if faas.IsNotFound(err) && p.ref.Bare() { // no script could stand for a version or alias
		return &faas.Error{
			Code:    faas.NotFound,
			Message: fmt.Sprintf("no function is called %s, and the body has no script_content: send the code there", p.ref),
		}
	}
	return err
}

// owner is whose worker runs a script of the post's own: the user's, else the session's
// alone.
func (p *post) owner() string {
	if p.caller.UserID != "" {
		return "user:" + p.caller.Owner()
	}
	return "session:" + string(p.id)
}

// load shows that the code can run, with what it depends on. Code that runs nothing while
// it loads is only parsed: a worker is spent on it when it is first executed.
func (h *Host) load(ctx context.Context, w pool.Work) error {
	form, err := h.Engine.Check(ctx, w.Script)
	if err != nil || !form.Executes && w.Script.Dependencies == nil {
		return err
	}
	return h.Engine.Load(ctx, w)
}
