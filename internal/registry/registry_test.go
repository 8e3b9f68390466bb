package registry_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/registry"
	"envoke/internal/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = faas.SessionKey("0123456789abcdef0123456789abcdef")

// store is a real store, its questions counted and one fault put in their way.
type store struct {
	*sqlite.Store
	asked atomic.Int32
	// fault runs after a session or function was read and may hold up or replace
	// the answer.
	fault atomic.Pointer[func(context.Context) error]
}

func (s *store) inject(fault func(context.Context) error) { s.fault.Store(&fault) }

func (s *store) stumble(ctx context.Context) error {
	s.asked.Add(1)
	if fault := s.fault.Load(); fault != nil {
		return (*fault)(ctx)
	}
	return nil
}

func (s *store) FindLive(ctx context.Context, id faas.SessionID) (faas.Session, error) {
	found, err := s.Store.FindLive(ctx, id)
	if fault := s.stumble(ctx); fault != nil {
		err = fault
	}
	return found, err
}

func (s *store) FindFunction(ctx context.Context, ref faas.Ref) (faas.Function, error) {
	found, err := s.Store.FindFunction(ctx, ref)
	if fault := s.stumble(ctx); fault != nil {
		err = fault
	}
	return found, err
}

// clock is a time that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

type rig struct {
	*registry.Registry
	store   *store
	clock   *clock
	metrics *prometheus.Registry
}

func newRig(t *testing.T, options registry.Options) rig {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	r := rig{store: &store{Store: db}, clock: &clock{}, metrics: prometheus.NewPedanticRegistry()}
	options.Store, options.Key, options.Now, options.Registerer = r.store, key, r.clock.now, r.metrics
	options.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	r.Registry = registry.New(options)
	return r
}

var (
	script = faas.NewScript(faas.NodeJS, "return 1", nil)
	hello  = faas.Ref{Name: faas.Name{Language: faas.NodeJS, Title: "hello"}}
)

func newSession(expiry time.Duration) faas.Session {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return faas.Session{
		ID: key.NewID(faas.NodeJS, true), Name: faas.Name{Language: faas.NodeJS, Title: "hello"},
		Digest: script.Digest, Owner: "session:x", Context: []byte(`{"a":1}`),
		CompileStatus: faas.CompileSuccess, Status: faas.Active,
		CreatedAt: now, ExpiresAt: now.Add(expiry),
	}
}

// create stores a session and returns its id.
func (r rig) create(t *testing.T) faas.SessionID {
	t.Helper()
	s := newSession(time.Hour)
	if err := r.CreateSession(t.Context(), s, &script); err != nil {
		t.Fatal(err)
	}
	return s.ID
}

func (r rig) mustFind(t *testing.T, id faas.SessionID) {
	t.Helper()
	if _, err := r.FindSession(t.Context(), id); err != nil {
		t.Fatalf("FindSession = %v", err)
	}
}

func (r rig) mustMiss(t *testing.T, id faas.SessionID) {
	t.Helper()
	if _, err := r.FindSession(t.Context(), id); !errors.Is(err, faas.ErrNoSession) {
		t.Fatalf("FindSession = %v, want ErrNoSession", err)
	}
}

func (r rig) wantAsked(t *testing.T, want int32) {
	t.Helper()
	if got := r.store.asked.Swap(0); got != want {
		t.Errorf("the store was asked %d times, want %d", got, want)
	}
}

func TestFindSession(t *testing.T) {
	r := newRig(t, registry.Options{})
	want := newSession(time.Hour)
	if err := r.CreateSession(t.Context(), want, &script); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := r.FindSession(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	}
	r.wantAsked(t, 1)
	r.clock.advance(time.Hour)
	r.mustMiss(t, want.ID)
}

func TestForgedIDsCostNothing(t *testing.T) {
	r := newRig(t, registry.Options{})
	for _, id := range []faas.SessionID{"", "x", "../../etc", faas.SessionKey("another").NewID(faas.NodeJS, true)} {
		r.mustMiss(t, id)
		if err := r.Revoke(t.Context(), faas.Actor{}, id); !errors.Is(err, faas.ErrNoSession) {
			t.Errorf("Revoke(%q) = %v", id, err)
		}
	}
	r.wantAsked(t, 0)
}

