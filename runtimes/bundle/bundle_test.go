package bundle_test

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
	"google.golang.org/grpc"

	"envoke/internal/faas"
	"envoke/internal/registry"
	"envoke/internal/sqlite"
	"envoke/internal/testrig"
	"envoke/runtimes/bundle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = faas.SessionKey("0123456789abcdef0123456789abcdef")

// control is a real control on a Unix socket, which a test may stop and start
// again over the same store.
type control struct {
	path  string
	store *sqlite.Store

	*registry.Registry
	secrets atomic.Pointer[faas.Secrets]                     // of the owner ada
	asked   *atomic.Int32                                    // calls but for watches
	fault   atomic.Pointer[func(context.Context, any) error] // runs after a call was answered inside
	stop    func()
}

func newControl(t testing.TB) *control {
	t.Helper()
	dir := testrig.Dir(t)
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	c := &control{path: filepath.Join(dir, "control.sock"), store: store, asked: &atomic.Int32{}}
	c.start(t)
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *control) start(t testing.TB) {
	t.Helper()
	c.Registry = registry.New(registry.Options{
		Store: c.store, Key: key, Secrets: c.values, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	listener := testrig.Listen(t, c.path)
	server := grpc.NewServer(append(registry.ServerOptions(), grpc.UnaryInterceptor(c.intercept))...)
	c.Register(server)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Serve(ctx) })
	running.Go(func() { _ = server.Serve(listener) })
	c.stop = sync.OnceFunc(func() {
		cancel()
		server.Stop()
		running.Wait()
	})
}

func (c *control) intercept(ctx context.Context, in any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	c.asked.Add(1)
	out, err := handle(ctx, in)
	if fault := c.fault.Load(); fault != nil {
		if failed := (*fault)(ctx, in); failed != nil {
			return nil, failed
		}
	}
	return out, err
}

func (c *control) inject(fault func(context.Context, any) error) { c.fault.Store(&fault) }

func (c *control) wantAsked(t *testing.T, want int32) {
	t.Helper()
	if got := c.asked.Swap(0); got != want {
		t.Errorf("control was asked %d times, want %d", got, want)
	}
}

func options(t testing.TB, path string) bundle.Options {
	t.Helper()
	return bundle.Options{
		Conn: testrig.Connect(t, "unix:"+path), Host: t.Name(), Language: faas.NodeJS, Logger: slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewPedanticRegistry(), MaxSessions: 1000, MaxScriptBytes: 1 << 20,
	}
}

// newHost makes bundles that watch, and waits until they do.
func newHost(t testing.TB, c *control) *bundle.Bundles {
	t.Helper()
	b := bundle.New(options(t, c.path))
	testrig.Serve(t, b.Serve)
	testrig.Eventually(t, "the host is ready", b.Ready)
	return b
}

func newSession(expiry time.Duration) *bundle.Session {
	now := time.Now().UTC().Truncate(time.Millisecond)
	script := faas.NewScript(faas.NodeJS, "return 1", nil)
	return &bundle.Session{Script: script, Session: faas.Session{
		ID: key.NewID(faas.NodeJS, true), Name: faas.Name{Language: faas.NodeJS, Title: "hello"},
		Digest: script.Digest, Owner: "session:x", Context: []byte(`{"a":1}`),
		CompileStatus: faas.CompileSuccess, Status: faas.Active,
		CreatedAt: now, ExpiresAt: now.Add(expiry),
	}}
}

// create stores a session past the host.
func (c *control) create(t testing.TB) *bundle.Session {
	t.Helper()
	s := newSession(time.Hour)
	if err := c.CreateSession(t.Context(), s.Session, &s.Script); err != nil {
		t.Fatal(err)
	}
	return s
}

func mustFind(t *testing.T, b *bundle.Bundles, id faas.SessionID) {
	t.Helper()
	if _, err := b.Session(t.Context(), id); err != nil {
		t.Fatalf("Session = %v", err)
	}
}

func mustMiss(t *testing.T, b *bundle.Bundles, id faas.SessionID) {
	t.Helper()
	if _, err := b.Session(t.Context(), id); !errors.Is(err, faas.ErrNoSession) {
		t.Fatalf("Session = %v, want ErrNoSession", err)
	}
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	if e := faas.AsError(err); err == nil || e.Code != faas.Unavailable {
		t.Errorf("error = %v, want UNAVAILABLE", err)
	}
}

