package bundle_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/bundle"
)

// When Revoke has returned, no host that watches serves the session.
func TestRevoke(t *testing.T) {
	c := newControl(t)
	hosts := []*bundle.Bundles{newHost(t, c), newHost(t, c)}
	for range 20 {
		s := c.create(t)
		for _, b := range hosts {
			mustFind(t, b, s.ID)
		}
		if err := c.Revoke(t.Context(), faas.Actor{}, s.ID); err != nil {
			t.Fatal(err)
		}
		for _, b := range hosts {
			mustMiss(t, b, s.ID)
		}
	}
}

// An answer that was on its way while its session was revoked is not held.
func TestRevokeOutrunsFetch(t *testing.T) {
	c := newControl(t)
	b, s := newHost(t, c), c.create(t)
	read, arrive := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(read); <-arrive })
	c.inject(func(_ context.Context, in any) error {
		if _, ok := in.(*controlpb.FindSessionRequest); ok {
			once()
		}
		return nil
	})
	var fetching sync.WaitGroup
	fetching.Go(func() { _, _ = b.Session(t.Context(), s.ID) })
	<-read
	c.fault.Store(nil)
	if err := c.Revoke(t.Context(), faas.Actor{}, s.ID); err != nil {
		t.Fatal(err)
	}
	mustMiss(t, b, s.ID)
	close(arrive)
	fetching.Wait()
	mustMiss(t, b, s.ID)
}

// With control away longer than it may be silent, what is held is served and what
// is not is refused.
func TestControlAway(t *testing.T) {
	c := newControl(t)
	b, held := newHost(t, c), c.create(t)
	mustFind(t, b, held.ID)
	c.stop()
	for until := time.Now().Add(time.Second); time.Now().Before(until); {
		mustFind(t, b, held.ID)
	}
	_, err := b.Session(t.Context(), key.NewID(faas.NodeJS, true))
	wantUnavailable(t, err)
	wantUnavailable(t, b.Create(t.Context(), newSession(time.Hour), true, loads))
}

// A revocation that came while a host was cut off holds when it is back.
func TestRevokedWhileCutOff(t *testing.T) {
	c := newControl(t)
	o, metrics := options(t, c.path), prometheus.NewRegistry()
	o.Registerer = metrics
	b := bundle.New(o)
	testrig.Serve(t, b.Serve)
	testrig.Eventually(t, "the host is ready", b.Ready)
	gone, kept := c.create(t), c.create(t)
	mustFind(t, b, gone.ID)
	mustFind(t, b, kept.ID)
	alive := func() bool { return gauge(t, metrics, "envoke_bundle_control_alive") == 1 }
	c.stop()
	testrig.Eventually(t, "control is missed", func() bool { return !alive() })
	if err := c.store.DeleteSession(t.Context(), faas.Actor{}, gone.ID); err != nil {
		t.Fatal(err)
	}
	c.start(t)
	started := time.Now()
	testrig.Eventually(t, "control is heard again", alive)
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("connecting again took %v", took)
	}
	mustMiss(t, b, gone.ID)
	mustFind(t, b, kept.ID)
}

func TestNotReadyWithoutControl(t *testing.T) {
	b := bundle.New(options(t, filepath.Join(t.TempDir(), "none")))
	if b.Ready() {
		t.Error("ready without the key")
	}
	_, err := b.Session(t.Context(), key.NewID(faas.NodeJS, true))
	wantUnavailable(t, err)
}

// mute is a control that says hello and then no more.
type mute struct {
	controlpb.UnimplementedControlServer
	watches chan struct{}
	find    func(context.Context) (*controlpb.Session, error)
}

