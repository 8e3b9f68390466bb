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

// The function that our cases run does what the bare node:http server does.
const (
	languageTitle = "nodejs-bench"
	addFunction   = `module.exports = (event) => event.params.a + event.params.b;`
)

// target is where a running Envoke is reached.
type target struct {
	address    string // host:port of its Envoy
	hostSocket string // the nodejs host's Unix socket
}

// startOurs starts Envoke and adds our cases.
func (s *stand) startOurs(ctx context.Context, config Config) error {
	ours, err := s.startEnvoke(ctx, config)
	if err != nil {
		return err
	}
	id, err := initialize(ctx, ours.address)
	if err != nil {
		return err
	}
	execute := Endpoint{Network: "tcp", Address: ours.address, Path: "/api/v1/execute/" + id}
	host, extProc, oneShot := execute, execute, execute
	host.Network, host.Address = "unix", ours.hostSocket
	extProc.Header = http.Header{"X-Cache-Control": {"no-cache"}}
	oneShot.Path, oneShot.Header = "/api/v1/execute", http.Header{"Language-Title": {languageTitle}}
	s.cases = append(s.cases,
		Case{Key: "e", Name: "nodejs host alone", Endpoint: host},
		Case{Key: "f", Name: "Envoke, plain execute", Endpoint: execute},
		Case{Key: "g", Name: "Envoke, execute through ext_proc", Endpoint: extProc},
		Case{Key: "h", Name: "Envoke, one-shot of new code", Endpoint: oneShot, Cold: true},
	)
	return nil
}

// startEnvoke runs `envoke serve` with folders of its own and waits until it says
// that it is ready.
func (s *stand) startEnvoke(ctx context.Context, config Config) (target, error) {
	runDir := filepath.Join(s.dir, "run")
	p, err := s.start(ctx, Envoke, append([]string{
		config.Envoke, "serve",
		"--host", "127.0.0.1", "--port", "0", "--admin-port", "0",
		"--data-dir", filepath.Join(s.dir, "data"), "--cache-dir", config.CacheDir, "--run-dir", runDir,
		"--database-url=", "--nodejs-runtime-url=", "--log-level", "warn",
		"--node", config.Node, "--envoy", config.Envoy,
		"--envoy-concurrency", strconv.Itoa(config.Concurrency),
	}, config.EnvokeArgs...)...)
	if err != nil {
		return target{}, err
	}
	ours := target{hostSocket: filepath.Join(runDir, "nodejs.sock")}
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

// initialize makes the session that our cases execute.
func initialize(ctx context.Context, address string) (string, error) {
	endpoint := Endpoint{
		Network: "tcp", Address: address, Path: "/api/v1/initialize",
		Header: http.Header{"Language-Title": {languageTitle}},
	}
	c, err := dial(ctx, endpoint)
	if err != nil {
		return "", err
	}
	defer c.close()
	body, err := json.Marshal(map[string]string{"script_content": addFunction})
	if err != nil {
		return "", fmt.Errorf("initialize: %w", err)
	}
	reply, err := c.roundTrip(newRequest(endpoint, body))
	if err != nil {
		return "", fmt.Errorf("initialize: %w", err)
	}
	var session struct {
		ID string `json:"request_id"`
	}
	if err := json.Unmarshal(reply, &session); err != nil || session.ID == "" {
		return "", fmt.Errorf("initialize: no request_id in %.300s", reply)
	}
	return session.ID, nil
}
