package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// TestSessionsSurviveAKill kills envoke serve, starts it again and executes the
// session of before.
func TestSessionsSurviveAKill(t *testing.T) {
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	first := i.startProcess(t)
	id := i.initialize(t, "return 'still here'")
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	second := i.startProcess(t)
	if got := i.execute(t, id, "{}").result(t); got != `"still here"` {
		t.Errorf("after the kill: %s", got)
	}
	if err := second.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}

// Seeds are functions like others: an installation is ready without them, and with
// others of their names.
func TestStartsWithoutItsSeeds(t *testing.T) {
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(){
		func() { i.send(t, http.MethodDelete, "/api/v1/functions/nodejs-calculator", "") },
		func() {
			r := i.send(t, http.MethodPost, "/api/v1/functions", `{"language":"nodejs","title":"calculator","script_content":"throw new Error('mine')"}`)
			if r.status != http.StatusCreated {
				t.Errorf("%d: %s", r.status, r.body)
			}
		},
		func() {},
	} {
		p := i.startProcess(t)
		change()
		if err := p.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			t.Errorf("Ctrl-C: %v", err)
		}
	}
}

// startProcess runs envoke serve as a process and waits for its greeting.
func (i *installation) startProcess(t *testing.T) *process {
	t.Helper()
	p := startProcess(t, append([]string{"serve"}, i.settings()...)...)
	testrig.Eventually(t, "envoke serve to be ready", func() bool {
		found := greeting.FindStringSubmatch(p.stdout.String())
		if found != nil {
			i.base, i.operators = found[1], found[2]
		}
		return found != nil
	})
	return p
}

// TestCtrlCLosesNothing stops an installation while calls are under way. They end
// when the test says so, however slow the machine is: none before all have begun,
// and none before Envoy has closed its port.
func TestCtrlCLosesNothing(t *testing.T) {
	const calls = 20
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.start(); err != nil {
		t.Fatal(err)
	}
	release := t.TempDir() // while it is there: a worker can tell that of any path, but read no file
	if err := os.Chmod(filepath.Dir(release), 0o711); err != nil {
		t.Fatal(err)
	}
	id := i.initialize(t, fmt.Sprintf(
		"while (require('fs').existsSync(%q)) await new Promise(done => setTimeout(done, 10)); return 'done'", release))
	var group errgroup.Group
	for range calls {
		group.Go(func() error {
			r, err := send(http.MethodPost, i.base+"/api/v1/execute/"+id, `{"params":{}}`)
			if err == nil && (r.status != http.StatusOK || !strings.Contains(string(r.body), `"done"`)) {
				err = fmt.Errorf("%d: %s", r.status, r.body)
			}
			return err
		})
	}
	testrig.Eventually(t, "all calls to be under way", func() bool {
		return strings.Contains(i.adminOf(t, "/stats?filter=public.downstream_rq_active"), fmt.Sprintf("rq_active: %d", calls))
	})
	stopped := make(chan error, 1)
	go func() { stopped <- i.shutdown() }()
	testrig.Eventually(t, "the port to be closed", func() bool { return !reachable(i.base) })
	if err := os.Remove(release); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := group.Wait(); err != nil {
		t.Errorf("a call under way was lost: %v", err)
	}
}

