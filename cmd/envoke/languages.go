package main

import (
	"context"

	"envoke/internal/faas"
	"envoke/runtimes/interpreter"
	"envoke/runtimes/nodejs"
	"envoke/runtimes/python"
	"envoke/runtimes/sandbox"
	"envoke/xds"
)

// language is a runtime that this binary can host.
type language struct {
	faas.Language
	title string // for people
	// elsewhere is the setting that names a host that somebody else runs.
	elsewhere func(*Config) string
	// prepare finds the interpreter and lays down the worker.
	prepare func(context.Context, *Config) (interpreter.Command, error)
	sandbox func(*Config) sandbox.Config
}

func languages() []language {
	return []language{
		{
			Language: faas.NodeJS, title: "JavaScript",
			elsewhere: func(c *Config) string { return c.NodejsRuntimeURL },
			prepare:   prepareNodejs,
			sandbox:   func(*Config) sandbox.Config { return sandbox.Config{} }, // V8 bounds its heap
		},
		{
			Language: faas.Python, title: "Python",
			elsewhere: func(c *Config) string { return c.PythonRuntimeURL },
			prepare:   preparePython,
			sandbox: func(c *Config) sandbox.Config {
				return sandbox.Config{Memory: uint64(c.WorkerMemoryMB) << 20}
			},
		},
	}
}

func prepareNodejs(ctx context.Context, c *Config) (interpreter.Command, error) {
	found, err := nodejs.Find(ctx, c.Node)
	if err != nil {
		return interpreter.Command{}, err
	}
	return nodejs.Prepare(c.CacheDir, found, c.WorkerMemoryMB)
}

func preparePython(ctx context.Context, c *Config) (interpreter.Command, error) {
	found, err := python.Find(ctx, c.Python)
	if err != nil {
		return interpreter.Command{}, err
	}
	return python.Prepare(ctx, c.CacheDir, found)
}

// endpoint is where the language's host listens.
func (l language) endpoint(e *environment) xds.Endpoint {
	if address := l.elsewhere(e.config); address != "" {
		at, _ := parseEndpoint(address) // checked with the settings
		return at
	}
	return xds.Endpoint{Path: e.sockets.host(string(l.Language))}
}

// variable is the name of the setting elsewhere.
func (l language) variable() string {
	return envName(string(l.Language)) + "_RUNTIME_URL"
}
