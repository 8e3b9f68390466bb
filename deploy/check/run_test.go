package check

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"envoke/internal/testrig"
)

// site is where the processes of the containers run by hand: each has a folder in place of its
// file system, and a port of this machine in place of its container's.
type site struct {
	dir     string
	project *types.Project
	secrets map[string]string
	// replace has what stands in the file, and what stands for it here.
	replace map[string]string
	public  string
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
}

func newSite(t *testing.T) *site {
	t.Helper()
	redis := testrig.Redis(t)
	s := &site{
		dir: testrig.Dir(t), project: loadProject(t), public: freePort(t), replace: map[string]string{},
		secrets: map[string]string{"database_url": testrig.Postgres(t) + "\n", "redis_url": redis.URL() + "\n", "secrets_key": strings.Repeat("5a", 32) + "\n"},
	}
	for _, name := range []string{"control-1", "control-2"} {
		s.replace[name+":9010"] = "127.0.0.1:" + freePort(t)
	}
	return s
}

// place is the folder that stands for a service's file system.
func (s *site) place(t *testing.T, service types.ServiceConfig) string {
	t.Helper()
	place := filepath.Join(s.dir, service.Name)
	for _, tmpfs := range service.Tmpfs {
		path, _, _ := strings.Cut(tmpfs, ":")
		mkdir(t, filepath.Join(place, path))
	}
	for _, volume := range service.Volumes {
		mkdir(t, filepath.Join(s.dir, "volumes", volume.Source))
		at := filepath.Join(place, volume.Target)
		mkdir(t, filepath.Dir(at))
		if err := os.Symlink(filepath.Join(s.dir, "volumes", volume.Source), at); err != nil {
			t.Fatal(err)
		}
	}
	for _, secret := range service.Secrets {
		at := filepath.Join(place, "run/secrets", secret.Source)
		mkdir(t, filepath.Dir(at))
		if err := os.WriteFile(at, []byte(s.secrets[secret.Source]), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	return place
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// command is the process of a service's container, with its very flags and variables, but for
// paths and ports.
func (s *site) command(t *testing.T, service types.ServiceConfig) *exec.Cmd {
	t.Helper()
	place := s.place(t, service)
	adapt := func(value string) string {
		if strings.HasPrefix(value, "/") {
			return place + value
		}
		for from, to := range s.replace {
			value = strings.ReplaceAll(value, from, to)
		}
		return value
	}
	env := environment(t, service)
	for name, value := range env {
		env[name] = adapt(value)
	}
	own := map[string]string{"ADMIN_PORT": freePort(t), "HOME": place, "PATH": os.Getenv("PATH")}
	if env["PORT"] != "" {
		own["PORT"], own["HOST"] = s.public, "127.0.0.1"
	}
	if env["CONTROL_LISTEN"] != "" {
		own["CONTROL_LISTEN"] = s.replace[service.Name+":9010"]
	}
	if env["HOST_LISTEN"] != "" {
		own["HOST_LISTEN"] = "127.0.0.1:" + freePort(t)
	}
	if env["ENVOY"] != "" { // what the image would have, the cache has
		delete(env, "ENVOY")
		own["CACHE_DIR"] = os.Getenv("ENVOKE_CACHE_DIR")
	}
	maps.Copy(env, own)
	var args []string
	for _, arg := range service.Command {
		args = append(args, adapt(arg))
	}
	cmd := exec.Command(envoke, args...)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		cmd.Env = append(cmd.Env, name+"="+env[name])
	}
	return cmd
}

// health runs a service's health check.
func health(service types.ServiceConfig, env []string) error {
	cmd := exec.Command(envoke, service.HealthCheck.Test[2:]...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", service.Name, err, out)
	}
	return nil
}

// TestProcesses runs what the containers run, in the order that they depend on each other, until
// all are healthy, and has a function of each language run. Then it stops them as Docker does.
func TestProcesses(t *testing.T) {
	if os.Getenv("ENVOKE_CACHE_DIR") == "" {
		dir, err := filepath.Abs(filepath.Join(root, ".envoke/cache"))
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("ENVOKE_CACHE_DIR", dir)
	}
	s := newSite(t)
	for _, name := range []string{"certs", "migrate", "certs"} { // certs runs at each start
		cmd := s.command(t, s.project.Services[name])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if name == "certs" {
			_ = os.RemoveAll(filepath.Join(s.dir, "certs")) // the place, not the volumes
		}
	}
	running := map[string]*exec.Cmd{}
	for _, name := range []string{"control-1", "control-2", "nodejs", "python", "rust", "envoy"} {
		service := s.project.Services[name]
		cmd := s.command(t, service)
		log := &testrig.Text{}
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running[name] = cmd
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if text := log.String(); t.Failed() {
				t.Logf("%s:\n%s", name, text[max(0, len(text)-4<<10):])
			}
		})
		testrig.Succeeds(t, func() error { return health(service, cmd.Env) })
	}
	for _, call := range []struct{ path, body, want string }{
		{"/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`, `"result":3`},
		{"/runtime/python/text_processor", `{"params":{"text":"ab","action":"uppercase"}}`, `"AB"`},
	} {
		testrig.Succeeds(t, func() error { return post("http://127.0.0.1:"+s.public+call.path, call.body, call.want) })
	}
	for _, name := range []string{"envoy", "nodejs", "python", "rust", "control-1", "control-2"} {
		if err := running[name].Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := running[name].Wait(); err != nil {
			t.Errorf("%s, told to stop: %v", name, err)
		}
	}
}

func post(url, body, want string) error {
	reply, err := (&http.Client{Timeout: 10 * time.Second}).Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	raw, err := io.ReadAll(reply.Body)
	if err == nil && (reply.StatusCode != http.StatusOK || !strings.Contains(string(raw), want)) {
		err = fmt.Errorf("%s: %d %s", url, reply.StatusCode, raw)
	}
	return err
}