func reachable(url string) bool {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// parts is control, the runtime hosts and Envoy as processes of their own.
type parts struct {
	*installation
	control      *process
	controlFlags []string
	hosts        map[faas.Language]*process
}

func (p *parts) startControl(t *testing.T) {
	t.Helper()
	flags := append([]string{"--port", "0", "--data-dir", p.dataDir}, p.controlFlags...)
	p.control = startProcess(t, append(p.part("control"), flags...)...)
}

// part is a subcommand with the flags that all parts have.
func (i *installation) part(subcommand ...string) []string {
	return append(subcommand, "--admin-port", "0", "--log-level", "debug", "--run-dir", i.runDir)
}

func startParts(t *testing.T) *parts {
	t.Helper()
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	return i.startParts(t)
}

func (i *installation) startParts(t *testing.T, controlFlags ...string) *parts {
	t.Helper()
	p := &parts{installation: i, controlFlags: controlFlags, hosts: map[faas.Language]*process{}}
	p.startControl(t)
	for _, l := range served(&Config{}) {
		p.hosts[l.Language] = startProcess(t, append(i.part("runtime", string(l.Language)), "--cache-dir", cacheDir())...)
	}
	startProcess(t, append(i.part("envoy"), "--cache-dir", cacheDir())...)
	var address string
	testrig.Eventually(t, "Envoy to have its listener", func() bool {
		socket := filepath.Join(i.runDir, "envoy-admin.sock")
		address = listenerAddress(t, socket)
		return address != ""
	})
	i.base = "http://" + address
	testrig.Eventually(t, "all parts to be healthy", func() bool {
		r, err := send(http.MethodGet, i.base+"/health", "")
		return err == nil && strings.HasPrefix(string(r.body), `{"status":"ok"`)
	})
	return p
}

// TestControlKilledUnderLoad kills control and starts it again: plain executes lose
// nothing, what needs control is 503 for the gap and works again by itself.
func TestControlKilledUnderLoad(t *testing.T) {
	p := startParts(t)
	id := p.initialize(t, "return event.params.n + 1")
	ctx, stop := context.WithCancel(t.Context())
	plain, other := &tally{}, &tally{}
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() { plain.call(ctx, p.base+"/api/v1/execute/"+id) })
		callers.Go(func() { other.call(ctx, p.base+"/api/v1/execute/"+id, "X-Cache-Control", "no-cache") })
	}
	testrig.Eventually(t, "load", func() bool { return plain.ok() > 200 && other.ok() > 100 })
	if err := p.control.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = p.control.Wait()
	down := plain.ok()
	testrig.Eventually(t, "plain executes without control", func() bool { return plain.ok() > down+500 })
	testrig.Eventually(t, "503 for the others", func() bool { return other.refused() > 0 })
	p.startControl(t)
	back := other.ok()
	testrig.Eventually(t, "the others to work again", func() bool { return other.ok() > back+100 })
	refused := other.refused()
	after := other.ok()
	testrig.Eventually(t, "more of the others", func() bool { return other.ok() > after+100 })
	stop()
	callers.Wait()
	if err := errors.Join(plain.err(), other.err()); err != nil {
		t.Error(err)
	}
	if plain.refused() > 0 {
		t.Errorf("%d plain executes were refused", plain.refused())
	}
	if other.refused() > refused {
		t.Errorf("%d were refused after control was back", other.refused()-refused)
	}
	t.Logf("plain: %d answered; through ext_proc: %d answered, %d refused", plain.ok(), other.ok(), other.refused())
	// The host asks for control anew at most every half second.
	testrig.Eventually(t, "new sessions", func() bool {
		r, err := send(http.MethodPost, p.base+"/api/v1/initialize", `{"script_content":"return 1"}`, "Language-Title", "nodejs-test")
		return err == nil && r.status == http.StatusOK
	})
}

// startTwoHosts starts parts that know two nodejs hosts, of which the second can be killed and
// started again.
func startTwoHosts(t *testing.T) (p *parts, second *process, start func() *process) {
	t.Helper()
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	other := testrig.Dir(t)
	if err := os.Symlink(filepath.Join(i.runDir, "control.sock"), filepath.Join(other, "control.sock")); err != nil {
		t.Fatal(err)
	}
	start = func() *process {
		t.Helper()
		return startProcess(t, "runtime", "nodejs", "--admin-port", "0", "--run-dir", other, "--cache-dir", cacheDir())
	}
	second = start() // before Envoy finds it missing
	return i.startParts(t, "--nodejs-runtime-url", fmt.Sprintf("unix:%s/nodejs.sock,unix:%s/nodejs.sock", i.runDir, other)), second, start
}

