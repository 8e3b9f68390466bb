package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"envoke/internal/mtls"
	"envoke/internal/testrig"
)

// fleet is an installation whose parts meet by ports of 127.0.0.1, as if each were on a machine
// of its own.
type fleet struct {
	*installation
	dir      string // of everything
	certs    mtls.Set
	redis    *testrig.RedisServer
	database string
	controls []string // addresses
	running  []*process
	envoy    *process
	// ofControl are flags that controls have beside those of every fleet.
	ofControl []string
}

// freePort is an address that nobody listens on, for those who must know it before. It is none
// that the system gives to connections: while its owner is dead, one could take it.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 20000+rand.N(12000)))
		if err == nil {
			defer listener.Close()
			return listener.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// newFleet has certificates, databases and addresses, and runs nothing.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	dir := testrig.Dir(t)
	f := &fleet{
		installation: &installation{runDir: filepath.Join(dir, "envoy")}, dir: dir,
		certs:    mtls.Set{Dir: filepath.Join(dir, "certs"), Life: 24 * time.Hour, Now: time.Now()},
		redis:    testrig.Redis(t),
		database: testrig.Postgres(t),
		controls: []string{freePort(t), freePort(t)},
		running:  make([]*process, 2),
	}
	if err := f.certs.Make(false); err != nil {
		t.Fatal(err)
	}
	return f
}

// remote are the flags that a part of the role has.
func (f *fleet) remote(role mtls.Role) []string {
	files := mtls.FilesIn(filepath.Join(f.certs.Dir, string(role)))
	return []string{
		"--tls-ca", files.CA, "--tls-cert", files.Cert, "--tls-key", files.Key,
		"--control-addresses", strings.Join(f.controls, ","), "--admin-port", "0", "--log-level", "debug",
	}
}

func (f *fleet) startControl(t *testing.T, n int) {
	t.Helper()
	name := fmt.Sprint("control", n)
	f.running[n] = startProcess(t, append([]string{
		"control", "--run-dir", filepath.Join(f.dir, name), "--data-dir", filepath.Join(f.dir, name+"-data"),
		"--port", "0", "--filter=false", "--control-listen", f.controls[n],
		"--database-url", f.database, "--redis-url", f.redis.URL(),
	}, append(f.remote(mtls.Control), f.ofControl...)...)...)
}

// startHost starts a host of nodejs and gives its address.
func (f *fleet) startHost(t *testing.T, more ...string) (*process, string) {
	t.Helper()
	return f.startHostOf(t, "nodejs", more...)
}

func (f *fleet) startHostOf(t *testing.T, language string, more ...string) (*process, string) {
	t.Helper()
	address := freePort(t)
	args := append([]string{
		"runtime", language, "--run-dir", testrig.Dir(t), "--cache-dir", cacheDir(),
		"--host-listen", address, "--redis-url", f.redis.URL(),
	}, f.remote(mtls.Host)...)
	return startProcess(t, append(args, more...)...), address
}

func (f *fleet) startEnvoy(t *testing.T) {
	t.Helper()
	f.envoy = startProcess(t, append([]string{
		"envoy", "--run-dir", f.runDir, "--data-dir", filepath.Join(f.dir, "envoy-data"), "--cache-dir", cacheDir(),
		"--database-url", f.database,
	}, f.remote(mtls.Envoy)...)...)
	testrig.Eventually(t, "Envoy to have its listener", func() bool {
		address := listenerAddress(t, filepath.Join(f.runDir, "envoy-admin.sock"))
		f.base = "http://" + address
		return address != ""
	})
}

// knows tells whether Envoy has a host among those that it sends requests to.
func (f *fleet) knows(address string) bool {
	clusters, err := f.askAdmin("/clusters")
	return err == nil && strings.Contains(clusters, "::"+address+"::")
}

func (f *fleet) awaitHost(t *testing.T, address string, want bool) {
	t.Helper()
	testrig.Eventually(t, fmt.Sprintf("Envoy to know of %s: %v", address, want), func() bool { return f.knows(address) == want })
}

// awaitControls waits until Envoy uses controls that were started.
func (f *fleet) awaitControls(t *testing.T, numbers ...int) {
	t.Helper()
	testrig.Eventually(t, "the controls to be ready", func() bool {
		return !slices.ContainsFunc(numbers, func(n int) bool {
			return !strings.Contains(f.running[n].stderr.String(), "published Envoy's configuration")
		})
	})
	testrig.Eventually(t, "Envoy to use them", func() bool {
		clusters, err := f.askAdmin("/clusters")
		for _, cluster := range []string{"control", "control-api", "extproc"} {
			for _, n := range numbers {
				if err != nil || !strings.Contains(clusters, cluster+"::"+f.controls[n]+"::health_flags::healthy\n") {
					return false
				}
			}
		}
		return true
	})
}

// startFleet runs two controls, an Envoy and a host.
func startFleet(t *testing.T) (f *fleet, first *process, at string) {
	t.Helper()
	f = newFleet(t)
	f.startControl(t, 0)
	f.startControl(t, 1)
	first, at = f.startHost(t)
	f.startEnvoy(t)
	f.awaitHost(t, at, true)
	f.awaitControls(t, 0, 1)
	testrig.Eventually(t, "a function to run", func() bool {
		r, err := send(http.MethodPost, f.base+"/api/v1/execute", `{"script_content":"return 1"}`, "Language-Title", "nodejs-first")
		return err == nil && r.status == http.StatusOK
	})
	return f, first, at
}

