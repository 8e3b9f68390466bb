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
	"strconv"
	"text/template"
)

//go:embed bare_envoy.yaml
var bareEnvoy string

var bareEnvoyTemplate = template.Must(template.New("bare_envoy.yaml").Parse(bareEnvoy))

// directReply is what the bare Envoy answers by itself.
const directReply = `{"result":3}`

// bootstrap is what bare_envoy.yaml is filled with.
type bootstrap struct {
	Admin       string // the admin's socket
	DirectReply string
	Upstreams   []server
}

// Name is the server's cluster.
func (s server) Name() string { return s.name }

// EnvoyAddress is where the server listens, as Envoy's configuration writes it.
func (s server) EnvoyAddress() string {
	if network(s.address) == "unix" {
		return fmt.Sprintf("{pipe: {path: %q}}", s.address)
	}
	host, port, _ := net.SplitHostPort(s.address) // it has both: loopback made it
	return fmt.Sprintf("{socket_address: {address: %s, port_value: %s}}", host, port)
}

// startBare starts what we compare with, and a bare Envoy before it.
func (s *stand) startBare(ctx context.Context) error {
	started, err := s.startServers(ctx)
	if err != nil {
		return err
	}
	envoy, err := s.startBareEnvoy(ctx, started)
	if err != nil {
		return err
	}
	s.addBareEndpoints(envoy, started)
	return nil
}

// startBareEnvoy returns the address that Envoy listens on.
func (s *stand) startBareEnvoy(ctx context.Context, upstreams []server) (address string, err error) {
	admin := filepath.Join(s.dir, "admin.sock")
	var text bytes.Buffer
	if err := bareEnvoyTemplate.Execute(&text, bootstrap{admin, directReply, upstreams}); err != nil {
		return "", fmt.Errorf("write the bare Envoy's bootstrap: %w", err)
	}
	path := filepath.Join(s.dir, "bare_envoy.yaml")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("write the bare Envoy's bootstrap: %w", err)
	}
	argv := []string{
		s.config.Envoy, "-c", path, "--log-level", "warning",
		"--concurrency", strconv.Itoa(s.config.Concurrency), "--disable-hot-restart",
	}
	err = s.run(ctx, group{bareName, Envoy}, argv, func() (err error) {
		address, err = listenerAddress(ctx, admin)
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

// addBareEndpoints gives the bare cases paths that are as long as our own.
func (s *stand) addBareEndpoints(envoy string, started []server) {
	const rest = "/v1/execute/00000000-0000-8110-8000-000000000000"
	s.endpoints["a"] = Endpoint{Network: "tcp", Address: envoy, Path: "/direct" + rest, Of: []string{bareName}, Fixed: directReply}
	for _, server := range started {
		path := "/" + server.name + rest
		s.endpoints[server.alone] = Endpoint{
			Network: network(server.address), Address: server.address, Path: path,
			Of: append([]string{server.name}, server.needs...),
		}
		s.endpoints[server.behind] = Endpoint{
			Network: "tcp", Address: envoy, Path: path,
			Of: append([]string{server.name, bareName}, server.needs...),
		}
	}
}
