package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"envoke/envoy"
	"envoke/internal/mtls"
	"envoke/xds"
)

// fleet is an installation whose parts meet by ports of 127.0.0.1 with certificates, as if
// each were on a machine of its own: two controls, two Envoys, and two hosts of each language.
type fleet struct {
	*state
	certs    mtls.Set
	database string
	controls []string // addresses
	hosts    map[string][]string
	envoys   []*fleetEnvoy
}

// fleetEnvoy is one of its Envoys.
type fleetEnvoy struct {
	process *process
	admin   string // the socket
	address string
}

const fleetName = "Envoke on several machines"

// fleetTwo is how many there are of each part.
const fleetTwo = 2

func (s *state) startFleet(ctx context.Context) (*fleet, error) {
	s.config.Progress("starting two controls, two Envoys, and two hosts of each language")
	f := &fleet{state: s, hosts: make(map[string][]string)}
	f.certs = mtls.Set{Dir: s.stand.newDir(), Life: 24 * time.Hour, Now: time.Now()}
	err := f.certs.Make(false)
	if err == nil {
		f.database, err = s.postgres.NewDatabase(ctx, "machines")
	}
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, fleetTwo*(1+len(functions())))
	if err != nil {
		return nil, err
	}
	for i := range ports {
		ports[i] = loopback(ports[i])
	}
	f.controls = ports[:fleetTwo]
	for _, address := range f.controls {
		if err := f.startControl(ctx, address); err != nil {
			return nil, err
		}
	}
	for i, address := range ports[fleetTwo:] {
		language := functions()[i/fleetTwo].host
		f.hosts[language] = append(f.hosts[language], address)
		if err := f.startHost(ctx, language, address); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"one", "two"} {
		if err := f.startEnvoy(ctx, name); err != nil {
			return nil, err
		}
	}
	return f, f.await(ctx)
}

// start starts a part of the role, which is not awaited.
func (f *fleet) start(ctx context.Context, role mtls.Role, args ...string) error {
	files := mtls.FilesIn(filepath.Join(f.certs.Dir, string(role)))
	p, err := startProcess(ctx, group{fleetName, Envoke}, slices.Concat([]string{f.config.Envoke}, args, []string{
		"--tls-ca", files.CA, "--tls-cert", files.Cert, "--tls-key", files.Key,
		"--control-addresses", strings.Join(f.controls, ","), "--admin-port", "0", "--log-level", "warn",
	}))
	if err != nil {
		return err
	}
	f.stand.processes = append(f.stand.processes, p)
	return nil
}

func (f *fleet) startControl(ctx context.Context, address string) error {
	dir := f.stand.newDir()
	return f.start(ctx, mtls.Control, "control", "--run-dir", filepath.Join(dir, "run"), "--data-dir", filepath.Join(dir, "data"),
		"--host", "127.0.0.1", "--port", "0", "--control-listen", address, "--envoy-nodes", "one,two", "--database-url", f.database,
		"--redis-url", f.redis.URL(), "--redis-cache-url", f.redis.URL())
}

func (f *fleet) startHost(ctx context.Context, language, address string) error {
	args := []string{
		"runtime", language, "--run-dir", f.stand.newDir(), "--cache-dir", f.config.CacheDir, "--host-listen", address,
		"--redis-url", f.redis.URL(), "--host-drain-seconds", "0",
	}
	switch language {
	case "nodejs":
		args = append(args, "--node", f.config.Node)
	case "python":
		args = append(args, "--python", f.config.Python)
	}
	return f.start(ctx, mtls.Host, args...)
}

func (f *fleet) startEnvoy(ctx context.Context, name string) error {
	dir := f.stand.newDir()
	err := f.start(ctx, mtls.Envoy, "envoy", "--run-dir", filepath.Join(dir, "run"), "--data-dir", filepath.Join(dir, "data"),
		"--cache-dir", f.config.CacheDir, "--envoy", f.config.Envoy, "--envoy-concurrency", "1", "--node-id", name,
		"--database-url", f.database)
	if err != nil {
		return err
	}
	last := f.stand.processes[len(f.stand.processes)-1]
	f.envoys = append(f.envoys, &fleetEnvoy{process: last, admin: filepath.Join(dir, "run", "envoy-admin.sock")})
	return nil
}

