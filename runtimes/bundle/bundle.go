// Package bundle is what a runtime host holds of sessions, functions and their code.
// Control has the truth: a host asks it for what it does not hold, and watches it
// for revocations and changes. A host that hears nothing from control asks before it serves what
// it holds, and serves it all the same when nobody answers.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/internal/lookup"
	"envoke/internal/schema"
)

const (
	fetchTimeout = time.Second
	// entrySize is what a held session takes beside its code and context, about.
	entrySize = 512
)

// Session is a session and the code it runs. Sessions are shared: nobody changes
// one that Session returned or Create was given.
type Session struct {
	faas.Session
	Script faas.Script
	Params *schema.Schema // what params must keep to; nil: anything
	// Variables are its function's, whose Environment the session keeps.
	Variables Variables
}

// Options make Bundles. All fields but Reconnect are required.
type Options struct {
	Conn *grpc.ClientConn // to control
	// Reconnect has Conn connect anew, where control takes what is sent and answers nothing:
	// there may be another.
	Reconnect  func()
	Host       string // a name unique to this process
	Language   faas.Language
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// MaxSessions bounds the sessions held.
	MaxSessions int
	// MaxScriptBytes bounds their contexts and own scripts, and as much again the
	// scripts of registered functions, which sessions share.
	MaxScriptBytes int64
}

// Bundles is safe for concurrent use.
type Bundles struct {
	conn     *grpc.ClientConn
	anew     func() // conn's Reconnect
	control  controlpb.ControlClient
	host     string
	language faas.Language
	logger   *slog.Logger
	metrics  *metrics

	sessions  *lookup.Memory[faas.SessionID, held]
	functions *lookup.Memory[faas.Ref, heldFunction]
	scripts   *lookup.Memory[faas.Digest, faas.Script]
	schemas   *lookup.Memory[faas.Ref, *schema.Schema] // by version, which is immutable
	key       atomic.Pointer[faas.SessionKey]          // nil until control has said it
	keyed     chan struct{}                            // closed then
	trust     trust
	// secretChanges counts the changes of secrets that control has told of.
	secretChanges atomic.Uint64
}

// held is a session with the generation of trust in which control vouched for it.
type held struct {
	session    *Session
	generation uint64
}

func heldSize(h held) int64 {
	size := entrySize + int64(len(h.session.Context)+len(h.session.Owner)+len(h.session.UserID)+len(h.session.Build.Error)) +
		h.session.Environment.Size() + h.session.Variables.Size()
	if h.session.Version == 0 {
		size += scriptSize(h.session.Script)
	}
	return size
}

func scriptSize(s faas.Script) int64 {
	return int64(len(s.Source) + len(s.CompileOptions) + len(s.Dependencies))
}

// New makes Bundles that hold nothing yet.
func New(o Options) *Bundles {
	b := &Bundles{
		conn:      o.Conn,
		anew:      o.Reconnect,
		control:   controlpb.NewControlClient(o.Conn),
		host:      o.Host,
		language:  o.Language,
		logger:    o.Logger,
		keyed:     make(chan struct{}),
		sessions:  lookup.New[faas.SessionID](o.MaxSessions, o.MaxScriptBytes, heldSize),
		functions: lookup.New[faas.Ref](maxFunctions, maxFunctionBytes, functionSize),
		scripts:   lookup.New[faas.Digest](o.MaxSessions, o.MaxScriptBytes, scriptSize),
		schemas:   lookup.New[faas.Ref](maxFunctions, maxSchemaBytes, (*schema.Schema).Size),
	}
	b.trust.start()
	b.metrics = newMetrics(o.Registerer, b)
	return b
}

// Ready tells whether control has been heard of: without its key no session id
// can be checked.
func (b *Bundles) Ready() bool { return b.key.Load() != nil }

// firstWait is how long after its start a host has requests wait for control's key. Envoy sends
// requests as soon as the host listens, which on a busy machine is well before control answers.
const firstWait = 3 * time.Second

// awaitKey is control's key. Nil: it is not there, and nobody should wait for it.
func (b *Bundles) awaitKey(ctx context.Context) *faas.SessionKey {
	left := firstWait - time.Since(b.trust.started)
	if key := b.key.Load(); key != nil || left <= 0 {
		return key
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-b.keyed:
	case <-timer.C:
	case <-ctx.Done():
	}
	return b.key.Load()
}

// setKey lets those go on that wait for the first.
func (b *Bundles) setKey(key faas.SessionKey) {
	if b.key.Swap(&key) == nil {
		close(b.keyed)
	}
}

// NewID makes the id of a session that does not come through ext_proc, which makes
// all others. A plain session's executes skip ext_proc. It is UNAVAILABLE until
// control has said its key.
func (b *Bundles) NewID(plain bool) (faas.SessionID, error) {
	key := b.key.Load()
	if key == nil {
		return "", errNoControl
	}
	return key.NewID(b.language, plain), nil
}

