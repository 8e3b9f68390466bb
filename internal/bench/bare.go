package bench

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/template"
)

//go:embed node_server.js
var nodeServer []byte

//go:embed bare_envoy.yaml
var bareEnvoy string

var bareEnvoyTemplate = template.Must(template.New("bare_envoy.yaml").Parse(bareEnvoy))

// directReply is what the bare Envoy answers by itself.
const directReply = `{"result":3}`

// stand is everything that a run measures.
type stand struct {
	dir       string // short: Unix sockets allow paths of 107 bytes
	processes []*process
	cases     []Case
}

// roots are the processes whose trees are accounted.
func (s *stand) roots() map[int]Role {
	roots := make(map[int]Role, len(s.processes))
	for _, p := range s.processes {
		roots[p.cmd.Process.Pid] = p.role
	}
	return roots
}

// stop ends the processes, the last started first.
func (s *stand) stop() {
	for _, p := range slices.Backward(s.processes) {
		p.stop()
	}
}

func (s *stand) start(ctx context.Context, role Role, argv ...string) (*process, error) {
	p, err := startProcess(ctx, role, argv)
	if err == nil {
		s.processes = append(s.processes, p)
	}
	return p, err
}

// startBare starts node:http, the reverse proxy and the bare Envoy, in the order
// in which they need each other.
func (s *stand) startBare(ctx context.Context, config Config) error {
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return err
	}
	nodeSocket, nodePort := filepath.Join(s.dir, "node.sock"), ports[0]
	proxySocket, proxyPort := filepath.Join(s.dir, "proxy.sock"), ports[1]
	if err := s.startNode(ctx, config.Node, nodeSocket, nodePort); err != nil {
		return err
	}
	if err := s.startProxy(ctx, config, loopback(proxyPort), loopback(nodePort)); err != nil {
		return err
	}
	if err := s.startProxy(ctx, config, proxySocket, nodeSocket); err != nil {
		return err
	}
	address, err := s.startBareEnvoy(ctx, config, map[string]string{
		"Node": nodeSocket, "Proxy": proxySocket, "ProxyPort": proxyPort, "DirectReply": directReply,
	})
	if err != nil {
		return err
	}
	s.addBareCases(address, nodeSocket)
	return nil
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }

// freePorts are ports of 127.0.0.1 that nobody listened on a moment ago.
func freePorts(ctx context.Context, n int) (ports []string, err error) {
	for range n {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", loopback("0"))
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = listener.Close() }() // all at the end: no port twice
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		ports = append(ports, port)
	}
	return ports, nil
}

func (s *stand) startProxy(ctx context.Context, config Config, listen, upstream string) error {
	p, err := s.start(ctx, Proxy, append(slices.Clone(config.ProxyCommand), listen, upstream)...)
	if err != nil {
		return err
	}
	return p.waitFor(ctx, accepts(ctx, listen))
}

func (s *stand) startNode(ctx context.Context, node, socket, port string) error {
	script := filepath.Join(s.dir, "node_server.js")
	if err := os.WriteFile(script, nodeServer, 0o600); err != nil {
		return fmt.Errorf("write the node:http server: %w", err)
	}
	p, err := s.start(ctx, Node, node, script, socket, port)
	if err != nil {
		return err
	}
	if err := p.waitFor(ctx, accepts(ctx, socket)); err != nil {
		return err
	}
	return p.waitFor(ctx, accepts(ctx, loopback(port)))
}

// startBareEnvoy returns the address that Envoy listens on.
func (s *stand) startBareEnvoy(ctx context.Context, config Config, values map[string]string) (string, error) {
	values["Admin"] = filepath.Join(s.dir, "admin.sock")
	var bootstrap bytes.Buffer
	if err := bareEnvoyTemplate.Execute(&bootstrap, values); err != nil {
		return "", fmt.Errorf("write the bare Envoy's bootstrap: %w", err)
	}
	path := filepath.Join(s.dir, "bare_envoy.yaml")
	if err := os.WriteFile(path, bootstrap.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("write the bare Envoy's bootstrap: %w", err)
	}
	p, err := s.start(ctx, Envoy, config.Envoy, "-c", path, "--log-level", "warning",
		"--concurrency", strconv.Itoa(config.Concurrency), "--disable-hot-restart")
	if err != nil {
		return "", err
	}
	var address string
	err = p.waitFor(ctx, func() (err error) {
		address, err = listenerAddress(ctx, values["Admin"])
		return err
	})
	return address, err
}

// listenerAddress asks Envoy where its only listener listens.
func listenerAddress(ctx context.Context, admin string) (string, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", admin)
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/listeners?format=json", http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask Envoy for its listener: %w", err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("ask Envoy for its listener: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	var listeners struct {
		Statuses []struct {
			Address struct {
				Socket struct {
					Host string `json:"address"`
					Port int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.NewDecoder(response.Body).Decode(&listeners); err != nil {
		return "", fmt.Errorf("ask Envoy for its listener: %w", err)
	}
	if len(listeners.Statuses) == 0 {
		return "", errors.New("ask Envoy for its listener: it has none yet")
	}
	socket := listeners.Statuses[0].Address.Socket
	return net.JoinHostPort(socket.Host, strconv.Itoa(socket.Port)), nil
}

// addBareCases gives the bare cases paths that are as long as our own.
func (s *stand) addBareCases(address, nodeSocket string) {
	const rest = "/v1/execute/00000000-0000-8110-8000-000000000000"
	envoy := func(prefix string) Endpoint {
		return Endpoint{Network: "tcp", Address: address, Path: prefix + rest}
	}
	direct := envoy("/direct")
	direct.Fixed = directReply
	s.cases = append(s.cases,
		Case{Key: "a", Name: "Envoy, direct response", Endpoint: direct},
		Case{Key: "b", Name: "Envoy → node:http", Endpoint: envoy("/node")},
		Case{Key: "c", Name: "Envoy → Go reverse proxy → node:http", Endpoint: envoy("/proxy")},
		Case{Key: "u", Name: "the same over Unix sockets", Endpoint: envoy("/unix-proxy")},
		Case{Key: "d", Name: "node:http alone", Endpoint: Endpoint{Network: "unix", Address: nodeSocket, Path: "/node" + rest}},
	)
}
