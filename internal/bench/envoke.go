package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// target is where a running Envoke is reached.
type target struct {
	name      string // under which it was started
	address   string // host:port of its Envoy
	operators string // host:port for operators
	runDir    string // of the hosts' sockets
	dataDir   string
}

// startOurs starts Envoke and adds the endpoints of our cases.
func (s *stand) startOurs(ctx context.Context) error {
	ours, err := s.startEnvoke(ctx, envokeName, s.compilerArgs()...)
	if err != nil {
		return err
	}
	for _, f := range functions() {
		if !s.wants(f.alone, f.plain, f.extProc, f.cold) {
			continue
		}
		if err := s.addFunction(ctx, ours, f); err != nil {
			return err
		}
	}
	s.addBuild(ctx, ours)
	s.filtered = ours
	if err := s.startEmpty(ctx); err != nil {
		return err
	}
	if err := s.startCached(ctx, ours); err != nil {
		return err
	}
	if err := s.startHooked(ctx, ours, filepath.Join(s.dir, "node.sock")); err != nil {
		return err
	}
	return s.startChecked(ctx)
}

// startEmpty starts an Envoke that keeps no worker ready, even on demand: that is a
// quarter of all workers at most, and it may have three.
func (s *stand) startEmpty(ctx context.Context) error {
	if !s.wants("i", "pi") {
		return nil
	}
	ours, err := s.startEnvoke(ctx, emptyName, "--idle-workers", "0", "--max-workers", "3")
	if err != nil {
		return err
	}
	for _, f := range functions() {
		if f.empty != "" && s.wants(f.empty) {
			s.endpoints[f.empty] = oneShotOf(ours, f)
		}
	}
	return nil
}

func oneShotOf(ours target, f function) Endpoint {
	return Endpoint{
		Network: "tcp", Address: ours.address, Path: "/api/v1/execute", Of: []string{ours.name},
		Header: http.Header{"Language-Title": {f.title}}, Unseen: f.unseen,
	}
}

// addFunction makes the session that the cases of a function execute.
func (s *stand) addFunction(ctx context.Context, ours target, f function) error {
	id, err := initialize(ctx, ours.address, f.title, f.members(f.source))
	if err != nil {
		return fmt.Errorf("initialize %s: %w", f.title, err)
	}
	execute := Endpoint{Network: "tcp", Address: ours.address, Path: "/api/v1/execute/" + id, Of: []string{ours.name}}
	host, extProc := execute, execute
	host.Network, host.Address = "unix", filepath.Join(ours.runDir, f.host+".sock")
	extProc.Header = http.Header{"X-Cache-Control": {"no-cache"}}
	s.endpoints[f.alone], s.endpoints[f.plain], s.endpoints[f.extProc], s.endpoints[f.cold] = host, execute, extProc, oneShotOf(ours, f)
	return nil
}

// startEnvoke runs `envoke serve` with folders of its own and waits until it says
// that it is ready.
func (s *stand) startEnvoke(ctx context.Context, name string, args ...string) (target, error) {
	dir := s.newDir()
	ours := target{name: name, runDir: filepath.Join(dir, "run"), dataDir: filepath.Join(dir, "data")}
	argv := slices.Concat([]string{
		s.config.Envoke, "serve",
		"--host", "127.0.0.1", "--port", "0", "--admin-port", "0",
		"--data-dir", ours.dataDir, "--cache-dir", s.config.CacheDir, "--run-dir", ours.runDir,
		"--database-url=", "--redis-url=", "--redis-cache-url=", "--nodejs-runtime-url=", "--python-runtime-url=", "--rust-runtime-url=", "--log-level", "warn",
		"--node", s.config.Node, "--python", s.config.Python, "--envoy", s.config.Envoy,
		"--envoy-concurrency", strconv.Itoa(s.config.Concurrency),
	}, s.config.EnvokeArgs, args)
	p, err := startProcess(ctx, group{name, Envoke}, argv)
	if err != nil {
		return target{}, err
	}
	s.processes = append(s.processes, p)
	err = p.waitFor(ctx, func() error {
		addresses := readyAddresses.FindStringSubmatch(p.output.String())
		if addresses == nil {
			return errors.New("it has not said that it is ready")
		}
		ours.address, ours.operators = addresses[1], addresses[2]
		return nil
	})
	return ours, err
}

// readyAddresses are in the line by which envoke says that it is ready.
var readyAddresses = regexp.MustCompile(`http://(127\.0\.0\.1:\d+) \(operators: http://(127\.0\.0\.1:\d+)\)`)

// post returns the reply to one request.
func post(ctx context.Context, endpoint Endpoint, body string) ([]byte, error) {
	c, err := dial(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.roundTrip(newRequest(endpoint, []byte(body)))
}

// initialize makes the session that our cases execute.
func initialize(ctx context.Context, address, title, members string) (string, error) {
	endpoint := Endpoint{
		Network: "tcp", Address: address, Path: "/api/v1/initialize",
		Header: http.Header{"Language-Title": {title}},
	}
	reply, err := post(ctx, endpoint, "{"+members+"}")
	if err != nil {
		return "", err
	}
	return sessionOf(reply)
}

// sessionOf reads the session's id from a reply of initialize.
func sessionOf(reply []byte) (string, error) {
	var session struct {
		ID string `json:"request_id"`
	}
	if err := json.Unmarshal(reply, &session); err != nil || session.ID == "" {
		return "", fmt.Errorf("no request_id in %.300s", reply)
	}
	return session.ID, nil
}
