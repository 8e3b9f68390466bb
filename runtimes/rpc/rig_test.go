package rpc

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"envoke/internal/faas"
	"envoke/internal/logs"
	"envoke/internal/registry"
	"envoke/internal/sqlite"
	"envoke/internal/testrig"
	"envoke/migrations"
	"envoke/runtimes/bundle"
	"envoke/runtimes/host"
	"envoke/runtimes/nodejs"
	"envoke/runtimes/pool"
	"envoke/runtimes/runtimepb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testMaxMessage = 6 << 20
	testMaxScript  = 1 << 10
)

// rig is a server over a real host, with a real control and real workers.
type rig struct {
	runtimepb.RuntimeServiceClient
	health healthv1.HealthClient
	conn   *grpc.ClientConn
	pool   *pool.Pool
	store  *sqlite.Store
	output *logs.Output
	level  slog.LevelVar
	// startControl lets the host reach control, stop drains the server.
	startControl func()
	stop         func() error

	dir, address string
}

// newRig makes a rig whose host has reached control.
func newRig(t *testing.T, maxTimeout time.Duration) *rig {
	t.Helper()
	r := newCutOffRig(t, maxTimeout)
	r.startControl()
	testrig.Eventually(t, "the host to serve", func() bool {
		reply, err := r.health.Check(t.Context(), &healthv1.HealthCheckRequest{})
		return err == nil && reply.GetStatus() == healthv1.HealthCheckResponse_SERVING
	})
	return r
}

// newCutOffRig makes a rig whose control is not there yet.
func newCutOffRig(t *testing.T, maxTimeout time.Duration) *rig {
	t.Helper()
	r := &rig{dir: testrig.Dir(t), output: &logs.Output{}}
	r.address = "unix:" + filepath.Join(r.dir, "rpc.sock")
	r.addControl(t)
	metrics := prometheus.NewPedanticRegistry()
	served := r.newHost(t, metrics, maxTimeout)
	server := New(Options{
		Language: faas.NodeJS, Version: "test", Host: served, MaxTimeout: maxTimeout, MaxMessage: testMaxMessage,
		Output: r.output, Failed: func(faas.Failure) {}, Metrics: metrics, Logger: slog.New(slog.DiscardHandler),
		LogLevel: &r.level, Idle: r.pool, MaxIdle: 4,
	})
	r.stop = serve(t, server, testrig.Listen(t, filepath.Join(r.dir, "rpc.sock")))
	r.conn = testrig.Connect(t, r.address)
	r.RuntimeServiceClient, r.health = runtimepb.NewRuntimeServiceClient(r.conn), healthv1.NewHealthClient(r.conn)
	return r
}

// serve returns what ends the server and waits; the test's end does so too.
func serve(t *testing.T, server *Server, listener net.Listener) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	stop = sync.OnceValue(func() error { cancel(); return <-served })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return stop
}

func (r *rig) addControl(t *testing.T) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(r.dir, "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := migrations.Seed(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	r.store = store
	r.startControl = func() {
		control := registry.New(registry.Options{
			Store: store, Key: faas.NewSessionKey(), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		})
		server := grpc.NewServer(registry.ServerOptions()...)
		control.Register(server)
		listener := testrig.Listen(t, filepath.Join(r.dir, "control.sock"))
		testrig.Serve(t, control.Serve)
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		t.Cleanup(func() { server.Stop(); <-served })
	}
}

func (r *rig) newHost(t *testing.T, metrics *prometheus.Registry, maxTimeout time.Duration) *host.Host {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	bundles := bundle.New(bundle.Options{
		Conn: testrig.Connect(t, "unix:"+filepath.Join(r.dir, "control.sock")), Host: t.Name(), Language: faas.NodeJS,
		Logger: logger, Registerer: metrics, MaxSessions: 1000, MaxScriptBytes: 1 << 20,
	})
	r.pool = pool.New(pool.Options{
		Runtime: javaScript(t, r.dir), Idle: 1, Registerer: metrics, Layers: layers(t),
		Log: func(line pool.LogLine) {
			r.output.Add(logs.Line{
				RequestID: line.RequestID, Owner: line.Owner, Time: time.Now(), Level: line.Level.String(), Text: line.Text,
			})
		},
	})
	testrig.Serve(t, r.pool.Serve)
	testrig.Serve(t, bundles.Serve)
	return host.New(host.Options{
		Language: faas.NodeJS, Version: "test", Engine: r.pool, Bundles: bundles,
		MaxTimeout: maxTimeout, MaxScript: testMaxScript, MaxBody: testMaxMessage, MaxMemoryMB: 128, NoEgress: func(bool) string { return "" },
		SessionExpiry: time.Hour, Failed: func(faas.Failure) {}, Logger: logger, Registerer: metrics,
	})
}

// layers are a folder with one package.
func layers(t *testing.T) pinned {
	t.Helper()
	dir := testrig.OpenDir(t)
	module := filepath.Join(dir, "node_modules", "left", "index.js")
	err := os.MkdirAll(filepath.Dir(module), 0o755)
	if err == nil {
		err = os.WriteFile(module, []byte("module.exports = 'left'"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pinned(dir)
}

func javaScript(t *testing.T, dir string) pool.Runtime {
	t.Helper()
	interpreter, err := nodejs.Find(t.Context(), os.Getenv("NODE"))
	if err != nil {
		t.Fatal(err)
	}
	command, err := nodejs.Prepare(dir, interpreter, 0)
	if err != nil {
		t.Fatal(err)
	}
	return pool.Runtime{Language: faas.NodeJS, Argv: command.Argv, Env: command.Env, Read: command.Files}
}

// session makes a session of a script and returns its id.
func (r *rig) session(t *testing.T, script, sessionContext string) string {
	t.Helper()
	reply, err := r.Initialize(t.Context(), &runtimepb.InitializeRequest{
		LanguageTitle: "nodejs-test", ScriptContent: &script, Context: sessionContext,
	})
	if err != nil {
		t.Fatal(err)
	}
	return reply.GetRequestId()
}

// failure is what a test looks at of a status.
type failure struct {
	Code    codes.Code
	Reason  string
	Message string
}

func failureOf(t *testing.T, err error) failure {
	t.Helper()
	return failure{status.Code(err), info(t, err).GetReason(), status.Convert(err).Message()}
}

// info is the ErrorInfo of a status, empty where there is none.
func info(t *testing.T, err error) *errdetails.ErrorInfo {
	t.Helper()
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return &errdetails.ErrorInfo{}
}

// logged is a logger and what it writes.
func logged(level *slog.LevelVar) (*bytes.Buffer, *slog.Logger) {
	var b bytes.Buffer
	return &b, slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: level}))
}
