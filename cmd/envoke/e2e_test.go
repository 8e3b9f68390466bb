package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"envoke/envoy"
	"envoke/internal/testrig"
	"envoke/xds"
)

// asMain makes the test binary behave as envoke: tests that kill need a process of
// their own.
const asMain = "ENVOKE_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	status := testrig.WithPostgres(m).Run()
	for _, i := range []*installation{common, extProcOnly.installation} {
		if i == nil {
			continue
		}
		if err := i.shutdown(); err != nil {
			fmt.Fprintln(os.Stderr, "stop an installation of several tests:", err)
			status = 1
		}
	}
	os.Exit(status)
}

// installation is a running envoke serve.
type installation struct {
	base, operators string // URLs
	dataDir, runDir string
	stdout, stderr  testrig.Text
	stop            context.CancelFunc
	ended           chan error
}

var greeting = regexp.MustCompile(`listens on (https?://\S+) \(operators: (http://\S+)\)`)

// everyFilter is "true" or "false" where all installations shall have the filter in
// Envoy or none, but for what tests of it ask for themselves: see make test-filter.
var everyFilter = os.Getenv("ENVOKE_TEST_FILTER")

// settings are the arguments that keep an installation to itself. It has no filter,
// which takes Envoy seconds of computing: the shared one has.
func (i *installation) settings() []string {
	return []string{
		"--port", "0", "--admin-port", "0", "--log-level", "debug",
		"--data-dir", i.dataDir, "--run-dir", i.runDir, "--cache-dir", cacheDir(),
		"--filter=" + cmp.Or(everyFilter, "false"),
	}
}

// cacheDir is the repository's, so that Envoy is fetched once.
func cacheDir() string {
	if dir := os.Getenv("ENVOKE_CACHE_DIR"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs("../../.envoke/cache")
	if err != nil {
		panic(err)
	}
	return dir
}

// newInstallation has folders of short paths (sockets) but is not started.
func newInstallation() (*installation, error) {
	dir, err := os.MkdirTemp("", "envoke-test-")
	return &installation{
		dataDir: filepath.Join(dir, "data"), runDir: filepath.Join(dir, "run"), ended: make(chan error, 1),
	}, err
}

// start runs envoke serve inside this process and waits for its greeting, and for the
// filter where every installation has it.
func (i *installation) start(args ...string) error {
	if err := i.greet(args); err != nil || everyFilter != "true" || slices.Contains(args, "--filter=false") {
		return err
	}
	return i.awaitFilter()
}

func (i *installation) greet(args []string) error {
	ctx, stop := context.WithCancel(context.Background())
	i.stop = stop
	go func() {
		i.ended <- run(ctx, append(append([]string{"serve"}, i.settings()...), args...), os.Getenv, &i.stdout, &i.stderr)
	}()
	deadline := time.After(2 * time.Minute)
	for {
		if found := greeting.FindStringSubmatch(i.stdout.String()); found != nil {
			i.base, i.operators = found[1], found[2]
			return nil
		}
		select {
		case err := <-i.ended:
			i.ended <- err
			return fmt.Errorf("serve ended: %w\n%s", err, i.stderr.String())
		case <-deadline:
			return fmt.Errorf("serve is not ready:\n%s", i.stderr.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// awaitFilter waits until the filter runs in Envoy: it tells its memory then.
func (i *installation) awaitFilter() error {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		stats, err := i.askAdmin("/stats?filter=envoke_filter_heap_bytes")
		if err != nil {
			return err
		}
		if strings.Contains(stats, "envoke_filter_heap_bytes") {
			return nil
		}
	}
	return errors.New("the filter does not run in Envoy")
}

// shutdown drains and stops it and removes its folders.
func (i *installation) shutdown() error {
	i.stop()
	err := <-i.ended
	i.ended <- err
	_ = os.RemoveAll(filepath.Dir(i.dataDir))
	return err
}

// serve starts an installation of the test's own.
func serve(t *testing.T, args ...string) *installation {
	t.Helper()
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.start(args...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.shutdown(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("the installation's log:\n%s", tail(i.stderr.String(), 16<<10))
		}
	})
	return i
}

var (
	common     *installation
	commonOnce sync.Once
)

// shared is one installation for all tests that leave it as it was.
func shared(t *testing.T) *installation {
	t.Helper()
	commonOnce.Do(func() {
		i, err := newInstallation()
		if err == nil {
			err = i.start("--filter=" + cmp.Or(everyFilter, "true"))
		}
		if err != nil {
			t.Fatal(err)
		}
		common = i
	})
	if common == nil {
		t.Fatal("the common installation did not start")
	}
	return common
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// process is envoke as a process of its own, which can be killed.
type process struct {
	*exec.Cmd
	stdout, stderr testrig.Text
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], args...)}
	p.Env = append(os.Environ(), asMain+"=1")
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		if t.Failed() {
			t.Logf("envoke %s:\n%s", args[0], tail(p.stderr.String(), 8<<10))
		}
	})
	return p
}

