package bench

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// peers are the programs that answer as our functions do, and the pins of what they
// run in, for make.
//
//go:embed peers
var peers embed.FS

// server is a program that answers by itself.
type server struct {
	name          string // of its Envoy cluster, and first in its path
	role          Role
	argv          []string
	address       string   // a Unix socket's path, or host:port
	needs         []string // other servers that a request through it passes
	alone, behind string   // the keys of its cases, without and with Envoy

	aloneGet, behindGet string // those of cases that ask it by GET
	// installed is what make installs for it; empty for what is always there. Without
	// it, or when the server does not start, its cases are missing.
	installed string
}

// keys are those of the cases that need the server to answer.
func (s server) keys() []string { return []string{s.alone, s.behind, s.aloneGet, s.behindGet} }

// servers lists what we compare with, in the order in which they need each other.
// The first port is node:http's, the second its proxy's.
func (s *stand) servers(ports []string) []server {
	c, files := s.config, filepath.Join(s.dir, "peers")
	self := func(command string, args ...string) []string { return append([]string{c.Self, command}, args...) }
	socket := func(name string) string { return filepath.Join(s.dir, name+".sock") }
	node := filepath.Join(c.PeersDir, "node", "node_modules")
	packages := filepath.Join(c.PeersDir, "python")
	python := []string{"env", "PYTHONPATH=" + packages, c.Python, "-m"}
	framework := filepath.Join(node, "@google-cloud", "functions-framework")
	workerd := filepath.Join(node, "@cloudflare", "workerd-linux-"+workerdArch(), "bin", "workerd")
	return []server{
		{
			name: "node", role: Interpreter, address: socket("node"), alone: "d", behind: "b", behindGet: "cb",
			argv: []string{c.Node, filepath.Join(files, "node.js"), socket("node"), ports[0]},
		},
		{
			name: "proxy", role: Other, address: loopback(ports[1]), behind: "c", needs: []string{"node"},
			argv: self(ProxyCommand, loopback(ports[1]), loopback(ports[0])),
		},
		{
			name: "unix-proxy", role: Other, address: socket("proxy"), behind: "u", needs: []string{"node"},
			argv: self(ProxyCommand, socket("proxy"), socket("node")),
		},
		{
			name: "wazero", role: Other, address: socket("wazero"), alone: "wd",
			argv: self(WazeroCommand, socket("wazero")),
		},
		{
			name: "uvicorn", role: Interpreter, address: socket("uvicorn"), alone: "pd", behind: "pb",
			installed: filepath.Join(packages, "uvicorn"),
			argv: append(python, "uvicorn", "--app-dir", files, "--uds", socket("uvicorn"),
				"--log-level", "warning", "--no-access-log", "--timeout-keep-alive", "600", "asgi:app"),
		},
		{
			name: "granian", role: Interpreter, address: socket("granian"), alone: "gd",
			installed: filepath.Join(packages, "granian"),
			argv: append(python, "granian", "--interface", "asgi", "--uds", socket("granian"), "--no-log",
				"--working-dir", files, "asgi:app"),
		},
		{
			name: "framework-node", role: Interpreter, address: loopback(ports[2]), alone: "nd", behind: "nb",
			installed: framework,
			argv: []string{
				"env", "NODE_ENV=production", c.Node, filepath.Join(framework, "build", "src", "main.js"),
				"--source=" + filepath.Join(files, "framework.js"), "--target=add", "--port=" + ports[2],
			},
		},
		{
			name: "framework-python", role: Interpreter, address: loopback(ports[3]), alone: "yd", behind: "yb",
			installed: filepath.Join(packages, "functions_framework"),
			argv: append(python, "functions_framework", "--source="+filepath.Join(files, "framework.py"),
				"--target=add", "--host=127.0.0.1", "--port="+ports[3]),
		},
		{
			name: "workerd", role: Other, address: socket("workerd"), alone: "kd", behind: "kb", aloneGet: "cd",
			installed: workerd,
			argv:      []string{workerd, "serve", filepath.Join(files, "workerd.capnp"), "--socket-addr", "http=unix:" + socket("workerd")},
		},
	}
}

// workerdArch is what npm's packages call this machine.
func workerdArch() string {
	if runtime.GOARCH == "amd64" {
		return "64"
	}
	return runtime.GOARCH
}

// startServers returns those that run.
func (s *stand) startServers(ctx context.Context) ([]server, error) {
	files, err := fs.Sub(peers, "peers")
	if err != nil {
		return nil, fmt.Errorf("find the peers' programs: %w", err)
	}
	if err := os.CopyFS(filepath.Join(s.dir, "peers"), files); err != nil {
		return nil, fmt.Errorf("lay down the peers' programs: %w", err)
	}
	ports, err := freePorts(ctx, 4)
	if err != nil {
		return nil, err
	}
	var started []server
	for _, server := range s.servers(ports) {
		if !s.wants(server.keys()...) && server.name != "node" { // which the proxies need
			continue
		}
		switch err := s.startServer(ctx, server); {
		case err == nil:
			started = append(started, server)
		case server.installed == "" || ctx.Err() != nil:
			return nil, err
		default:
			s.miss(err, server.keys()...)
		}
	}
	return started, nil
}

func (s *stand) startServer(ctx context.Context, server server) error {
	if server.installed != "" {
		if _, err := os.Stat(server.installed); err != nil {
			return errors.New("it is not installed: `make bench` does that, with npm and pip")
		}
	}
	return s.run(ctx, group{server.name, server.role}, server.argv, accepts(ctx, server.address))
}
