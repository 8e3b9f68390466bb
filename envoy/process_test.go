package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"envoke/envoy"
	"envoke/internal/envoytest"
	"envoke/internal/testrig"
	"envoke/xds"
)

// childDir, when set, makes this test binary a parent of an Envoy in that folder.
const childDir = "ENVOKE_TEST_PARENT_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		process := envoy.New(options(dir, os.Getenv("ENVOKE_TEST_ENVOY")))
		fmt.Fprintln(os.Stderr, process.Serve(context.Background()))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func options(dir, binary string) envoy.Options {
	return envoy.Options{Binary: binary, Dir: dir, Concurrency: 1, Bootstrap: envoy.Bootstrap{
		NodeID:        "test",
		ControlSocket: filepath.Join(dir, "ads.sock"),
		AdminSocket:   filepath.Join(dir, "admin.sock"),
	}}
}

// TestBootstrapIsValid has Envoy read it, with a node id that YAML takes for a bool
// and text that could end a string.
func TestBootstrapIsValid(t *testing.T) {
	dir := testrig.Dir(t)
	b := envoy.Bootstrap{NodeID: "n", ControlSocket: dir + "/\"}: [.sock", AdminSocket: dir + "/a.sock"}
	raw, err := b.YAML()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bootstrap.yaml")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), envoytest.Binary(t), "--mode", "validate", "-c", path).CombinedOutput()
	// What it says of the machine's cgroups is no fault of the configuration.
	if err != nil || strings.Contains(strings.ReplaceAll(string(out), "[warning][misc] [source/server/cgroup_cpu_util.cc", ""), "warning") {
		t.Errorf("validate: %v\n%s", err, out)
	}
}

func TestBootstrapLongPath(t *testing.T) {
	_, err := envoy.Bootstrap{AdminSocket: strings.Repeat("x", 108)}.YAML()
	if err == nil || !strings.Contains(err.Error(), "use a shorter folder") {
		t.Errorf("error %v", err)
	}
}

// TestUnexpectedExit has Envoy fail at its start, and be killed later.
func TestUnexpectedExit(t *testing.T) {
	dir := testrig.Dir(t)
	o := options(dir, envoytest.Binary(t))
	o.Bootstrap.AdminSocket = filepath.Join(dir, "no-such-folder", "admin.sock")
	process := envoy.New(o)
	err := process.Serve(t.Context())
	if err == nil || !strings.Contains(err.Error(), "ended by itself (exit status 1): ") || !strings.Contains(err.Error(), "admin.sock") {
		t.Errorf("error %v", err)
	}
	if waited := process.WaitReady(t.Context()); !errors.Is(waited, err) {
		t.Errorf("WaitReady said %v", waited)
	}
}

func TestNoBinary(t *testing.T) {
	err := envoy.New(options(t.TempDir(), "/nowhere/envoy")).Serve(t.Context())
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// TestNotReadyWithoutControl sees an Envoy that control has not spoken to wait.
func TestNotReadyWithoutControl(t *testing.T) {
	process := envoy.New(options(testrig.Dir(t), envoytest.Binary(t)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- process.Serve(ctx) }()
	short, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if err := process.WaitReady(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ready: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stopped on demand: %v", err)
	}
}

// TestParentKilled kills Envoy's parent with SIGKILL and sees Envoy go too.
func TestParentKilled(t *testing.T) {
	dir := testrig.Dir(t)
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), childDir+"="+dir, "ENVOKE_TEST_ENVOY="+envoytest.Binary(t))
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	admin := filepath.Join(dir, "admin.sock")
	testrig.Eventually(t, "Envoy's admin answers", func() bool { return answers(admin) })
	stat, err := os.Stat(admin)
	if err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("admin socket: mode %v, %v", stat.Mode(), err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	testrig.Eventually(t, "Envoy is gone", func() bool { return !answers(admin) })
}

func answers(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// TestDrain has a request in flight end well, and Drain wait for it.
func TestDrain(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	e, _ := start(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-finish
		_, _ = io.WriteString(w, "whole")
	})
	reply := make(chan string, 1)
	go func() { reply <- fetch(e.Addr) }()
	<-arrived

	impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := e.Drain(impatient); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drained with a request in flight: %v", err)
	}
	close(finish)
	if err := e.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if got := <-reply; got != "200 close=true whole" {
		t.Errorf("the request in flight got %q", got)
	}
}

// TestDrainUnderLoad loses no request that Envoy has got. Who comes too late has a
// new connection refused or reset.
func TestDrainUnderLoad(t *testing.T) {
	e, _ := start(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	served := make(chan struct{}, 1024)
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				// A body that cannot be sent twice: the client must not retry.
				body := io.NopCloser(strings.NewReader("whole"))
				reused := false
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					GotConn: func(conn httptrace.GotConnInfo) { reused = conn.Reused },
				})
				request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Addr+"/health", body)
				response, err := client.Do(request)
				if err != nil {
					if reused {
						t.Errorf("lost: %v", err)
					}
					return
				}
				if reply := envoytest.Read(t, response); reply.Status != 200 || string(reply.Body) != "whole" {
					t.Errorf("got %d %q", reply.Status, reply.Body)
				}
				select {
				case served <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 500 {
		<-served
	}
	if err := e.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	clients.Wait()
}

// TestReopenLogs renames the access log, as rotation does.
func TestReopenLogs(t *testing.T) {
	e, log := start(t, func(http.ResponseWriter, *http.Request) {})
	fetch(e.Addr)
	testrig.Eventually(t, "a line in the log", func() bool { return size(log) > 0 })
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	if err := e.ReopenLogs(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := size(log + ".1")
	fetch(e.Addr)
	testrig.Eventually(t, "a line in the new log", func() bool { return size(log) > 0 })
	if size(log+".1") != before {
		t.Error("the old log still grows")
	}
}

func size(path string) int64 {
	stat, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return stat.Size()
}

func fetch(addr string) string {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + addr + "/health")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d close=%v %s", response.StatusCode, response.Close, body)
}

// start runs an Envoy whose /health is the handler.
func start(t *testing.T, handler http.HandlerFunc) (e *envoytest.Envoy, accessLog string) {
	t.Helper()
	dir := testrig.Dir(t)
	api, control := filepath.Join(dir, "api.sock"), filepath.Join(dir, "ads.sock")
	accessLog = filepath.Join(dir, "access.log")
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	serve(t, api, server.Serve, func() { _ = server.Close() })

	controller := xds.New(xds.Options{})
	err := controller.Publish(t.Context(), xds.State{
		Listener: xds.Listener{Host: "127.0.0.1"}, MaxTimeout: time.Second,
		ExtProcPath: control, APIPath: api, AccessLog: accessLog,
	})
	if err != nil {
		t.Fatal(err)
	}
	ads := grpc.NewServer()
	controller.Register(ads)
	serve(t, control, ads.Serve, ads.Stop)
	return envoytest.Start(t, envoytest.Options{Control: control, Listener: xds.ListenerName}), accessLog
}

func serve(t *testing.T, path string, serve func(net.Listener) error, stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = serve(listener)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}
