package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"envoke/xds"
)

// sockets names the Unix sockets by which the parts on one machine meet.
type sockets struct{ dir string }

// maxSocketPath is what the kernel takes in sun_path, less the final zero byte.
const maxSocketPath = 107

func (s sockets) control() string { return filepath.Join(s.dir, "control.sock") }
func (s sockets) api() string     { return filepath.Join(s.dir, "api.sock") }
func (s sockets) admin() string   { return filepath.Join(s.dir, "envoy-admin.sock") }
func (s sockets) host(language string) string {
	return filepath.Join(s.dir, language+".sock")
}

// hostGRPC is where the language's host answers gRPC.
func (s sockets) hostGRPC(language string) string {
	return filepath.Join(s.dir, language+"-grpc.sock")
}

// openSockets makes the folder, for its owner only. An empty dir makes a new one
// in the temporary folder, which the returned function removes.
func openSockets(dir string) (sockets, func(), error) {
	remove := func() {}
	if dir == "" {
		made, err := os.MkdirTemp("", "envoke-")
		if err != nil {
			return sockets{}, nil, err
		}
		dir, remove = made, func() { _ = os.RemoveAll(made) }
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return sockets{}, nil, fmt.Errorf("RUN_DIR: %w", err)
	}
	s := sockets{dir: dir}
	if len(s.admin()) > maxSocketPath {
		return sockets{}, nil, fmt.Errorf("RUN_DIR %s is too long a path for sockets: give a shorter one by --run-dir", dir)
	}
	return s, remove, nil
}

// listenUnix takes over a socket file that nobody listens on any more, as a
// killed process leaves it, and refuses one that somebody does.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if err := checkSocket(ctx, path); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(path, 0o600)
}

// checkSocket refuses a socket that somebody listens on.
func checkSocket(ctx context.Context, path string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil // nobody does
	}
	_ = conn.Close()
	return fmt.Errorf("%s is in use: another envoke runs there; stop it or give another --run-dir", path)
}

// checkPort tells in one line that a port is taken, before Envoy would.
func checkPort(ctx context.Context, setting, host string, port int) error {
	if port == 0 {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d on %s is in use: stop what listens there, or choose another with %s", port, host, setting)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d needs rights that this user lacks: choose one from 1024 with %s", port, setting)
	case err != nil:
		return fmt.Errorf("listen on %s port %d: %w", host, port, err)
	}
	return listener.Close()
}

// checkElsewhere checks where hosts are that somebody else runs. What passes between machines is
// code and its results: plain HTTP stays on one.
func (c *Config) checkElsewhere() (faults []error) {
	for _, l := range languages() {
		addresses := l.elsewhere(c)
		if addresses == "" {
			continue
		}
		all, err := parseEndpoints(addresses)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", l.variable(), err))
		}
		for _, at := range all {
			if at.Path == "" && !net.ParseIP(at.Host).IsLoopback() {
				faults = append(faults, fmt.Errorf("%s has %s, which is another machine, by plain HTTP: run the host there with HOST_LISTEN and certificates (docs/machines.md)", l.variable(), at.Host))
			}
		}
	}
	return faults
}

// parseEndpoints reads the addresses of a language's runtime hosts, with commas between.
func parseEndpoints(addresses string) ([]xds.Endpoint, error) {
	var endpoints []xds.Endpoint
	for address := range strings.SplitSeq(addresses, ",") {
		at, err := parseEndpoint(strings.TrimSpace(address))
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, at)
	}
	return endpoints, nil
}

// parseEndpoint reads the address of a runtime host.
func parseEndpoint(address string) (xds.Endpoint, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok && path != "" {
		return xds.Endpoint{Path: strings.TrimPrefix(path, "//")}, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || net.ParseIP(u.Hostname()) == nil || strings.Trim(u.Path, "/") != "" {
		return xds.Endpoint{}, fmt.Errorf("%q is neither unix:<path> nor http://<IP address>:<port>", address)
	}
	if u.Port() == "" {
		return xds.Endpoint{Host: u.Hostname(), Port: 80}, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return xds.Endpoint{}, fmt.Errorf("%q: port: %w", address, err)
	}
	return xds.Endpoint{Host: u.Hostname(), Port: int(port)}, nil
}
