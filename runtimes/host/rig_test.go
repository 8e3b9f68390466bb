package host

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"envoke/internal/faas"
	"envoke/internal/registry"
	"envoke/internal/sqlite"
	"envoke/internal/testrig"
	"envoke/migrations"
	"envoke/runtimes/bundle"
	"envoke/runtimes/interpreter"
	"envoke/runtimes/nodejs"
	"envoke/runtimes/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = faas.SessionKey("0123456789abcdef0123456789abcdef")

const (
	testMaxScript = 1 << 10
	testMaxBody   = 64 << 10
)

// rig is a whole host on a Unix socket, with a real control and real workers. A
// test gives session ids as ext_proc would.
type rig struct {
	*Host
	registry *registry.Registry
	store    *sqlite.Store
	pool     *pool.Pool
	client   *http.Client
	dial     func(context.Context) (net.Conn, error)
	failed   sync.Map // the last error of each request id
	// startControl and stopControl may be called as often as one likes.
	startControl, stopControl func()
}

// newRig makes a rig whose host has reached control.
func newRig(t testing.TB, workers pool.Options) *rig {
	t.Helper()
	r := newCutOffRig(t, workers)
	r.startControl()
	testrig.Eventually(t, "the host reaches control", r.Bundles.Ready)
	return r
}

// newCutOffRig makes a rig whose control is not there yet.
func newCutOffRig(t testing.TB, workers pool.Options) *rig {
	t.Helper()
	dir := testrig.Dir(t)
	r := &rig{}
	r.addControl(t, dir)
	r.addHost(t, dir, workers)
	return r
}

func (r *rig) addControl(t testing.TB, dir string) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := migrations.Seed(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	r.store, r.stopControl = store, func() {}
	r.startControl = func() {
		r.registry = registry.New(registry.Options{
			Store: store, Key: key, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		})
		server := grpc.NewServer(registry.ServerOptions()...)
		r.registry.Register(server)
		listener := testrig.Listen(t, filepath.Join(dir, "control.sock"))
		stopRegistry := start(t, r.registry.Serve)
		stopServer := start(t, func(context.Context) error { return server.Serve(listener) })
		r.stopControl = sync.OnceFunc(func() { stopRegistry(); server.Stop(); stopServer() })
	}
	t.Cleanup(func() {
		r.stopControl()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) addHost(t testing.TB, dir string, workers pool.Options) {
	t.Helper()
	logger, metrics := slog.New(slog.DiscardHandler), prometheus.NewPedanticRegistry()
	workers.Runtime, workers.Registerer, workers.Idle = javaScript(t, dir), metrics, 1
	r.pool = pool.New(workers)
	r.Host = New(Options{
		Language: faas.NodeJS, Version: "test", Engine: r.pool,
		Bundles: bundle.New(bundle.Options{
			Conn: testrig.Connect(t, "unix:"+filepath.Join(dir, "control.sock")), Host: t.Name(), Language: faas.NodeJS, Logger: logger, Registerer: metrics,
			MaxSessions: 1000, MaxScriptBytes: 1 << 20,
		}),
		MaxTimeout: 10 * time.Second, MaxScript: testMaxScript, MaxBody: testMaxBody, MaxMemoryMB: 128, NoEgress: func(bool) string { return "" },
		SessionExpiry: time.Hour, Logger: logger, Registerer: metrics,
		Failed: func(f faas.Failure) { r.failed.Store(f.RequestID, f) },
	})
	listener := testrig.Listen(t, filepath.Join(dir, "host.sock"))
	r.dial = func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", listener.Addr().String())
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return r.dial(ctx) }}
	r.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // functions may answer with one
	}}
	testrig.Serve(t, r.pool.Serve)
	testrig.Serve(t, r.Bundles.Serve)
	testrig.Serve(t, func(ctx context.Context) error { return r.Serve(ctx, listener) })
	t.Cleanup(transport.CloseIdleConnections)
}

func javaScript(t testing.TB, dir string) pool.Runtime {
	t.Helper()
	node, err := findNode()
	if err != nil {
		t.Fatal(err)
	}
	command, err := nodejs.Prepare(dir, node, 0)
	if err != nil {
		t.Fatal(err)
	}
	return pool.Runtime{Language: faas.NodeJS, Argv: command.Argv, Env: command.Env, Read: command.Files}
}

// findNode finds the Node.js under test once: NODE, else the one on PATH.
var findNode = sync.OnceValues(func() (interpreter.Interpreter, error) {
	return nodejs.Find(context.Background(), os.Getenv("NODE"))
})

// start runs serve; what it returns ends that and waits.
func start(t testing.TB, serve func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx) }()
	return func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// reply is what a test looks at of a response.
type reply struct {
	Status     int
	Body       string
	RetryAfter string
	Allow      string
	Close      bool // the connection ends
}

// call is one request; what is left out is as a caller of initialize sends it.
type call struct {
	method string // POST
	path   string
	title  string // nodejs-test
	id     faas.SessionID
	body   io.Reader
}

func (r *rig) do(t testing.TB, c call) reply {
	t.Helper()
	got, err := r.try(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (r *rig) try(ctx context.Context, c call) (reply, error) {
	if c.method == "" {
		c.method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(ctx, c.method, "http://host"+c.path, c.body)
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("X-Request-ID", "trace-1")
	request.Header.Set("Language-Title", c.title)
	request.Header.Set("X-Envoke-Session", string(c.id))
	response, err := r.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{
		Status: response.StatusCode, Body: string(body), Close: response.Close,
		RetryAfter: response.Header.Get("Retry-After"), Allow: response.Header.Get("Allow"),
	}, err
}

// tryInitialize posts the body with a new id.
func (r *rig) tryInitialize(t testing.TB, title, body string) (faas.SessionID, reply) {
	t.Helper()
	id := key.NewID(faas.NodeJS, true)
	return id, r.do(t, call{path: initializePath, title: title, id: id, body: strings.NewReader(body)})
}

// initialize makes a session of the script and returns its id.
func (r *rig) initialize(t testing.TB, script string) faas.SessionID {
	t.Helper()
	source, err := json.Marshal(script)
	if err != nil {
		t.Fatal(err)
	}
	return r.initializeBody(t, "nodejs-test", `{"script_content":`+string(source)+`}`)
}

func (r *rig) initializeBody(t testing.TB, title, body string) faas.SessionID {
	t.Helper()
	id, got := r.tryInitialize(t, title, body)
	if got.Status != http.StatusOK {
		t.Fatalf("initialize: %+v", got)
	}
	return id
}

func (r *rig) execute(t testing.TB, id faas.SessionID, body string) reply {
	t.Helper()
	return r.do(t, call{path: executePath + "/" + string(id), body: strings.NewReader(body)})
}

// result executes and returns the result's JSON as it was written.
func (r *rig) result(t testing.TB, id faas.SessionID, params string) string {
	t.Helper()
	got := r.execute(t, id, `{"params":`+params+`}`)
	var envelope struct{ Result json.RawMessage }
	if err := json.Unmarshal([]byte(got.Body), &envelope); err != nil || got.Status != http.StatusOK {
		t.Fatalf("execute: %+v (%v)", got, err)
	}
	return string(envelope.Result)
}
