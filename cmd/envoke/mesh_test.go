package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"envoke/internal/envoytest"
	"envoke/internal/testrig"
)

const staticExample = "../../examples/mesh/static"

// shop is the service of examples/mesh/static, which knows nothing of Envoke: it says what it saw.
func newShop(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-From", "shop")
		fmt.Fprintf(w, "%s %s checked=%s robot=%s", r.Method, r.URL, r.Header.Get("X-Checked-Customer"), r.Header.Get("X-Robot"))
	}))
	t.Cleanup(server.Close)
	return server
}

// foreignEnvoy is an Envoy that is not ours, with its own bootstrap.
type foreignEnvoy struct{ base string }

// includeInto makes the example's bootstrap with the include, for the shop and a run folder, and
// an Envoy of it.
func includeInto(t *testing.T, i *installation, shop, include string) foreignEnvoy {
	t.Helper()
	dir := testrig.Dir(t)
	admin := filepath.Join(dir, "admin.sock")
	raw, err := os.ReadFile(filepath.Join(staticExample, "envoy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(shop)
	own := strings.NewReplacer("port_value: 10000", "port_value: 0", "port_value: 8080", "port_value: "+port,
		"socket_address: {address: 127.0.0.1, port_value: 9901}", "pipe: {path: "+admin+"}").Replace(string(raw))
	bootstrap, out := filepath.Join(dir, "envoy.yaml"), filepath.Join(dir, "out.yaml")
	writeFile(t, bootstrap, own)
	var stdout, stderr bytes.Buffer
	err = run(t.Context(), []string{"mesh", "envoy", "--bootstrap", bootstrap, "--include", filepath.Join(staticExample, include), "--run-dir", i.runDir, "--out", out}, os.Getenv, &stdout, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if still, err := os.ReadFile(bootstrap); err != nil || string(still) != own {
		t.Error("the bootstrap of its own has changed")
	}
	return startForeign(t, out, admin)
}

func startForeign(t *testing.T, bootstrap, admin string) foreignEnvoy {
	t.Helper()
	var log testrig.Text
	c := exec.Command(envoytest.Binary(t), "-c", bootstrap, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn")
	c.Stdout, c.Stderr = &log, &log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("the other Envoy:\n%s", log.String())
		}
	})
	e := foreignEnvoy{}
	testrig.Eventually(t, "the other Envoy to serve", func() bool {
		address, err := addressOf(admin, "shop")
		e.base = "http://" + address
		return err == nil
	})
	return e
}

// addressOf is where a listener of the Envoy of an admin socket listens.
func addressOf(admin, listener string) (string, error) {
	i := installation{runDir: filepath.Dir(admin)}
	if filepath.Base(admin) != "envoy-admin.sock" {
		if err := os.Symlink(admin, filepath.Join(i.runDir, "envoy-admin.sock")); err != nil && !os.IsExist(err) {
			return "", err
		}
	}
	raw, err := i.askAdmin("/listeners?format=json")
	if err != nil {
		return "", err
	}
	var all struct {
		Statuses []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal([]byte(raw), &all); err != nil {
		return "", err
	}
	for _, s := range all.Statuses {
		if s.Name == listener && s.Address.Socket.Port != 0 {
			return fmt.Sprintf("%s:%d", s.Address.Socket.Address, s.Address.Socket.Port), nil
		}
	}
	return "", fmt.Errorf("no listener %s in %s", listener, raw)
}

func (e foreignEnvoy) ask(t *testing.T, path string, headers ...string) reply {
	t.Helper()
	r, err := send(http.MethodGet, e.base+path, "", headers...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// deployExample registers a file of the example as a function.
func (i *installation) deployExample(t *testing.T, title string) {
	t.Helper()
	code, err := os.ReadFile(filepath.Join(staticExample, title+".js"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(map[string]any{"language": "nodejs", "title": title, "script_content": string(code)})
	i.must(t, 201, http.MethodPost, functionsPath, string(body))
}

// hammer asks for paths until stop, and counts what was not the shop's own answer.
func (e foreignEnvoy) hammer(paths ...string) (asked, failed *atomic.Int64, stop func()) {
	asked, failed = new(atomic.Int64), new(atomic.Int64)
	var over atomic.Bool
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for !over.Load() {
				r, err := send(http.MethodGet, e.base+paths[n%len(paths)], "")
				asked.Add(1)
				if err != nil || r.status != http.StatusOK || r.header.Get("X-From") != "shop" {
					failed.Add(1)
				}
			}
		})
	}
	return asked, failed, func() { over.Store(true); all.Wait() }
}

// TestFunctionInAnothersEnvoy: an unmodified service behind an unmodified Envoy gets a function
// on one path by one include, and loses nothing when Envoke is killed under load.
func TestFunctionInAnothersEnvoy(t *testing.T) {
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	first := i.startProcess(t)
	i.deployExample(t, "quote")
	shop := newShop(t)
	e := includeInto(t, i, shop.Listener.Addr().String(), "functions.yaml")
	quoted := func() bool {
		r := e.ask(t, "/quote/7?vat=no", "X-Envoke-Function", "nodejs-calculator", "X-Envoke-Namespace", "other", "X-User-ID", "ada")
		return r.status == http.StatusOK && string(r.body) == `{"item":7,"cents":700}`
	}
	if !quoted() {
		t.Fatalf("the function: %s", e.ask(t, "/quote/7?vat=no").body)
	}
	for path, want := range map[string]string{
		"/static/a.css": "GET /assets/a.css checked= robot=", "/": "GET / checked= robot=", "/quotes": "GET /quotes checked= robot=",
	} {
		if r := e.ask(t, path, "X-User-ID", "ada"); string(r.body) != want {
			t.Errorf("%s: %s", path, r.body)
		}
	}

	asked, failed, stop := e.hammer("/", "/static/a.css")
	defer stop()
	testrig.Eventually(t, "load", func() bool { return asked.Load() > 200 })
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	testrig.Eventually(t, "the function to be away", func() bool { return e.ask(t, "/quote/7").status == http.StatusServiceUnavailable })
	mark := asked.Load()
	testrig.Eventually(t, "load without Envoke", func() bool { return asked.Load() > mark+200 })
	i.startProcess(t)
	testrig.Eventually(t, "the function to be back", quoted)
	stop()
	if failed.Load() > 0 {
		t.Errorf("the shop has lost %d of %d requests", failed.Load(), asked.Load())
	}
	t.Logf("%d requests of the shop, none lost", asked.Load())
}

// TestHooksInAnothersEnvoy is the same of hooks: what becomes of their paths without Envoke is
// what their failure modes say.
func TestHooksInAnothersEnvoy(t *testing.T) {
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	shop := newShop(t)
	e := includeInto(t, i, shop.Listener.Addr().String(), "envoke.yaml")
	first := i.startProcess(t)
	for _, title := range []string{"quote", "checkorder", "tagreview"} {
		i.deployExample(t, title)
	}
	hooked := func() bool {
		return string(e.ask(t, "/orders/1", "X-Customer", "77").body) == "GET /orders/1 checked=77 robot=" &&
			string(e.ask(t, "/reviews", "User-Agent", "a bot").body) == "GET /reviews checked= robot=true"
	}
	testrig.Eventually(t, "the hooks to act", hooked)
	if r := e.ask(t, "/orders/1"); r.status != http.StatusForbidden || string(r.body) != `{"error":"say in X-Customer who you are"}` {
		t.Errorf("an order of nobody: %d %s", r.status, r.body)
	}
	if r := e.ask(t, "/ordersheet", "X-Customer", "77"); string(r.body) != "GET /ordersheet checked= robot=" {
		t.Errorf("what is beside the hook: %s", r.body)
	}
	if r := e.ask(t, "/quote/7"); string(r.body) != `{"item":7,"cents":833}` {
		t.Errorf("the function: %d %s", r.status, r.body)
	}

	asked, failed, stop := e.hammer("/", "/reviews")
	defer stop()
	testrig.Eventually(t, "load", func() bool { return asked.Load() > 200 })
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	testrig.Eventually(t, "orders to be refused", func() bool { return e.ask(t, "/orders/1", "X-Customer", "77").status == http.StatusServiceUnavailable })
	mark := asked.Load()
	testrig.Eventually(t, "load without Envoke", func() bool { return asked.Load() > mark+200 })
	i.startProcess(t)
	testrig.Eventually(t, "the hooks to be back", hooked)
	stop()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests were lost", failed.Load(), asked.Load())
	}
}

// TestIncludeIsRefused: an include that cannot be what it says changes nothing.
func TestIncludeIsRefused(t *testing.T) {
	dir := t.TempDir()
	bootstrap, include := filepath.Join(staticExample, "envoy.yaml"), filepath.Join(dir, "include.yaml")
	for text, want := range map[string]string{
		"":                               "routes is empty",
		"routes: [{name: a, rulez: []}]": "rulez",
		"routes: [{name: a, hostnames: [other.example], rules: []}]":                                                                          "no virtual host",
		"routes: [{name: a, rules: [{backendRefs: [{kind: Upstream, name: b}]}]}]":                                                            "one function in backendRefs",
		"routes: [{name: a, rules: [{backendRefs: [{kind: Function, name: perl-b}]}]}]":                                                       "must begin with",
		"routes: [{name: a, rules: [{matches: [{path: {value: /a}}]}]}]":                                                                      "neither backendRefs nor hooks",
		"upstreams: [{name: a}]\nroutes: [{name: a, rules: []}]":                                                                              "upstreams are not included",
		"routes: [{name: a, rules: [{matches: [{path: {type: Template, value: '/{a}'}}], backendRefs: [{kind: Function, name: nodejs-b}]}]}]": "is not included",
	} {
		writeFile(t, include, text)
		out := filepath.Join(dir, "out.yaml")
		err := run(t.Context(), []string{"mesh", "envoy", "--bootstrap", bootstrap, "--include", include, "--run-dir", dir, "--out", out}, os.Getenv, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%q: something was written", text)
		}
	}
}