func TestFetchOnceThenHold(t *testing.T) {
	c := newControl(t)
	b, want := newHost(t, c), c.create(t)
	for range 3 {
		got, err := b.Session(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	}
	c.wantAsked(t, 2) // the session and its script
}

// loads is a check of code that has nothing to say against it.
func loads() error { return nil }

// What is refused meanwhile is no session: not here, not at control, and its script is
// gone too.
func TestCreateIsUndone(t *testing.T) {
	c := newControl(t)
	b, s := newHost(t, c), newSession(time.Hour)
	refused := errors.New("it does not load")
	stored := func() bool { _, err := c.store.FindScript(t.Context(), s.Digest); return err == nil }
	err := b.Create(t.Context(), s, true, func() error {
		testrig.Eventually(t, "control has it", stored)
		return refused
	})
	if !errors.Is(err, refused) {
		t.Errorf("Create = %v", err)
	}
	testrig.Eventually(t, "control has forgotten it", func() bool { return !stored() })
	mustMiss(t, b, s.ID)
	mustMiss(t, newHost(t, c), s.ID)
}

// A control that goes away while the code is loaded loses no session: it is offered again, to
// whoever is there then.
func TestCreateOutlivesAControl(t *testing.T) {
	c := newControl(t)
	b, s := newHost(t, c), newSession(time.Hour)
	stored := func() bool { _, err := c.store.FindScript(t.Context(), s.Digest); return err == nil }
	err := b.Create(t.Context(), s, true, func() error {
		testrig.Eventually(t, "control has it", stored)
		c.stop()
		c.start(t)
		return nil
	})
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	mustFind(t, b, s.ID)
	mustFind(t, newHost(t, c), s.ID)
}

// A session whose code is not ready is kept as pending, here and at control, until SetBuild
// says more; not beyond its end.
func TestPending(t *testing.T) {
	c := newControl(t)
	b, other, s := newHost(t, c), newHost(t, c), newSession(time.Hour)
	err := b.Create(t.Context(), s, true, func() error {
		s.CompileStatus, s.Build.Step = faas.CompilePending, "compiling"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []*bundle.Bundles{b, other} {
		if found, err := host.Session(t.Context(), s.ID); err != nil || found.CompileStatus != faas.CompilePending || found.Build.Step != "compiling" {
			t.Errorf("it is %+v, %v", found, err)
		}
	}
	if err := b.SetBuild(t.Context(), s.ID, faas.CompileError, faas.Build{Error: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	if found, err := b.Session(t.Context(), s.ID); err != nil || found.CompileStatus != faas.CompileError || string(found.Build.Error) != `{}` {
		t.Errorf("it is %+v, %v", found, err)
	}
	if err := b.SetBuild(t.Context(), newSession(time.Hour).ID, faas.CompileSuccess, faas.Build{}); !faas.IsNotFound(err) {
		t.Errorf("SetBuild of no session = %v", err)
	}
}

func TestCreateHolds(t *testing.T) {
	c := newControl(t)
	b, s := newHost(t, c), newSession(time.Hour)
	if err := b.Create(t.Context(), s, true, loads); err != nil {
		t.Fatal(err)
	}
	mustFind(t, b, s.ID)
	c.wantAsked(t, 0)
	mustFind(t, newHost(t, c), s.ID) // any other host can serve it too
	var conflict *faas.Error
	if err := b.Create(t.Context(), s, true, loads); !errors.As(err, &conflict) || conflict.Code != faas.Conflict {
		t.Errorf("a second Create = %v, want CONFLICT", err)
	}
	mustFind(t, newHost(t, c), s.ID) // it has not undone the first
}

func TestForgedIDsCostNothing(t *testing.T) {
	c := newControl(t)
	b := newHost(t, c)
	for _, id := range []faas.SessionID{
		"", "x", "../..", faas.SessionKey("another").NewID(faas.NodeJS, true), key.NewID(faas.Python, true),
	} {
		mustMiss(t, b, id)
	}
	c.wantAsked(t, 0)
	mustMiss(t, b, key.NewID(faas.NodeJS, true)) // ours, but unknown
	c.wantAsked(t, 1)
}

func TestExpiredIsDropped(t *testing.T) {
	c := newControl(t)
	b, s := newHost(t, c), newSession(50*time.Millisecond)
	if err := b.Create(t.Context(), s, true, loads); err != nil {
		t.Fatal(err)
	}
	testrig.Eventually(t, "the session expires", func() bool {
		_, err := b.Session(t.Context(), s.ID)
		return errors.Is(err, faas.ErrNoSession)
	})
	mustMiss(t, b, s.ID)
}

// Sessions of one registered function share its code.
func TestSharedScriptIsFetchedOnce(t *testing.T) {
	c := newControl(t)
	b := newHost(t, c)
	function := faas.Function{Name: faas.Name{Language: faas.NodeJS, Title: "hello"}, Script: newSession(0).Script}
	if _, err := c.store.CreateFunction(t.Context(), faas.Actor{}, function); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s := newSession(time.Hour)
		s.Version = 1
		if err := c.CreateSession(t.Context(), s.Session, nil); err != nil {
			t.Fatal(err)
		}
		mustFind(t, b, s.ID)
	}
	c.wantAsked(t, 3+1) // the script
}

func TestManyAskOnce(t *testing.T) {
	c := newControl(t)
	b, s := newHost(t, c), c.create(t)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { mustFind(t, b, s.ID) })
	}
	all.Wait()
	c.wantAsked(t, 2)
}
