package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
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

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"envoke/internal/testrig"
)

// site is where the processes of pods run by hand: each has a folder in place of its file
// system, and ports of this machine in place of its own.
type site struct {
	dir     string
	secrets map[string]map[string]string // by name, then by key
	control string                       // the address that stands for control's Service
	public  string
}

const adminKey = "an-administrators-key-of-these-tests-0123456789"

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
	redis, postgres := testrig.Redis(t).URL()+"\n", testrig.Postgres(t)+"\n"
	s := &site{dir: testrig.Dir(t), control: "127.0.0.1:" + freePort(t), public: freePort(t)}
	s.secrets = map[string]map[string]string{"envoke": {
		"database-url": postgres, "database-owner-url": postgres, "redis-url": redis, "host-redis-url": redis,
		"secrets-key": strings.Repeat("5a", 32) + "\n", "admin-key": adminKey + "\n",
	}}
	s.makeCertificates(t)
	return s
}

// makeCertificates fills the Secrets of certificates, as the document says.
func (s *site) makeCertificates(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command(envoke, "certs", "--out", dir, "--host", "127.0.0.1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, part := range []string{"control", "envoy", "host"} {
		s.secrets["envoke-tls-"+part] = map[string]string{}
		for _, file := range []string{"ca.crt", "tls.crt", "tls.key"} {
			s.secrets["envoke-tls-"+part][file] = readFile(t, filepath.Join(dir, part, file))
		}
	}
	s.secrets["envoke-public-tls"] = s.secrets["envoke-tls-envoy"]
}

// process is what a pod would run, with what it takes to reach it.
type process struct {
	part
	place   string
	metrics string // its METRICS_LISTEN
	cmd     *exec.Cmd
}

// mount makes the folders and files of a pod, those of Secrets as a kubelet does: by a link that
// is renamed when they change.
func (s *site) mount(t *testing.T, p part, place string) {
	t.Helper()
	mkdir(t, filepath.Join(place, "tmp"))
	for _, volume := range p.pod.Spec.Volumes {
		at := slices.IndexFunc(p.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume.Name })
		dir := filepath.Join(place, p.VolumeMounts[at].MountPath)
		mkdir(t, dir)
		if volume.Secret != nil {
			s.fill(t, dir, volume.Secret)
		}
	}
}

func (s *site) fill(t *testing.T, dir string, secret *corev1.SecretVolumeSource) {
	t.Helper()
	version, err := os.MkdirTemp(dir, "..version-")
	if err != nil {
		t.Fatal(err)
	}
	files := maps.Clone(s.secrets[secret.SecretName])
	if len(secret.Items) > 0 {
		files = map[string]string{}
		for _, item := range secret.Items {
			files[item.Path] = s.secrets[secret.SecretName][item.Key]
		}
	}
	for file, content := range files {
		write(t, filepath.Join(version, file), content)
		if err := os.Symlink(filepath.Join("..data", file), filepath.Join(dir, file)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Base(version), filepath.Join(dir, "..new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := os.WriteFile(path, []byte(content), 0o400); err != nil {
		t.Fatal(err)
	}
}

// process is that of a container, with its very arguments, variables and settings, but for
// paths and ports.
func (s *site) process(t *testing.T, p part) *process {
	t.Helper()
	place := filepath.Join(s.dir, p.name)
	s.mount(t, p, place)
	made := &process{part: p, place: place}
	env := map[string]string{"ADMIN_PORT": freePort(t), "HOME": place, "TMPDIR": place + "/tmp", "PATH": os.Getenv("PATH")}
	if p.config != nil {
		config := s.adapt(t, made)
		env["POD_IP"], env["HOST_ADVERTISE"] = "127.0.0.1", config["host_listen"].(string)
		raw, err := yaml.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		write(t, place+"/etc/envoke/config/envoke.yaml", string(raw))
	}
	for _, variable := range p.Env {
		switch {
		case variable.Name == "ENVOY": // what the image would have, the cache has
			env["CACHE_DIR"] = os.Getenv("ENVOKE_CACHE_DIR")
		case strings.HasPrefix(variable.Value, "/"):
			env[variable.Name] = place + variable.Value
		case env[variable.Name] == "":
			t.Errorf("%s: the test has nothing for %s", p.name, variable.Name)
		}
	}
	var args []string
	for _, arg := range p.Args {
		if strings.HasPrefix(arg, "/") {
			arg = place + arg
		}
		args = append(args, arg)
	}
	made.cmd = exec.Command(envoke, args...)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		made.cmd.Env = append(made.cmd.Env, name+"="+env[name])
	}
	return made
}

// adapt is the part's envoke.yaml for this machine.
func (s *site) adapt(t *testing.T, p *process) map[string]any {
	t.Helper()
	p.metrics = "127.0.0.1:" + freePort(t)
	port, err := json.Number(s.public).Int64()
	if err != nil {
		t.Fatal(err)
	}
	here := map[string]any{
		"control_listen": s.control, "control_addresses": s.control, "host_listen": "127.0.0.1:" + freePort(t), "metrics_listen": p.metrics,
		"host": "127.0.0.1", "port": port,
		"sandbox":    "best", // this kernel is not that of the node
		"kubernetes": false,  // there is no cluster
	}
	config := map[string]any{}
	for key, value := range p.config {
		config[key] = value
		if path, ok := value.(string); ok && strings.HasPrefix(path, "/") {
			config[key] = p.place + path
		}
		if own, ok := here[key]; ok {
			config[key] = own
		}
	}
	return config
}

// start runs the process until the test ends.
func (p *process) start(t *testing.T) {
	t.Helper()
	log := &testrig.Text{}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if text := log.String(); t.Failed() {
			t.Logf("%s:\n%s", p.name, text[max(0, len(text)-4<<10):])
		}
	})
}

