package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
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

// startEnvoke runs `envoke serve` with a data folder of its own and waits until
// it says that it is ready. Its sockets land in our folder, wherever it makes its
// temporary ones.
func (s *stand) startEnvoke(ctx context.Context, config Config) (target, error) {
	port, err := freePort(ctx)
	if err != nil {
		return target{}, err
	}
	argv := []string{
		config.Envoke, "serve", "--host", "127.0.0.1", "--port", port,
		"--data-dir", filepath.Join(s.dir, "data"), "--cache-dir", config.CacheDir,
	}
	p, err := s.start(Envoke, append(argv, config.EnvokeArgs...), "TMPDIR="+s.dir, "LOG_LEVEL=warn")
	if err != nil {
		return target{}, err
	}
	ours := target{address: net.JoinHostPort("127.0.0.1", port), hostSocket: config.HostSocket}
	err = p.waitFor(ctx, func() error {
		if !strings.Contains(p.output.String(), "http://"+ours.address) {
			return errors.New("it has not said that it is ready")
		}
		return nil
	})
	if err == nil && ours.hostSocket == "" {
		ours.hostSocket, err = findSocket(s.dir, "nodejs")
	}
	return ours, err
}

func freePort(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), nil
}

// findSocket finds the one Unix socket under dir whose name holds the given word.
func findSocket(dir, word string) (string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type() == fs.ModeSocket && strings.Contains(entry.Name(), word) {
			found = append(found, path)
		}
		return nil // what cannot be read or has just gone is not what we look for
	})
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("find the socket of the %s host: found %q; name it with -host-socket", word, found)
	}
	return found[0], nil
}

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
