package main

import (
	"context"
	"encoding/base64"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/host"
	"envoke/runtimes/interpreter"
	"envoke/runtimes/nodejs"
	"envoke/runtimes/pool"
	"envoke/runtimes/python"
	"envoke/xds"
)

// engine runs the code of one language until Serve's context ends.
type engine interface {
	host.Engine
	Serve(context.Context) error
}

// language is a runtime that this binary can host.
type language struct {
	faas.Language
	title string // for people
	// elsewhere is the setting that names hosts that somebody else runs.
	elsewhere func(*Config) string
	open      func(context.Context, *environment) (engine, error)
	maxScript func(*Config) int // bytes of script_content
}

func languages() []language {
	return []language{
		{
			Language: faas.NodeJS, title: "JavaScript",
			elsewhere: func(c *Config) string { return c.NodejsRuntimeURL },
			open:      openNodejs,
			maxScript: func(c *Config) int { return c.MaxScriptSize },
		},
		{
			Language: faas.Python, title: "Python",
			elsewhere: func(c *Config) string { return c.PythonRuntimeURL },
			open:      openPython,
			maxScript: func(c *Config) int { return c.MaxScriptSize },
		},
		{
			Language: faas.Rust, title: "Rust and WebAssembly",
			elsewhere: func(c *Config) string { return c.RustRuntimeURL },
			open:      openRust,
			maxScript: func(c *Config) int { return base64.StdEncoding.EncodedLen(c.MaxModuleSize) },
		},
	}
}

// hasWorkers tells whether its functions run in processes of their own.
func (l language) hasWorkers() bool { return l.Language != faas.Rust }

func openNodejs(ctx context.Context, e *environment) (engine, error) {
	found, err := nodejs.Find(ctx, e.config.Node)
	if err != nil {
		return nil, err
	}
	command, err := nodejs.Prepare(e.workers, found, e.config.WorkerMemoryMB)
	if err != nil {
		return nil, err
	}
	return newPool(ctx, e, found, pool.Runtime{
		Language: faas.NodeJS, Argv: command.Argv, Env: command.Env, Read: command.Files, OwnMemory: nodejs.OwnMemory,
	})
}

func openPython(ctx context.Context, e *environment) (engine, error) {
	found, err := python.Find(ctx, e.config.Python)
	if err != nil {
		return nil, err
	}
	command, err := python.Prepare(ctx, e.workers, found)
	if err != nil {
		return nil, err
	}
	return newPool(ctx, e, found, pool.Runtime{
		Language: faas.Python, Argv: command.Argv, Env: command.Env, Read: command.Files, AddressSpace: python.AddressSpace,
	})
}

// newPool makes the workers of a language that has an interpreter.
func newPool(ctx context.Context, e *environment, found interpreter.Interpreter, runtime pool.Runtime) (engine, error) {
	c := e.config
	walls, err := e.walls(runtime.Language, runtime.Files())
	if err != nil {
		return nil, err
	}
	options := pool.Options{
		Runtime: runtime,
		Sandbox: walls, MemoryMB: c.WorkerMemoryMB,
		Idle: c.IdleWorkers, MaxWorkers: c.MaxWorkers,
		Concurrency: c.WorkerConcurrency, Queue: c.WorkerQueue,
		LoadTimeout:   time.Duration(c.ScriptTimeoutMS) * time.Millisecond,
		IdleTimeout:   time.Duration(c.WorkerIdleSeconds) * time.Second,
		StreamTimeout: time.Duration(c.StreamTimeoutSeconds) * time.Second,
		MaxResult:     maxResult, MaxScratch: int64(c.WorkerScratchMB) << 20,
		MaxCalls: c.WorkerMaxCalls, MaxAge: time.Duration(c.WorkerMaxMinutes) * time.Minute,
		MemoryMark: int64(runtime.OwnMemory) + int64(c.WorkerMemoryMB)<<20/10*9,
		Egress:     e.egress,
		Logger:     e.logger, Registerer: e.metrics,
		Log: e.logLine,
	}
	if why := e.noDependencies(runtime.Language, found); why != "" {
		e.logger.Info("functions cannot depend on packages", "language", runtime.Language, "reason", why)
		return pool.New(options), nil
	}
	layers, proxy, err := openLayers(ctx, e, runtime.Language, found)
	if err != nil {
		return nil, err
	}
	options.Layers = layers
	return packagePool{pool.New(options), proxy}, nil
}

// endpoints are where the language's hosts listen.
func (l language) endpoints(e *environment) []xds.Endpoint {
	if addresses := l.elsewhere(e.config); addresses != "" {
		at, _ := parseEndpoints(addresses) // checked with the settings
		return at
	}
	return []xds.Endpoint{{Path: e.sockets.host(string(l.Language))}}
}

// variable is the name of the setting elsewhere.
func (l language) variable() string {
	return envName(string(l.Language)) + "_RUNTIME_URL"
}