func (m *mute) Watch(stream grpc.BidiStreamingServer[controlpb.WatchRequest, controlpb.WatchResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	m.watches <- struct{}{}
	if err := stream.Send(&controlpb.WatchResponse{Epoch: "e", SessionKey: key}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (m *mute) CreateSession(stream grpc.BidiStreamingServer[controlpb.CreateSessionRequest, controlpb.CreateSessionResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	if err := stream.Send(&controlpb.CreateSessionResponse{}); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (m *mute) FindSession(ctx context.Context, _ *controlpb.FindSessionRequest) (*controlpb.Session, error) {
	return m.find(ctx)
}

// A host that hears nothing gives the watch up, and asks before it serves.
func TestSilence(t *testing.T) {
	for _, tt := range []struct {
		name   string
		find   func(context.Context) (*controlpb.Session, error)
		served bool
	}{
		{"gone", func(context.Context) (*controlpb.Session, error) {
			return nil, status.Error(codes.NotFound, "")
		}, false},
		{"no answer", func(ctx context.Context) (*controlpb.Session, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, true},
		{"a failure", func(context.Context) (*controlpb.Session, error) {
			return nil, status.Error(codes.Internal, "")
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := &mute{watches: make(chan struct{}, 100), find: tt.find}
			b, s := holdsSession(t, m)
			started := time.Now()
			_, err := b.Session(t.Context(), s.ID)
			if served := err == nil; served != tt.served {
				t.Errorf("Session = %v", err)
			}
			if took := time.Since(started); took > 600*time.Millisecond {
				t.Errorf("asking took %v", took)
			}
		})
	}
}

// A dead control is asked at most every 100 ms, however many want to know.
func TestDeadControlCostsLittle(t *testing.T) {
	asked := make(chan struct{}, 1000)
	m := &mute{watches: make(chan struct{}, 100), find: func(context.Context) (*controlpb.Session, error) {
		asked <- struct{}{}
		return nil, status.Error(codes.Unavailable, "")
	}}
	b, s := holdsSession(t, m)
	started, calls := time.Now(), 0
	for ; time.Since(started) < 250*time.Millisecond; calls++ {
		mustFind(t, b, s.ID)
	}
	most := int(time.Since(started)/(100*time.Millisecond)) + 1
	if got := len(asked); got < 1 || got > most || calls < 100 {
		t.Errorf("%d questions in %d calls, want 1 to %d", got, calls, most)
	}
}

// holdsSession is a host with one session whose control says no more.
func holdsSession(t *testing.T, m *mute) (*bundle.Bundles, *bundle.Session) {
	t.Helper()
	b := bundle.New(options(t, listen(t, m)))
	testrig.Serve(t, b.Serve)
	testrig.Eventually(t, "the host is ready", b.Ready)
	s := newSession(time.Hour)
	if err := b.Create(t.Context(), s, true, loads); err != nil {
		t.Fatal(err)
	}
	<-m.watches
	<-m.watches // the first was given up
	return b, s
}

func listen(t *testing.T, service controlpb.ControlServer) (path string) {
	t.Helper()
	path = filepath.Join(testrig.Dir(t), "control.sock")
	listener := testrig.Listen(t, path)
	server := grpc.NewServer()
	controlpb.RegisterControlServer(server, service)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return path
}

// Bounds: what is held stays within the count and the bytes.
func TestBounds(t *testing.T) {
	c := newControl(t)
	o := options(t, c.path)
	o.MaxSessions, o.MaxScriptBytes = 5, 20_000
	registry := prometheus.NewRegistry()
	o.Registerer = registry
	b := bundle.New(o)
	testrig.Serve(t, b.Serve)
	testrig.Eventually(t, "the host is ready", b.Ready)
	for range 20 {
		s := newSession(time.Hour)
		s.Script = faas.NewScript(faas.NodeJS, string(make([]byte, 4000)), nil)
		s.Digest = s.Script.Digest
		if err := b.Create(t.Context(), s, true, loads); err != nil {
			t.Fatal(err)
		}
		mustFind(t, b, s.ID)
	}
	if held := gauge(t, registry, "envoke_bundle_sessions"); held != 4 {
		t.Errorf("%v sessions are held, want the 4 that fit", held)
	}
	if bytes := gauge(t, registry, "envoke_bundle_held_bytes"); bytes > 20_000 {
		t.Errorf("%v bytes are held", bytes)
	}
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func BenchmarkSession(b *testing.B) {
	c := newControl(b)
	host, s := newHost(b, c), c.create(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := host.Session(b.Context(), s.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func TestHitDoesNotAllocate(t *testing.T) {
	c := newControl(t)
	b, s := newHost(t, c), c.create(t)
	mustFind(t, b, s.ID)
	ctx := t.Context()
	if allocs := testing.AllocsPerRun(1000, func() { _, _ = b.Session(ctx, s.ID) }); allocs >= 1 {
		t.Errorf("%v allocations", allocs)
	}
}