func TestUnknownIsRememberedBriefly(t *testing.T) {
	r := newRig(t, registry.Options{})
	s := newSession(time.Hour)
	r.mustMiss(t, s.ID)
	r.mustMiss(t, s.ID)
	r.wantAsked(t, 1)
	r.clock.advance(time.Second)
	r.mustMiss(t, s.ID)
	r.wantAsked(t, 1)
	if err := r.CreateSession(t.Context(), s, &script); err != nil {
		t.Fatal(err)
	}
	r.mustFind(t, s.ID) // at once: creating corrects what is remembered
}

// Ids that are no session's are believed for a second: they fill no memory meanwhile.
func TestUnknownsAreFew(t *testing.T) {
	r := newRig(t, registry.Options{})
	kept := r.create(t)
	r.mustFind(t, kept)
	for range 2000 {
		r.mustMiss(t, key.NewID(faas.NodeJS, true))
	}
	if n := remembered(t, r.metrics); n < 2 || n > 1025 {
		t.Errorf("%v sessions and not-founds are remembered, want at most 1024 and the session", n)
	}
	r.store.asked.Store(0)
	r.mustFind(t, kept)
	r.wantAsked(t, 0)
}

func remembered(t *testing.T, metrics *prometheus.Registry) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "envoke_registry_sessions" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("there is no envoke_registry_sessions")
	return 0
}

func TestCreateSessionTwice(t *testing.T) {
	r := newRig(t, registry.Options{})
	s := newSession(time.Hour)
	if err := r.CreateSession(t.Context(), s, &script); err != nil {
		t.Fatal(err)
	}
	var conflict *faas.Error
	if err := r.CreateSession(t.Context(), s, &script); !errors.As(err, &conflict) || conflict.Code != faas.Conflict {
		t.Errorf("CreateSession = %v, want CONFLICT", err)
	}
}

func TestStoreAway(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	refuse := func(context.Context) error { return &faas.Error{Code: faas.Unavailable, Message: "away"} }
	for name, fault := range map[string]func(context.Context) error{"hangs": hang, "refuses": refuse} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, registry.Options{})
			known, unknown := r.create(t), r.create(t)
			r.mustFind(t, known)
			asked := faas.Ref{Name: faas.Name{Language: faas.NodeJS, Title: "asked"}}
			if _, err := r.store.CreateFunction(t.Context(), faas.Actor{}, faas.Function{Name: asked.Name, Script: script}); err != nil {
				t.Fatal(err)
			}
			if _, err := r.FindFunction(t.Context(), asked); err != nil {
				t.Fatal(err)
			}
			r.store.inject(fault)
			r.mustFind(t, known)
			r.clock.advance(time.Minute)
			if f, err := r.FindFunction(t.Context(), asked); err != nil || f.Version != 1 {
				t.Errorf("FindFunction of a known one = %+v, %v", f, err)
			}
			var away *faas.Error
			if _, err := r.FindSession(t.Context(), unknown); !errors.As(err, &away) || away.Code != faas.Unavailable {
				t.Errorf("FindSession = %v, want UNAVAILABLE", err)
			}
			if _, err := r.FindFunction(t.Context(), hello); !errors.As(err, &away) || away.Code != faas.Unavailable {
				t.Errorf("FindFunction = %v, want UNAVAILABLE", err)
			}
		})
	}
}

// A session that was read before a Revoke and arrives after it stays revoked.
func TestRevokeOutrunsFind(t *testing.T) {
	r := newRig(t, registry.Options{})
	id := r.create(t)
	read, arrive := make(chan struct{}), make(chan struct{})
	r.store.inject(func(context.Context) error {
		close(read)
		<-arrive
		return nil
	})
	var finding sync.WaitGroup
	finding.Go(func() { _, _ = r.FindSession(t.Context(), id) })
	<-read
	r.store.fault.Store(nil)
	if err := r.Revoke(t.Context(), faas.Actor{}, id); err != nil {
		t.Fatal(err)
	}
	r.mustMiss(t, id)
	close(arrive)
	finding.Wait()
	r.mustMiss(t, id)
}