// TestHostKilledUnderLoad kills one of two hosts: the calls that it was running are lost,
// and no other.
func TestHostKilledUnderLoad(t *testing.T) {
	const callers = 8
	p, victim, startOther := startTwoHosts(t)
	ctx, stop := context.WithCancel(t.Context())
	calls := &tally{}
	var group sync.WaitGroup
	for range callers {
		url := p.base + "/api/v1/execute/" + p.initialize(t, "return event.params.n + 1")
		group.Go(func() { calls.call(ctx, url) })
	}
	testrig.Eventually(t, "load", func() bool { return calls.ok() > 300 })
	if err := victim.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	down := calls.ok()
	testrig.Eventually(t, "calls without it", func() bool { return calls.ok() > down+50 })
	lost := calls.refused()
	testrig.Eventually(t, "more calls without it", func() bool { return calls.ok() > down+500 })
	startOther()
	back := calls.ok()
	testrig.Eventually(t, "calls with it again", func() bool { return calls.ok() > back+500 })
	stop()
	group.Wait()
	if err := calls.err(); err != nil {
		t.Error(err)
	}
	// Until the kernel has closed the last of its sockets, a dying host takes calls that it will
	// never read, beside those that it ran.
	if lost > 2*callers {
		t.Errorf("%d calls were lost, at most %d were under way", lost, callers)
	}
	if later := calls.refused() - lost; later > 0 {
		t.Errorf("%d calls were lost when it was gone, or back", later)
	}
	t.Logf("%d answered, %d lost", calls.ok(), lost)
	tried := p.adminOf(t, "/stats?filter=cluster.runtime_nodejs.upstream_rq_retry$")
	t.Logf("Envoy: %s", strings.TrimSpace(tried))
}

// tally counts the outcomes of calls that are made until ctx ends.
type tally struct {
	mu         sync.Mutex
	good, away int
	wrong      error
}

func (a *tally) call(ctx context.Context, url string, headers ...string) {
	for n := 0; ctx.Err() == nil; n++ {
		r, err := send(http.MethodPost, url, fmt.Sprintf(`{"params":{"n":%d}}`, n), headers...)
		a.mu.Lock()
		switch {
		case err != nil:
			a.wrong = err
		case r.status == http.StatusServiceUnavailable && strings.Contains(string(r.body), `"UNAVAILABLE"`):
			a.away++
		case r.status != http.StatusOK || !strings.HasPrefix(string(r.body), fmt.Sprintf(`{"result":%d,`, n+1)):
			a.wrong = fmt.Errorf("call %d: %d %s", n, r.status, r.body)
		default:
			a.good++
		}
		a.mu.Unlock()
	}
}

func (a *tally) ok() int      { a.mu.Lock(); defer a.mu.Unlock(); return a.good }
func (a *tally) refused() int { a.mu.Lock(); defer a.mu.Unlock(); return a.away }
func (a *tally) err() error   { a.mu.Lock(); defer a.mu.Unlock(); return a.wrong }

// TestDeletedSessionIsGoneAtOnce executes and deletes, many times.
func TestDeletedSessionIsGoneAtOnce(t *testing.T) {
	i := shared(t)
	for range 10 {
		id := i.initialize(t, "return 1")
		if got := i.execute(t, id, "{}").result(t); got != "1" {
			t.Fatal(got)
		}
		started := time.Now()
		if r := i.send(t, http.MethodDelete, "/api/v1/sessions/"+id, ""); r.status != http.StatusNoContent {
			t.Fatalf("delete: %d %s", r.status, r.body)
		}
		i.execute(t, id, "{}").isError(t, http.StatusNotFound, "NOT_FOUND", "runtime")
		i.execute(t, id, "{}", "X-Cache-Control", "no-cache").isError(t, http.StatusNotFound, "NOT_FOUND", "extproc")
		if took := time.Since(started); took > time.Second {
			t.Errorf("it took %v", took)
		}
	}
}