// errNoControl is the answer to all that needs the key. Who gets it must not change it.
var errNoControl = &faas.Error{Code: faas.Unavailable, Message: "this runtime host has not reached control yet; try again"}

// Create stores a new session through control, with its script where that is its own,
// and holds it. Meanwhile check shows whether it can run: with check's error, or when
// this process dies first, there is no session. Where the code takes too long to be ready,
// check sets the session's CompileStatus to CompilePending and its Build, and SetBuild
// follows.
func (b *Bundles) Create(ctx context.Context, s *Session, ownScript bool, check func() error) error {
	request := &controlpb.CreateSessionRequest{Session: controlpb.NewSession(&s.Session)}
	if ownScript {
		request.Script = controlpb.NewScript(&s.Script)
	}
	generation := b.trust.generation.Load()
	o := offer{control: b.control}
	stored := o.begin(ctx, request)
	err := check()
	checked := err == nil
	if checked {
		err = o.keep(stored, func() error { return b.notePending(ctx, s) })
	}
	o.end()
	if err != nil && checked && faas.AsError(err).Code == faas.Unavailable {
		err = b.keepElsewhere(ctx, request, s)
	}
	if err != nil {
		return err
	}
	// Nobody has been told the id yet, so nobody can have revoked it meanwhile.
	b.sessions.Hold(s.ID, held{session: s, generation: generation})
	return nil
}

// elsewherePause is what a control that lost the connection has to undo what it was offered,
// and a connection to another to be made.
const elsewherePause = 150 * time.Millisecond

// keepElsewhere offers a session once more whose control went away over the first offer: there
// may be another. Where the first has stored it and could not undo that, it is there already:
// nobody else has its id.
func (b *Bundles) keepElsewhere(ctx context.Context, request *controlpb.CreateSessionRequest, s *Session) error {
	if !pause(ctx, elsewherePause) {
		return ctx.Err()
	}
	o := offer{control: b.control}
	stored := o.begin(ctx, request)
	defer o.end()
	err := o.keep(stored, func() error { return b.notePending(ctx, s) })
	if err != nil && faas.AsError(err).Code == faas.Conflict {
		return b.notePending(ctx, s)
	}
	return err
}

// notePending tells control that the code of a session is not ready, of one that is.
func (b *Bundles) notePending(ctx context.Context, s *Session) error {
	if s.CompileStatus != faas.CompilePending {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, offerTimeout)
	defer cancel()
	return b.setBuild(ctx, s.ID, s.CompileStatus, s.Build)
}

// SetBuild tells control where the build of a session's code stands, and forgets what is held
// of the session. NOT_FOUND: the session is gone.
func (b *Bundles) SetBuild(ctx context.Context, id faas.SessionID, status faas.CompileStatus, build faas.Build) error {
	err := controlpb.FromStatus(b.setBuild(ctx, id, status, build))
	if err != nil && !faas.IsNotFound(err) {
		return fmt.Errorf("set build: %w", err)
	}
	b.sessions.Drop(id)
	return err
}

func (b *Bundles) setBuild(ctx context.Context, id faas.SessionID, status faas.CompileStatus, build faas.Build) error {
	_, err := b.control.SetBuild(ctx, &controlpb.SetBuildRequest{
		Id: string(id), CompileStatus: string(status), Build: controlpb.NewBuild(build),
	})
	return err
}

// sharedScript is the script of a registered function, one copy for all sessions.
func (b *Bundles) sharedScript(ctx context.Context, digest faas.Digest) (faas.Script, error) {
	if script, ok := b.scripts.Held(digest); ok {
		return script, nil
	}
	return b.scripts.Find(ctx, digest, fetchTimeout, func(ctx context.Context) (faas.Script, error) {
		return b.fetchScript(ctx, digest)
	})
}

func (b *Bundles) fetchScript(ctx context.Context, digest faas.Digest) (faas.Script, error) {
	message, err := b.control.FindScript(ctx, &controlpb.FindScriptRequest{Digest: string(digest)}, largeMessages...)
	if err != nil {
		return faas.Script{}, fmt.Errorf("find script: %w", controlpb.FromStatus(err))
	}
	script := message.Script()
	if script.Digest != digest {
		return faas.Script{}, notMeant("script", errors.New("its content has another digest"))
	}
	return script, nil
}

// notMeant does not wrap: why an answer of control's makes no sense may be a
// *faas.Error, which the caller of a function would be shown as a fault of theirs.
func notMeant(what string, err error) error {
	return fmt.Errorf("control sent a %s that makes no sense: %s", what, err.Error())
}

// largeMessages lets the largest scripts pass; gRPC's own limit is 4 MiB.
var largeMessages = []grpc.CallOption{
	grpc.MaxCallRecvMsgSize(controlpb.MaxMessage),
	grpc.MaxCallSendMsgSize(controlpb.MaxMessage),
}