// reply is what a caller got.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// errorBody is the documented shape of every error.
type errorBody struct {
	Error struct {
		Code    string         `json:"code"`
		Message string         `json:"message"`
		Details map[string]any `json:"details"`
	} `json:"error"`
	RequestID string `json:"request_id"`
}

var client = &http.Client{
	Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64, DisableCompression: true},
	Timeout:   time.Minute,
}

// send makes a request; headers are pairs of name and value.
func send(method, url, body string, headers ...string) (reply, error) {
	return sendBy(client, method, url, body, headers...)
}

func sendBy(client *http.Client, method, url, body string, headers ...string) (reply, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	answer, err := client.Do(request)
	if err != nil {
		return reply{}, err
	}
	return read(answer)
}

func read(answer *http.Response) (reply, error) {
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, raw}, err
}

// send is send to the installation. Every reply is held against the API's document.
func (i *installation) send(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := send(method, i.base+path, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if err := documented().check(method, path, r); err != nil {
		t.Errorf("%s %s: %d %.300s is not what the document says: %v", method, path, r.status, r.body, err)
	}
	return r
}

// initialize returns the new session's id.
func (i *installation) initialize(t *testing.T, script string) string {
	t.Helper()
	return i.initializeWith(t, map[string]any{"script_content": script})
}

func (i *installation) initializeWith(t *testing.T, body map[string]any) string {
	t.Helper()
	return i.initializeAs(t, "nodejs-test", body)
}

func (i *installation) initializeAs(t *testing.T, name string, body map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := i.send(t, http.MethodPost, "/api/v1/initialize", string(raw), "Language-Title", name)
	var session struct {
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(r.body, &session); err != nil || r.status != http.StatusOK {
		t.Fatalf("initialize: %d %s", r.status, r.body)
	}
	return session.RequestID
}

func (i *installation) execute(t *testing.T, id, params string, headers ...string) reply {
	t.Helper()
	return i.send(t, http.MethodPost, "/api/v1/execute/"+id, `{"params":`+params+`}`, headers...)
}

// result is the raw JSON of a success.
func (r reply) result(t *testing.T) string {
	t.Helper()
	var envelope struct {
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(r.body, &envelope); err != nil || r.status != http.StatusOK {
		t.Fatalf("execute: %d %.1000s", r.status, r.body)
	}
	return string(envelope.Result)
}

// isError checks the status, the code and the shape that all errors share.
//
// The component may be "a or b": a bad name is refused by the filter in Envoy, or,
// before that has loaded, by whoever is next.
func (r reply) isError(t *testing.T, status int, code, component string) errorBody {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal(r.body, &e); err != nil {
		t.Fatalf("%d: the body is no JSON (%v): %.500s", r.status, err, r.body)
	}
	id := r.header.Get("X-Request-Id")
	if got := fmt.Sprint(e.Error.Details["component"]); r.status != status || e.Error.Code != code || !slices.Contains(strings.Split(component, " or "), got) {
		t.Errorf("got %d %.500s, want %d %s from %s", r.status, r.body, status, code, component)
	}
	if e.Error.Message == "" || e.RequestID == "" || e.RequestID != id {
		t.Errorf("message %q, request_id %q, header %q", e.Error.Message, e.RequestID, id)
	}
	if kind := r.header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("content-type %q", kind)
	}
	return e
}

// adminOf speaks with Envoy's own admin socket.
func (i *installation) adminOf(t *testing.T, path string) string {
	t.Helper()
	answer, err := i.askAdmin(path)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (i *installation) askAdmin(path string) (string, error) {
	socket := filepath.Join(i.runDir, "envoy-admin.sock")
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	answer, err := c.Get("http://envoy" + path)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	return string(raw), err
}

// listenerAddress is where the Envoy of an admin socket listens; empty: not yet.
func listenerAddress(t *testing.T, socket string) string {
	t.Helper()
	handle := envoy.New(envoy.Options{Bootstrap: envoy.Bootstrap{AdminSocket: socket}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	address, _ := handle.ListenerAddr(ctx, xds.ListenerName)
	return address
}
