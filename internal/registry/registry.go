// Package registry is the live set of sessions, functions and hosts inside
// control: what ext_proc asks before it lets a request pass, what runtime hosts ask
// on a miss, and who is told when a session is revoked. What it remembers is
// bounded; the store alone may not lose anything.
package registry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/internal/lookup"
)

// SessionStore keeps sessions. Its errors are *faas.Error of NOT_FOUND, CONFLICT
// and UNAVAILABLE where these apply.
type SessionStore interface {
	// CreateSession stores a session and, unless it is nil, its script.
	CreateSession(ctx context.Context, s faas.Session, script *faas.Script) error
	// FindLive may return a session that has expired, and old counts of its executes.
	FindLive(ctx context.Context, id faas.SessionID) (faas.Session, error)
	DeleteSession(ctx context.Context, by faas.Actor, id faas.SessionID) error
	// SetBuild notes where the build of a session's code stands.
	SetBuild(ctx context.Context, id faas.SessionID, status faas.CompileStatus, b faas.Build) error
	// TakeContext gives the context of a retained session to one host, for one call, until
	// PutContext or the given time.
	TakeContext(ctx context.Context, id faas.SessionID, host string, until time.Time) (json.RawMessage, error)
	// PutContext ends that; left is nil where the context is as it was.
	PutContext(ctx context.Context, id faas.SessionID, host string, left json.RawMessage) error
}

// CodeStore keeps functions and scripts. Its errors are as SessionStore's.
type CodeStore interface {
	FindFunction(ctx context.Context, ref faas.Ref) (faas.Function, error)
	FindScript(ctx context.Context, digest faas.Digest) (faas.Script, error)
}

// ModuleStore keeps what was built from source. Its errors are as SessionStore's.
type ModuleStore interface {
	FindModule(ctx context.Context, digest string) ([]byte, error)
	KeepModule(ctx context.Context, digest string, wasm []byte) error
}

// Store is what a Registry stands on.
type Store interface {
	SessionStore
	CodeStore
	ModuleStore
}

// Options make a Registry. Zero durations and bounds mean the defaults.
type Options struct {
	Store      Store
	Key        faas.SessionKey
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // nil: time.Now
	// Secrets are the values of an owner's secrets, as far as they are there; nil: none are.
	Secrets func(ctx context.Context, owner string, names []string) (faas.Secrets, error)
	// Record stores what hosts tell of requests, all of it or nothing; nil: nobody wants to know.
	Record func(context.Context, faas.Records) error

	MaxSessions     int   // remembered; 100,000
	MaxSessionBytes int64 // of their contexts and names; 64 MiB
}

const (
	// storeTimeout bounds one question to the store. It stays below the deadline
	// of ext_proc, so that who waits is told UNAVAILABLE instead of nothing.
	storeTimeout = 700 * time.Millisecond
	// briefly is how long an answer is believed that nothing corrects: that there
	// is no such session, and what a function is.
	briefly = time.Second

	maxFunctions     = 1000
	maxFunctionBytes = 16 << 20
)

// Registry is safe for concurrent use.
type Registry struct {
	store     Store
	key       faas.SessionKey
	logger    *slog.Logger
	now       func() time.Time
	record    func(context.Context, faas.Records) error
	secrets   func(context.Context, string, []string) (faas.Secrets, error)
	sessions  *lookup.Memory[faas.SessionID, answer[faas.Session]]
	unknown   unknown
	functions *lookup.Memory[faas.Ref, answer[faas.Function]]
	hosts     *hosts
	metrics   *metrics
}

// An answer is what the store said, a not-found included, and how long to believe
// it.
type answer[V any] struct {
	value V
	err   error
	until time.Time
}

// New makes a Registry. Its epoch is random: hosts that outlive it see a new one.
func New(o Options) *Registry {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Record == nil {
		o.Record = func(context.Context, faas.Records) error { return nil }
	}
	if o.Secrets == nil {
		o.Secrets = func(context.Context, string, []string) (faas.Secrets, error) { return nil, nil }
	}
	r := &Registry{
		store:     o.Store,
		key:       o.Key,
		logger:    o.Logger,
		now:       o.Now,
		record:    o.Record,
		secrets:   o.Secrets,
		sessions:  lookup.New[faas.SessionID](or(o.MaxSessions, 100_000), or(o.MaxSessionBytes, 64<<20), sessionSize),
		functions: lookup.New[faas.Ref](maxFunctions, maxFunctionBytes, functionSize),
	}
	r.metrics = newMetrics(o.Registerer, r)
	r.hosts = newHosts(newEpoch(), r.metrics.fellBehind)
	return r
}

func or[T int | int64](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

func newEpoch() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return hex.EncodeToString(random[:])
}

// Serve waits until ctx ends; then it ends every host's watch, so that a gRPC server can
// stop gracefully.
func (r *Registry) Serve(ctx context.Context) error {
	<-ctx.Done()
	r.hosts.close()
	return nil
}
