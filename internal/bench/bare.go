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

// What the bare Envoy answers by itself, without and with the fields that functions
// answer a GET with.
const (
	directReply    = `{"result":3}`
	directGetReply = `{"result":100000002,"request_id":"00000000-0000-8110-8000-000000000000",` +
		`"language_title":"nodejs-bench","execution_time_ms":0.051,"memory_usage_bytes":52428800,"cached":false}`
)

// bootstrap is what bare_envoy.yaml is filled with.
type bootstrap struct {
	Admin          string // the admin's socket
	DirectReply    string
	DirectGetReply string
	Upstreams      []server
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
	if err := bareEnvoyTemplate.Execute(&text, bootstrap{admin, directReply, directGetReply, upstreams}); err != nil {
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
	behind := Endpoint{Network: "tcp", Address: envoy, Of: []string{bareName}}
	direct, directGet := behind, behind
	direct.Path, direct.Fixed = "/direct"+rest, directReply
	directGet.Path, directGet.Get, directGet.Fixed = "/direct-get"+cachedPath, true, directGetReply
	s.endpoints["a"], s.endpoints["ca"] = direct, directGet
	for _, server := range started {
		alone, behind := Endpoint{Network: network(server.address), Address: server.address}, behind
		alone.Of = append([]string{server.name}, server.needs...)
		behind.Of = append([]string{server.name, bareName}, server.needs...)
		alone.Path, behind.Path = "/"+server.name+rest, "/"+server.name+rest
		s.endpoints[server.alone], s.endpoints[server.behind] = alone, behind
		alone.Get, behind.Get = true, true
		alone.Path, behind.Path = "/"+server.name+cachedPath, "/"+server.name+cachedPath
		s.endpoints[server.aloneGet], s.endpoints[server.behindGet] = alone, behind
	}
}