func TestRevoke(t *testing.T) {
	r := newRig(t, registry.Options{})
	id := r.create(t)
	r.mustFind(t, id)
	if err := r.Revoke(t.Context(), faas.Actor{}, id); err != nil {
		t.Fatal(err)
	}
	r.mustMiss(t, id)
	if err := r.Revoke(t.Context(), faas.Actor{}, id); !errors.Is(err, faas.ErrNoSession) {
		t.Errorf("a second Revoke = %v, want ErrNoSession", err)
	}
}

func TestFindFunction(t *testing.T) {
	r := newRig(t, registry.Options{})
	if _, err := r.FindFunction(t.Context(), hello); !faas.IsNotFound(err) {
		t.Fatalf("FindFunction = %v, want NOT_FOUND", err)
	}
	if _, err := r.store.CreateFunction(t.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: script}); err != nil {
		t.Fatal(err)
	}
	r.clock.advance(time.Second)
	for range 3 {
		f, err := r.FindFunction(t.Context(), hello)
		if err != nil || f.Version != 1 || f.Script.Digest != script.Digest || f.Script.Source != "" {
			t.Fatalf("FindFunction = %+v, %v", f, err)
		}
	}
	r.wantAsked(t, 2)
	got, err := r.FindScript(t.Context(), script.Digest)
	if diff := cmp.Diff(script, got); err != nil || diff != "" {
		t.Errorf("FindScript: %v (-want +got)\n%s", err, diff)
	}
	if _, err := r.FindScript(t.Context(), "0"); !faas.IsNotFound(err) {
		t.Errorf("FindScript = %v, want NOT_FOUND", err)
	}
}

// What changed is known at once, under each of its names, and nothing else is
// forgotten.
func TestFunctionChanged(t *testing.T) {
	r := newRig(t, registry.Options{})
	other := faas.Ref{Name: faas.Name{Language: faas.NodeJS, Title: "other"}}
	byAlias, byNumber := faas.Ref{Name: hello.Name, Alias: "prod"}, faas.Ref{Name: hello.Name, Version: 2}
	create := func(f faas.Function) {
		t.Helper()
		if _, err := r.store.CreateFunction(t.Context(), faas.Actor{}, f); err != nil {
			t.Fatal(err)
		}
	}
	create(faas.Function{Name: hello.Name, Script: script})
	create(faas.Function{Name: other.Name, Script: script})
	for ref, missing := range map[faas.Ref]bool{hello: false, other: false, byAlias: true, byNumber: true} {
		if _, err := r.FindFunction(t.Context(), ref); faas.IsNotFound(err) != missing {
			t.Fatalf("%s: %v", ref, err)
		}
	}
	if _, err := r.store.AddVersion(t.Context(), faas.Actor{}, faas.Function{Name: hello.Name, Script: script}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.PutAlias(t.Context(), faas.Actor{}, hello.Name, faas.Alias{Name: "prod", Version: 1, Weights: map[int]int{2: 50}}); err != nil {
		t.Fatal(err)
	}
	r.FunctionChanged(t.Context(), hello.Name)
	r.wantAsked(t, 4)
	for ref, want := range map[faas.Ref]int{hello: 2, other: 1, byAlias: 1, byNumber: 2} {
		if f, err := r.FindFunction(t.Context(), ref); err != nil || f.Version != want || len(f.Weights) != len(ref.Alias)/4 {
			t.Errorf("%s is %+v, %v; want version %d", ref, f, err, want)
		}
	}
	r.wantAsked(t, 3) // not for the other
}

func BenchmarkFindSession(b *testing.B) {
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "envoke.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	r := registry.New(registry.Options{Store: db, Key: key, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	s := newSession(time.Hour)
	if err := r.CreateSession(b.Context(), s, &script); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.FindSession(b.Context(), s.ID); err != nil {
			b.Fatal(err)
		}
	}
}
