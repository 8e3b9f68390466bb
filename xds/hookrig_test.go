package xds

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"envoke/internal/faas"
	"envoke/internal/logs"
	"envoke/internal/registry"
	"envoke/internal/routing"
	"envoke/internal/sqlite"
	"envoke/internal/testrig"
	"envoke/runtimes/bundle"
	"envoke/runtimes/hook"
	"envoke/runtimes/host"
	"envoke/runtimes/nodejs"
	"envoke/runtimes/pool"
	"envoke/runtimes/rpc"
)

// hookRig is a stack whose host of JavaScript is a real one, with a real control behind it and
// real workers.
type hookRig struct {
	*stack
	store    *sqlite.Store
	registry *registry.Registry
	host     *host.Host
	wire     *testrig.Wire // between Envoy and the host's gRPC
	metrics  *prometheus.Registry
	bundles  *bundle.Bundles

	stopControl func()
	killHost    func() // its gRPC, with all connections
	mu          sync.Mutex
	failures    []faas.Failure
}

func newHookRig(t testing.TB) *hookRig {
	t.Helper()
	dir := testrig.Dir(t)
	r := &hookRig{metrics: prometheus.NewRegistry()}
	r.addControl(t, dir)
	r.addHost(t, dir)
	r.serveHooks(t, dir)
	testrig.Eventually(t, "the host reaches control", r.bundles.Ready)
	r.stack = newStack(t, func(s *State) {
		s.MaxTimeout = 10 * time.Second
		s.Runtimes = []Runtime{{
			Language: faas.NodeJS, Endpoints: []Endpoint{{Path: filepath.Join(dir, "host.sock")}}, GRPC: []Endpoint{{Path: r.wire.Path}},
		}}
	})
	r.synced()
	return r
}

func (r *hookRig) addControl(t testing.TB, dir string) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r.store = store
	r.registry = registry.New(registry.Options{
		Store: store, Key: faas.NewSessionKey(), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	server := grpc.NewServer(registry.ServerOptions()...)
	r.registry.Register(server)
	testrig.Serve(t, r.registry.Serve)
	r.stopControl = serveGRPC(t, filepath.Join(dir, "control.sock"), server)
}

func (r *hookRig) addHost(t testing.TB, dir string) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	interpreter, err := nodejs.Find(t.Context(), os.Getenv("NODE"))
	if err != nil {
		t.Fatal(err)
	}
	command, err := nodejs.Prepare(dir, interpreter, 0)
	if err != nil {
		t.Fatal(err)
	}
	workers := pool.New(pool.Options{
		Runtime: pool.Runtime{Language: faas.NodeJS, Argv: command.Argv, Env: command.Env, Read: command.Files}, Idle: 1, Registerer: r.metrics,
	})
	r.bundles = bundle.New(bundle.Options{
		Conn: testrig.Connect(t, "unix:"+filepath.Join(dir, "control.sock")), Host: t.Name(), Language: faas.NodeJS, Logger: logger,
		Registerer: r.metrics, MaxSessions: 1000, MaxScriptBytes: 1 << 20,
	})
	r.host = host.New(host.Options{
		Language: faas.NodeJS, Version: "test", Engine: workers, Bundles: r.bundles,
		MaxTimeout: 10 * time.Second, MaxScript: 64 << 10, MaxBody: 64 << 10, MaxMemoryMB: 128, NoEgress: func(bool) string { return "" },
		SessionExpiry: time.Hour, Logger: logger, Registerer: r.metrics, Failed: func(faas.Failure) {},
	})
	testrig.Serve(t, workers.Serve)
	testrig.Serve(t, r.bundles.Serve)
	listener := testrig.Listen(t, filepath.Join(dir, "host.sock"))
	testrig.Serve(t, func(ctx context.Context) error { return r.host.Serve(ctx, listener) })
}

// serveHooks has the host answer gRPC, until killHost.
func (r *hookRig) serveHooks(t testing.TB, dir string) {
	t.Helper()
	failed := func(f faas.Failure) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failures = append(r.failures, f)
	}
	logger := slog.New(slog.DiscardHandler)
	server := rpc.New(rpc.Options{
		Language: faas.NodeJS, Version: "test", Host: r.host, MaxTimeout: 10 * time.Second, MaxMessage: 1 << 20,
		Output: &logs.Output{}, Failed: func(faas.Failure) {}, Metrics: r.metrics, Logger: logger,
		Hooks: hook.New(hook.Options{Language: faas.NodeJS, Host: r.host, Failed: failed, Logger: logger, Registerer: r.metrics}),
	})
	path := filepath.Join(dir, "grpc.sock")
	listener := &mortal{Listener: testrig.Listen(t, path)}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	r.killHost = sync.OnceFunc(func() {
		cancel()
		listener.kill()
		<-served
	})
	t.Cleanup(r.killHost)
	r.wire = testrig.NewWire(t, path)
}

// mortal is a listener that can be killed with all its connections.
type mortal struct {
	net.Listener

	mu   sync.Mutex
	open []net.Conn
}

func (m *mortal) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()
	if err == nil {
		m.mu.Lock()
		m.open = append(m.open, conn)
		m.mu.Unlock()
	}
	return conn, err
}

func (m *mortal) kill() {
	_ = m.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, conn := range m.open {
		_ = conn.Close()
	}
}

// register adds versions of a function, and waits until the host knows.
func (r *hookRig) register(title string, sources ...string) faas.Name {
	r.t.Helper()
	name := faas.Name{Language: faas.NodeJS, Title: title}
	for _, source := range sources {
		put := r.store.AddVersion
		if _, err := r.store.FindFunction(r.t.Context(), faas.Ref{Name: name}); err != nil {
			put = r.store.CreateFunction
		}
		f := faas.Function{Name: name, Script: faas.NewScript(faas.NodeJS, source, nil)}
		if _, err := put(r.t.Context(), faas.Actor{}, f); err != nil {
			r.t.Fatal(err)
		}
	}
	r.registry.FunctionChanged(r.t.Context(), name)
	return name
}

// onRequest and onResponse are hooks of a function.
func onRequest(function string, mode routing.FailureMode) routing.Hooks {
	return routing.Hooks{Request: &routing.Hook{Function: function, Deadline: routing.Duration(5 * time.Second), FailureMode: mode}}
}

func onResponse(function string, mode routing.FailureMode) routing.Hooks {
	return routing.Hooks{Response: onRequest(function, mode).Request}
}

// failed is the failure of a request, once it was told.
func (r *hookRig) failed(id string) faas.Failure {
	r.t.Helper()
	var found faas.Failure
	testrig.Eventually(r.t, "the failure of "+id, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, f := range r.failures {
			if f.RequestID == id {
				found = f
				return true
			}
		}
		return false
	})
	return found
}

// get asks for a path; headers are name, value, name, value…
func (r *hookRig) get(path string, headers ...string) (status int, header http.Header, body string) {
	r.t.Helper()
	reply := r.do(http.MethodGet, path, "", headers...)
	return reply.Status, reply.Header, string(reply.Body)
}
