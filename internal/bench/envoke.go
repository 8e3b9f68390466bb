package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
)

// target is where a running Envoke is reached.
type target struct {
	address string // host:port of its Envoy
	runDir  string // of the hosts' sockets
}

// startOurs starts Envoke and adds the endpoints of our cases.
func (s *stand) startOurs(ctx context.Context) error {
	ours, err := s.startEnvoke(ctx)
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
	return nil
}

// addFunction makes the session that the cases of a function execute.
func (s *stand) addFunction(ctx context.Context, ours target, f function) error {
	id, err := initialize(ctx, ours.address, f.title, f.members(f.source))
	if err != nil {
		return fmt.Errorf("initialize %s: %w", f.title, err)
	}
	execute := Endpoint{Network: "tcp", Address: ours.address, Path: "/api/v1/execute/" + id, Of: []string{envokeName}}
	host, extProc, oneShot := execute, execute, execute
	host.Network, host.Address = "unix", filepath.Join(ours.runDir, f.host+".sock")
	extProc.Header = http.Header{"X-Cache-Control": {"no-cache"}}
	oneShot.Path, oneShot.Header = "/api/v1/execute", http.Header{"Language-Title": {f.title}}
	oneShot.Unseen = f.unseen
	s.endpoints[f.alone], s.endpoints[f.plain], s.endpoints[f.extProc], s.endpoints[f.cold] = host, execute, extProc, oneShot
	return nil
}

// startEnvoke runs `envoke serve` with folders of its own and waits until it says
// that it is ready.
func (s *stand) startEnvoke(ctx context.Context) (target, error) {
	ours := target{runDir: filepath.Join(s.dir, "run")}
	argv := append([]string{
		s.config.Envoke, "serve",
		"--host", "127.0.0.1", "--port", "0", "--admin-port", "0",
		"--data-dir", filepath.Join(s.dir, "data"), "--cache-dir", s.config.CacheDir, "--run-dir", ours.runDir,
		"--database-url=", "--nodejs-runtime-url=", "--python-runtime-url=", "--rust-runtime-url=", "--log-level", "warn",
		"--node", s.config.Node, "--python", s.config.Python, "--envoy", s.config.Envoy,
		"--envoy-concurrency", strconv.Itoa(s.config.Concurrency),
	}, s.config.EnvokeArgs...)
	p, err := startProcess(ctx, group{envokeName, Envoke}, argv)
	if err != nil {
		return target{}, err
	}
	s.processes = append(s.processes, p)
	err = p.waitFor(ctx, func() error {
		address := readyAddress.FindStringSubmatch(p.output.String())
		if address == nil {
			return errors.New("it has not said that it is ready")
		}
		ours.address = address[1]
		return nil
	})
	return ours, err
}

// readyAddress is in the line by which envoke says that it is ready.
var readyAddress = regexp.MustCompile(`http://(127\.0\.0\.1:\d+)`)

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
	var session struct {
		ID string `json:"request_id"`
	}
	if err := json.Unmarshal(reply, &session); err != nil || session.ID == "" {
		return "", fmt.Errorf("no request_id in %.300s", reply)
	}
	return session.ID, nil
}
