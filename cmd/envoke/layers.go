package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/egress"
	"envoke/runtimes/interpreter"
	"envoke/runtimes/layer"
	"envoke/runtimes/pool"
	"envoke/runtimes/relay"
	"envoke/runtimes/sandbox"
)

// pypiFiles is where pypi.org's index has its files.
const pypiFiles = "files.pythonhosted.org:443"

func (c *Config) checkIndexes() (faults []error) {
	for name, index := range map[string]string{"NPM_REGISTRY": c.NPMRegistry, "PIP_INDEX_URL": c.PipIndexURL} {
		if _, err := hostOfIndex(index); err != nil {
			faults = append(faults, fmt.Errorf("%s is %q: %w", name, index, err))
		}
	}
	return faults
}

var errIndex = errors.New("it must be a URL such as https://packages.example.com/simple")

// hostOfIndex is the host and port of a package index.
func hostOfIndex(index string) (string, error) {
	at, err := url.Parse(index)
	if err != nil || at.Hostname() == "" || at.Scheme != "https" && at.Scheme != "http" {
		return "", errIndex
	}
	return net.JoinHostPort(at.Hostname(), cmp.Or(at.Port(), map[string]string{"https": "443", "http": "80"}[at.Scheme])), nil
}

// packagePool is workers with what installs their functions' dependencies.
type packagePool struct {
	*pool.Pool
	proxy *egress.Proxy
}

// Serve serves both until the context ends, the workers first.
func (p packagePool) Serve(ctx context.Context) error {
	proxying, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- p.proxy.Serve(proxying) }()
	err := p.Pool.Serve(ctx)
	stop()
	return errors.Join(err, <-served)
}

// noPackages says why functions that an engine runs depend on no packages.
func noPackages(code engine) string {
	switch code.(type) {
	case packagePool:
		return ""
	case *relay.Engine:
		return "the code runs at OpenFaaS, with the packages that its runtime has"
	case *pool.Pool:
		return "the operator lets no function have any (DEPENDENCIES=false), or the runtime host's log says why it cannot install them"
	}
	return "WebAssembly modules bring all that they need"
}

// noContext says why sessions of a language cannot retain a context.
func noContext(l language, c *Config) string {
	if l.relayed(c) {
		return "is not for code that runs at OpenFaaS: what a function leaves in its context does not come back"
	}
	if l.Language == faas.Rust {
		return "is not for WebAssembly: a module has no context that it could change"
	}
	return ""
}

// noDependencies says why functions of a language cannot depend on packages.
func (e *environment) noDependencies(language faas.Language, found interpreter.Interpreter) string {
	if language != faas.NodeJS && language != faas.Python {
		return "nothing installs packages of this language"
	}
	if !e.config.Dependencies {
		return "the operator lets no function have any (DEPENDENCIES=false)"
	}
	if why := sandbox.NoConnect(); why != "" {
		return why
	}
	if language == faas.NodeJS && npmOf(found) == "" {
		return "the runtime host has no npm on its PATH"
	}
	return ""
}

// npmOf is the npm beside a Node.js, else the one on PATH; empty: there is none.
func npmOf(node interpreter.Interpreter) string {
	for _, command := range []string{filepath.Join(filepath.Dir(node.Path), "npm"), "npm"} {
		if path, err := exec.LookPath(command); err == nil {
			if resolved, err := filepath.EvalSymlinks(path); err == nil {
				return resolved
			}
		}
	}
	return ""
}

// toolOf is what installs packages of a language, and the hosts that it reaches.
func (e *environment) toolOf(language faas.Language, found interpreter.Interpreter) (layer.Tool, string) {
	if language == faas.NodeJS {
		npm := npmOf(found)
		tool := layer.NPM(found.Path, npm, found.Version, e.config.NPMRegistry)
		tool.Read = append(tool.Read, filepath.Dir(filepath.Dir(npm)))
		tool.Read = append(tool.Read, found.Files...)
		host, _ := hostOfIndex(e.config.NPMRegistry) // checked with the settings
		return tool, host
	}
	tool := layer.Pip(found.Path, found.Version, e.config.PipIndexURL)
	tool.Read = append(tool.Read, found.Files...)
	host, _ := hostOfIndex(e.config.PipIndexURL)
	if host == "pypi.org:443" {
		host += "," + pypiFiles
	}
	return tool, host
}

// openLayers opens the packages of functions of a language, for workers behind the walls.
func openLayers(ctx context.Context, e *environment, language faas.Language, found interpreter.Interpreter) (*layer.Layers, *egress.Proxy, error) {
	tool, hosts := e.toolOf(language, found)
	rules, err := egress.ParseRules(hosts, "*")
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(e.config.CacheDir, "layers", string(language))
	// Workers that have users of their own read them too.
	seen := sandbox.Config{Files: sandbox.Files{Read: []string{dir}}}
	if (sandbox.Config{}).NoUsers() == "" && seen.NoUsers() != "" {
		dir = filepath.Join(e.workers, "layers", string(language))
		e.logger.Debug("dependencies are not kept beyond this process", "language", language, "reason", seen.NoUsers())
	}
	proxy, err := egress.Open(ctx, egress.Options{Rules: rules, Logger: e.logger})
	if err != nil {
		return nil, nil, err
	}
	layers, err := layer.Open(layer.Options{
		Language: language, Dir: dir, Tool: tool, Egress: proxy, Registerer: e.metrics, Groups: e.groups,
		Timeout: time.Minute, // who registers a function waits little longer
	})
	return layers, proxy, err
}