// probe asks what the kubelet would.
func (p *process) probe(probe *corev1.Probe) error {
	_, err := get(http.DefaultClient, "http://"+p.metrics+probe.HTTPGet.Path)
	return err
}

func get(client *http.Client, url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	reply, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(reply.Body, 8<<20))
	if err == nil && reply.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", url, reply.StatusCode, raw)
	}
	return string(raw), err
}

// TestProcesses runs what the pods of each overlay run, in the order in which they need each
// other, has functions run, renews a certificate as Kubernetes does, and stops all.
func TestProcesses(t *testing.T) {
	if os.Getenv("ENVOKE_CACHE_DIR") == "" {
		dir, err := filepath.Abs(filepath.Join(root, ".envoke/cache"))
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("ENVOKE_CACHE_DIR", dir)
	}
	for overlay, scheme := range map[string]string{"dev": "http", "prod": "https"} {
		t.Run(overlay, func(t *testing.T) { runOverlay(t, overlay, scheme) })
	}
}

func runOverlay(t *testing.T, overlay, scheme string) {
	s := newSite(t)
	all := map[string]part{}
	for _, p := range partsOf(t, overlay, kustomize(t, "overlays/"+overlay)) {
		all[p.name] = p
	}
	if out, err := s.process(t, all["envoke-migrate"]).cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var running []*process
	for _, name := range []string{"envoke-control", "envoke-nodejs", "envoke-python", "envoke-rust", "envoke-envoy"} {
		p := s.process(t, all[name])
		p.start(t)
		for _, probe := range []*corev1.Probe{p.StartupProbe, p.ReadinessProbe, p.LivenessProbe} {
			testrig.Succeeds(t, func() error { return p.probe(probe) })
		}
		running = append(running, p)
	}
	testrig.Succeeds(t, func() error {
		return s.post(scheme, "/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`, `"result":3`)
	})
	testrig.Succeeds(t, func() error {
		return s.post(scheme, "/runtime/python/text_processor", `{"params":{"text":"ab","action":"uppercase"}}`, `"AB"`)
	})
	for _, p := range running[1:4] {
		if metrics, err := get(http.DefaultClient, "http://"+p.metrics+"/metrics"); !strings.Contains(metrics, "\nenvoke_host_calls{") {
			t.Errorf("%s has no metric envoke_host_calls, by which it is scaled: %v", p.name, err)
		}
	}
	s.renew(t, running[4])
	for _, p := range slices.Backward(running) {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%s, told to stop: %v", p.name, err)
		}
	}
}

// renew has Envoy's Secret change, which it takes up as it runs.
func (s *site) renew(t *testing.T, p *process) {
	t.Helper()
	admin := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", p.place+"/run/envoke/envoy-admin.sock")
	}}}
	defer admin.CloseIdleConnections()
	before := s.serial(t, "envoke-tls-envoy")
	s.makeCertificates(t)
	after := s.serial(t, "envoke-tls-envoy")
	is := func(serial string) error {
		certs, err := get(admin, "http://envoy/certs")
		if err == nil && !strings.Contains(certs, `"`+serial+`"`) {
			err = fmt.Errorf("Envoy has no certificate %s: %s", serial, certs)
		}
		return err
	}
	testrig.Succeeds(t, func() error { return is(before) })
	for _, volume := range p.pod.Spec.Volumes {
		if volume.Name == "tls" {
			s.fill(t, p.place+"/etc/envoke/tls", volume.Secret)
		}
	}
	testrig.Succeeds(t, func() error { return is(after) })
}

// serial is the serial number of a Secret's certificate, as Envoy writes it.
func (s *site) serial(t *testing.T, secret string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(s.secrets[secret]["tls.crt"]))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(certificate.SerialNumber.Bytes())
}

func (s *site) post(scheme, path, body, want string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://127.0.0.1:"+s.public+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", adminKey)
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	reply, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	raw, err := io.ReadAll(reply.Body)
	if err == nil && (reply.StatusCode != http.StatusOK || !strings.Contains(string(raw), want)) {
		err = fmt.Errorf("%s: %d %s", path, reply.StatusCode, raw)
	}
	return err
}