func stopProcess(t *testing.T, p *process, by syscall.Signal) error {
	t.Helper()
	if err := p.Process.Signal(by); err != nil {
		t.Fatal(err)
	}
	return p.Wait()
}

// TestHostsComeAndGo: a host that joins under load is in use within a second after it has said so,
// and one that says goodbye loses no request. One that is killed loses what it ran.
func TestHostsComeAndGo(t *testing.T) {
	f, first, firstAt := startFleet(t)
	l := f.load(t)
	f.callOthers(t, l) // hosts of another language are nobody's loss
	l.more(t, 100)

	second, secondAt := f.startHost(t)
	announced := f.awaitAnnounced(t, secondAt)
	f.awaitHost(t, secondAt, true)
	if took := time.Since(announced); took > time.Second {
		t.Errorf("Envoy knew of the host %v after it had said that it is there", took)
	} else {
		t.Logf("Envoy knew of the host after %v", took)
	}
	l.more(t, 100)

	if err := stopProcess(t, first, syscall.SIGTERM); err != nil {
		t.Errorf("the host that was told to stop: %v", err)
	}
	if f.knows(firstAt) {
		t.Error("Envoy still knows of the host that has stopped")
	}
	l.more(t, 100)
	refused, err := l.end()
	if err != nil || refused > 0 || l.others.ok() < 20 {
		t.Errorf("%d requests failed, %v", refused, err)
	}
	t.Logf("%v, %d in other languages", l, l.others.ok())

	_, thirdAt := f.startHost(t)
	f.awaitHost(t, thirdAt, true)
	l = f.load(t)
	l.more(t, 100)
	_ = stopProcess(t, second, syscall.SIGKILL)
	f.awaitHost(t, secondAt, false)
	lost := l.lost()
	l.more(t, 100)
	l.stop()
	l.callers.Wait()
	// Each connection of Envoy's threads may have had one call that nobody read, of nine callers.
	if later := l.lost() - lost; lost > 4*9 || later > 0 || l.read.refused() > 0 {
		t.Errorf("%d calls were lost when the host was killed, %d later, and %d reads", lost, later, l.read.refused())
	}
	if err := errors.Join(l.plain.err(), l.checked.err()); err != nil {
		t.Error(err)
	}
	t.Logf("%v; %d lost with the host", l, lost)
}

// awaitAnnounced waits until a host has said in Redis that it is there.
func (f *fleet) awaitAnnounced(t *testing.T, address string) time.Time {
	t.Helper()
	options, err := goredis.ParseURL(f.redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(options)
	defer client.Close()
	testrig.Eventually(t, "the host to say that it is there", func() bool {
		names := client.ZRange(t.Context(), "envoke:hosts", 0, -1).Val()
		for _, name := range names {
			var host struct{ Address string }
			if raw := client.Get(t.Context(), "envoke:host:"+name).Val(); json.Unmarshal([]byte(raw), &host) == nil && host.Address == address {
				return true
			}
		}
		return false
	})
	return time.Now()
}

// TestOneOfTwoControlsIsKilled, and started again, and then the other, as soon as Envoy uses the
// first: no request fails.
func TestOneOfTwoControlsIsKilled(t *testing.T) {
	f, _, _ := startFleet(t)
	l := f.load(t)
	l.more(t, 200)
	for n := range 2 {
		_ = stopProcess(t, f.running[n], syscall.SIGKILL)
		l.more(t, 200)
		f.startControl(t, n)
		f.awaitControls(t, n)
		l.more(t, 200)
	}
	refused, err := l.end()
	if err != nil || refused > 0 {
		t.Errorf("%d requests failed, %v", refused, err)
		t.Log(f.adminOf(t, "/stats?filter=cluster.(control-api|extproc).*(retry|panic|eject|fail|_5xx)"))
	}
	t.Log(l)
}

// TestRedisAwayKeepsHosts: without Redis the hosts that were known stay in use, and one that was
// started anew and knows of none does not change that.
func TestRedisAwayKeepsHosts(t *testing.T) {
	f, _, at := startFleet(t)
	l := f.load(t)
	l.more(t, 50)
	f.redis.Kill(t)
	testrig.Eventually(t, "control to say so", func() bool {
		return strings.Contains(f.running[0].stderr.String(), "the directory of hosts does not answer")
	})
	away := time.Now()
	testrig.Eventually(t, "longer than a host lives unheard", func() bool { return time.Since(away) > 5*time.Second })
	if !f.knows(at) {
		t.Error("Envoy has forgotten the host")
	}
	l.more(t, 50)
	f.redis.Start(t)
	testrig.Eventually(t, "control to say so", func() bool {
		return strings.Contains(f.running[0].stderr.String(), "the directory of hosts answers again")
	})
	f.awaitAnnounced(t, at)
	l.more(t, 50)
	if !f.knows(at) {
		t.Error("Envoy has forgotten the host")
	}
	refused, err := l.end()
	if err != nil || refused > 0 {
		t.Errorf("%d requests failed, %v", refused, err)
	}
	t.Log(l)
}