// await waits until both Envoys use both controls and all hosts.
func (f *fleet) await(ctx context.Context) error {
	for _, e := range f.envoys {
		handle := envoy.New(envoy.Options{Bootstrap: envoy.Bootstrap{AdminSocket: e.admin}})
		err := e.process.waitFor(ctx, func() (err error) {
			brief, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if e.address, err = handle.ListenerAddr(brief, xds.ListenerName); err != nil {
				return err
			}
			return f.uses(brief, e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// uses tells whether an Envoy has all others.
func (f *fleet) uses(ctx context.Context, e *fleetEnvoy) error {
	clusters, err := askSocket(ctx, e.admin, "/clusters")
	if err != nil {
		return err
	}
	want := func(cluster, address, flags string) error {
		if !strings.Contains(clusters, cluster+"::"+address+"::health_flags::"+flags+"\n") {
			return fmt.Errorf("it does not use %s of %s", address, cluster)
		}
		return nil
	}
	for _, address := range f.controls {
		for _, cluster := range []string{"control", "control-api", "extproc"} {
			err = errors.Join(err, want(cluster, address, "healthy"))
		}
	}
	for language, addresses := range f.hosts {
		for _, address := range addresses {
			err = errors.Join(err, want("runtime-"+language, address, "healthy"))
		}
	}
	return err
}

// findHosts finds queries by which Envoy has different hosts called: it tells how many calls
// each has had.
func (f *fleet) findHosts(ctx context.Context, c *changing) error {
	called := make(map[string]bool)
	client, err := dial(ctx, Endpoint{Network: "tcp", Address: f.envoys[0].address})
	if err != nil {
		return err
	}
	defer client.close()
	before, err := f.callsOf(ctx, c.language)
	for n := 0; err == nil && len(called) < fleetTwo; n++ {
		if n == queriesMost {
			return fmt.Errorf("%d queries all lead to the same host of %s", n, c.language)
		}
		if n >= queriesAtOnce && !pause(ctx, queryPause) {
			return ctx.Err()
		}
		query := "?n=" + strconv.Itoa(n)
		if _, err := askFor(client, c.ask(byHosts, query)); err != nil {
			return fmt.Errorf("call %s-%s: %w", c.language, c.title, err)
		}
		var after map[string]int
		after, err = f.callsOf(ctx, c.language)
		for host, calls := range after {
			if calls > before[host] && !called[host] {
				called[host] = true
				c.queries = append(c.queries, query)
				break
			}
		}
		before = after
	}
	return err
}

// Of two hosts queriesAtOnce find one by all but a million's part. Where they do not, Envoy has
// left it out for a moment, as it may when it has just compiled its filter.
const (
	queriesAtOnce = 20
	queriesMost   = 120
	queryPause    = 100 * time.Millisecond
)

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// callsOf is how many calls the first Envoy has sent to each host of a language.
func (f *fleet) callsOf(ctx context.Context, language string) (map[string]int, error) {
	clusters, err := askSocket(ctx, f.envoys[0].admin, "/clusters")
	if err != nil {
		return nil, err
	}
	calls := make(map[string]int)
	for line := range strings.Lines(clusters) {
		fields := strings.Split(strings.TrimSpace(line), "::")
		if len(fields) == 4 && fields[0] == "runtime-"+language && fields[2] == "rq_total" {
			calls[fields[1]], _ = strconv.Atoi(fields[3])
		}
	}
	return calls, nil
}

// askSocket asks by GET over a Unix socket.
func askSocket(ctx context.Context, socket, path string) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy"+path, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask Envoy for %s: %w", path, err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("ask Envoy for %s: %w", path, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", fmt.Errorf("ask Envoy for %s: %w", path, err)
	}
	return string(body), nil
}
