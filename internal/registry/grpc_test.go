package registry_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/internal/registry"
	"envoke/internal/testrig"
)

// connect serves the registry to the client that it returns.
func (r rig) connect(t *testing.T) controlpb.ControlClient {
	t.Helper()
	testrig.Serve(t, r.Serve)
	client, _ := r.dial(t)
	return client
}

// dial offers the registry on a gRPC connection of its own.
func (r rig) dial(t *testing.T) (controlpb.ControlClient, *grpc.Server) {
	t.Helper()
	server := grpc.NewServer(registry.ServerOptions()...)
	r.Register(server)
	return controlpb.NewControlClient(testrig.Dial(t, server)), server
}

// host is a watching host, as the wire sees it.
type host struct {
	grpc.BidiStreamingClient[controlpb.WatchRequest, controlpb.WatchResponse]
	hello *controlpb.WatchResponse
}

func watch(t *testing.T, client controlpb.ControlClient) host {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	stream, err := client.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&controlpb.WatchRequest{Host: "h1", Language: "nodejs"}); err != nil {
		t.Fatal(err)
	}
	h := host{BidiStreamingClient: stream}
	h.hello = h.next(t)
	return h
}

func (h host) next(t *testing.T) *controlpb.WatchResponse {
	t.Helper()
	message, err := h.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// revocation reads on until a revocation comes.
func (h host) revocation(t *testing.T) *controlpb.WatchResponse {
	t.Helper()
	for {
		if m := h.next(t); len(m.GetRevokedSessions()) > 0 {
			return m
		}
	}
}

func TestSessionOverTheWire(t *testing.T) {
	client := newRig(t, registry.Options{}).connect(t)
	want := newSession(time.Hour)
	request := &controlpb.CreateSessionRequest{Session: controlpb.NewSession(&want), Script: controlpb.NewScript(&script)}
	if err := create(t.Context(), client, request); err != nil {
		t.Fatal(err)
	}
	if err := create(t.Context(), client, request); status.Code(err) != codes.AlreadyExists {
		t.Errorf("a second CreateSession = %v", err)
	}
	if _, err := client.FindSession(t.Context(), &controlpb.FindSessionRequest{Id: string(want.ID)}); err != nil {
		t.Errorf("FindSession = %v", err)
	}
	if _, err := client.FindSession(t.Context(), &controlpb.FindSessionRequest{Id: "x"}); status.Code(err) != codes.NotFound {
		t.Errorf("FindSession of a forged id = %v", err)
	}
	got, err := client.FindScript(t.Context(), &controlpb.FindScriptRequest{Digest: string(script.Digest)})
	if err != nil || got.GetSource() != script.Source {
		t.Errorf("FindScript = %v, %v", got, err)
	}
	if _, err := client.FindFunction(t.Context(), &controlpb.FindFunctionRequest{LanguageTitle: "nodejs-a"}); status.Code(err) != codes.NotFound {
		t.Errorf("FindFunction = %v", err)
	}
	if _, err := client.FindFunction(t.Context(), &controlpb.FindFunctionRequest{LanguageTitle: "nodejs-a@0"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("FindFunction of no version = %v", err)
	}
	if _, err := client.FindFunction(t.Context(), &controlpb.FindFunctionRequest{LanguageTitle: "../a"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("FindFunction of no name = %v", err)
	}
}

// create makes a session and keeps it.
func create(ctx context.Context, client controlpb.ControlClient, request *controlpb.CreateSessionRequest) error {
	stream, err := offer(ctx, client, request)
	if err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err = stream.Recv(); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// offer makes a session, as long as the context lasts.
func offer(ctx context.Context, client controlpb.ControlClient, request *controlpb.CreateSessionRequest) (controlpb.Control_CreateSessionClient, error) {
	stream, err := client.CreateSession(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	_, err = stream.Recv()
	return stream, err
}

// A session is gone whose host does not keep it: it went away, or was at a loss.
func TestSessionThatIsNotKept(t *testing.T) {
	client := newRig(t, registry.Options{}).connect(t)
	for name, end := range map[string]func(stream controlpb.Control_CreateSessionClient, cancel context.CancelFunc){
		"gone": func(_ controlpb.Control_CreateSessionClient, cancel context.CancelFunc) { cancel() },
		"a second request": func(stream controlpb.Control_CreateSessionClient, _ context.CancelFunc) {
			_ = stream.Send(&controlpb.CreateSessionRequest{})
			if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
				t.Errorf("control says %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			session := newSession(time.Hour)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream, err := offer(ctx, client, &controlpb.CreateSessionRequest{Session: controlpb.NewSession(&session), Script: controlpb.NewScript(&script)})
			if err != nil {
				t.Fatal(err)
			}
			find := func() error {
				_, err := client.FindScript(t.Context(), &controlpb.FindScriptRequest{Digest: string(script.Digest)})
				return err
			}
			if err := find(); err != nil {
				t.Fatalf("it is not stored at once: %v", err)
			}
			end(stream, cancel)
			testrig.Eventually(t, "it is undone", func() bool { return status.Code(find()) == codes.NotFound })
			if _, err := client.FindSession(t.Context(), &controlpb.FindSessionRequest{Id: string(session.ID)}); status.Code(err) != codes.NotFound {
				t.Errorf("FindSession = %v", err)
			}
		})
	}
}

func TestCreateSessionIsChecked(t *testing.T) {
	client := newRig(t, registry.Options{}).connect(t)
	for _, tt := range []struct {
		name  string
		spoil func(s *faas.Session, script *faas.Script)
		want  codes.Code
	}{
		{"forged id", func(s *faas.Session, _ *faas.Script) { s.ID = faas.SessionKey("other").NewID(faas.NodeJS, true) }, codes.InvalidArgument},
		{"no id", func(s *faas.Session, _ *faas.Script) { s.ID = "" }, codes.InvalidArgument},
		{"no name", func(s *faas.Session, _ *faas.Script) { s.Name.Title = "" }, codes.InvalidArgument},
		{"other language", func(s *faas.Session, _ *faas.Script) { s.Name.Language = faas.Rust }, codes.InvalidArgument},
		{"expired", func(s *faas.Session, _ *faas.Script) { s.ExpiresAt = s.CreatedAt }, codes.InvalidArgument},
		{"other script", func(_ *faas.Session, script *faas.Script) { script.Source += " " }, codes.InvalidArgument},
		{"huge context", func(s *faas.Session, _ *faas.Script) { s.Context = make([]byte, 1<<20+1) }, codes.OutOfRange},
		{"huge schema", func(s *faas.Session, _ *faas.Script) { s.Schema = make([]byte, 64<<10+1) }, codes.OutOfRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			session, code := newSession(time.Hour), script
			tt.spoil(&session, &code)
			request := &controlpb.CreateSessionRequest{Session: controlpb.NewSession(&session), Script: controlpb.NewScript(&code)}
			if err := create(t.Context(), client, request); status.Code(err) != tt.want {
				t.Errorf("CreateSession = %v, want %v", err, tt.want)
			}
		})
	}
	if err := create(t.Context(), client, &controlpb.CreateSessionRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an empty CreateSession = %v", err)
	}
}

func TestInternalTextsStayInside(t *testing.T) {
	r := newRig(t, registry.Options{})
	client, id := r.connect(t), r.create(t)
	r.store.inject(func(context.Context) error { return context.Canceled })
	_, err := client.FindSession(t.Context(), &controlpb.FindSessionRequest{Id: string(id)})
	if status.Code(err) != codes.Canceled || strings.Contains(err.Error(), "find session") {
		t.Errorf("FindSession = %v", err)
	}
}

func TestWatchBeginsWithTheKey(t *testing.T) {
	client := newRig(t, registry.Options{}).connect(t)
	first := watch(t, client).hello
	if string(first.GetSessionKey()) != string(key) || first.GetEpoch() == "" {
		t.Errorf("hello = %v", first)
	}
	if again := watch(t, client).hello; again.GetEpoch() != first.GetEpoch() {
		t.Error("the epoch changed within one process")
	}
	other := watch(t, newRig(t, registry.Options{}).connect(t)).hello
	if other.GetEpoch() == first.GetEpoch() {
		t.Error("two processes have one epoch")
	}
}

func TestWatchNeedsAName(t *testing.T) {
	client := newRig(t, registry.Options{}).connect(t)
	for _, name := range []string{"", strings.Repeat("x", 257)} {
		stream, err := client.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&controlpb.WatchRequest{Host: name})
		if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a name of %d bytes: %v", len(name), err)
		}
	}
}

// Signs of life come at least every 200 ms and never run ahead of what was sent.
func TestWatchIsAlive(t *testing.T) {
	r := newRig(t, registry.Options{})
	h := watch(t, r.connect(t))
	started := time.Now()
	for range 3 {
		if m := h.next(t); m.GetRevision() != h.hello.GetRevision() || m.GetSessionKey() != nil {
			t.Errorf("sign of life: %v", m)
		}
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("three signs of life took %v", took)
	}
}

func TestRevokeWaitsForHosts(t *testing.T) {
	r := newRig(t, registry.Options{})
	client := r.connect(t)
	id := r.create(t)
	hosts := []host{watch(t, client), watch(t, client)}
	revoked := make(chan error, 1)
	go func() { revoked <- r.Revoke(context.WithoutCancel(t.Context()), faas.Actor{}, id) }()
	for i, h := range hosts {
		event := h.revocation(t)
		if event.GetRevokedSessions()[0] != string(id) {
			t.Errorf("event = %v", event)
		}
		select {
		case <-revoked:
			t.Errorf("Revoke returned before host %d acknowledged", i)
		default:
		}
		if err := h.Send(&controlpb.WatchRequest{AckedRevision: event.GetRevision()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-revoked; err != nil {
		t.Error(err)
	}
	if missed := r.counter(t, "envoke_registry_missed_acks_total"); missed != 0 {
		t.Errorf("%v acknowledgements missed", missed)
	}
}

func TestFunctionChangedTellsHosts(t *testing.T) {
	r := newRig(t, registry.Options{})
	h := watch(t, r.connect(t))
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		r.FunctionChanged(context.WithoutCancel(t.Context()), hello.Name)
	}()
	event := h.next(t)
	for len(event.GetChangedFunctions()) == 0 {
		event = h.next(t)
	}
	if diff := cmp.Diff([]string{"nodejs-hello"}, event.GetChangedFunctions()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	select {
	case <-changed:
		t.Error("it returned before the host acknowledged")
	default:
	}
	if err := h.Send(&controlpb.WatchRequest{AckedRevision: event.GetRevision()}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if missed := r.counter(t, "envoke_registry_missed_acks_total"); missed != 0 {
		t.Errorf("%v acknowledgements missed", missed)
	}
}

func TestRevokeDoesNotWaitForever(t *testing.T) {
	r := newRig(t, registry.Options{})
	client := r.connect(t)
	watch(t, client) // and never acknowledges
	id, started := r.create(t), time.Now()
	if err := r.Revoke(t.Context(), faas.Actor{}, id); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took < 400*time.Millisecond || took > 3*time.Second {
		t.Errorf("Revoke took %v, want about 500 ms", took)
	}
	if missed := r.counter(t, "envoke_registry_missed_acks_total"); missed != 1 {
		t.Errorf("%v acknowledgements missed, want 1", missed)
	}
}

// A host that reads but never acknowledges is let go, and control does not wait.
func TestHostThatFallsBehind(t *testing.T) {
	r := newRig(t, registry.Options{})
	h := watch(t, r.connect(t))
	done, cancel := context.WithCancel(t.Context())
	cancel() // nobody waits for acknowledgements
	for range 300 {
		_ = r.Revoke(done, faas.Actor{}, key.NewID(faas.NodeJS, true))
	}
	var err error
	for err == nil {
		_, err = h.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v", err)
	}
	if n := r.counter(t, "envoke_registry_hosts_fell_behind_total"); n != 1 {
		t.Errorf("%v hosts fell behind, want 1", n)
	}
	if hosts := r.counter(t, "envoke_registry_hosts"); hosts != 0 {
		t.Errorf("%v hosts are still counted", hosts)
	}
}

func TestServeEndsWatches(t *testing.T) {
	r := newRig(t, registry.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	client, server := r.dial(t)
	h := watch(t, client)
	cancel()
	if err := r.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	server.GracefulStop() // would hang while a watch is open
	if _, err := h.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v", err)
	}
}

// counter reads a metric without labels.
func (r rig) counter(t *testing.T, name string) float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
