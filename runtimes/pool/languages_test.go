package pool

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/interpreter"
	"envoke/runtimes/nodejs"
	"envoke/runtimes/python"
	"envoke/runtimes/ruby"
)

// JavaScript is the real worker of Node.js. It is exported, as Python is, for the tests
// of package pool_test.
func JavaScript(t testing.TB) Runtime {
	t.Helper()
	found, err := nodejs.Find(t.Context(), os.Getenv("NODE"))
	if err != nil {
		t.Fatal(err)
	}
	command, err := nodejs.Prepare(testrig.OpenDir(t), found, 0)
	if err != nil {
		t.Fatal(err)
	}
	return Runtime{Language: faas.NodeJS, Argv: command.Argv, Env: command.Env, Read: command.Files, OwnMemory: nodejs.OwnMemory, Reserved: found.Reserved}
}

// Python is the real worker of Python.
func Python(t testing.TB) Runtime {
	t.Helper()
	found, err := python.Find(t.Context(), os.Getenv("PYTHON"))
	if err != nil {
		t.Fatal(err)
	}
	command, err := python.Prepare(t.Context(), testrig.OpenDir(t), found)
	if err != nil {
		t.Fatal(err)
	}
	return Runtime{
		Language: faas.Python, Argv: command.Argv, Env: command.Env, Read: command.Files, AddressSpace: interpreter.AddressSpace,
	}
}

// Ruby is the real worker of Ruby.
func Ruby(t testing.TB) Runtime {
	t.Helper()
	found, err := ruby.Kind.Find(t.Context(), testrig.Ruby(t))
	if err != nil {
		t.Fatal(err)
	}
	command, err := ruby.Prepare(t.Context(), testrig.OpenDir(t), found)
	if err != nil {
		t.Fatal(err)
	}
	return Runtime{
		Language: faas.Ruby, Argv: command.Argv, Env: command.Env, Read: command.Files,
		OwnMemory: ruby.OwnMemory, AddressSpace: interpreter.AddressSpace,
	}
}

// Runtimes are the real workers of each language that has some, each made when a test
// wants it: a test of Ruby is skipped where there is none.
var Runtimes = map[faas.Language]func(testing.TB) Runtime{
	faas.NodeJS: JavaScript, faas.Python: Python, faas.Ruby: Ruby,
}

// What Node.js and Python say of a socket that they may not open tells their user nothing.
func TestNoNetworkIsSaid(t *testing.T) {
	for language, messages := range map[faas.Language]map[string]string{
		faas.NodeJS: {
			"await fetch('http://127.0.0.1:65000')":                                      "fetch failed: connect EPERM 127.0.0.1:65000",
			"await fetch('http://nowhere.invalid')":                                      "fetch failed: getaddrinfo E",
			"require('http').get('http://[::1]:65000'); await new Promise(() => {})":     "connect EPERM ::1:65000",
			"require('net').createServer().listen(0); await new Promise(() => {})":       "listen EPERM: operation not permitted",
			"await require('dns').promises.resolve('nowhere.invalid')":                   "queryA ECONNREFUSED nowhere.invalid",
			"require('dgram').createSocket('udp4').bind(0); await new Promise(() => {})": "bind EPERM 0.0.0.0",
		},
		faas.Python: {
			"import urllib.request as r; r.urlopen('http://127.0.0.1:65000')":                       "<urlopen error [Errno 1] Operation not permitted>",
			"import urllib.request as r; r.urlopen('http://nowhere.invalid')":                       "<urlopen error [Errno -",
			"import socket; socket.create_connection(('127.0.0.1', 65000))":                         "[Errno 1] Operation not permitted",
			"import socket; socket.socket()":                                                        "[Errno 1] Operation not permitted",
			"import asyncio; await asyncio.open_connection('127.0.0.1', 65000)":                     "[Errno 1] Operation not permitted",
			"import socket; socket.getaddrinfo('nowhere.invalid', 80)":                              "[Errno -",
			"try:\n  import socket; socket.socket()\nexcept OSError: raise RuntimeError('no luck')": "no luck",
		},
	} {
		p := serve(t, Options{Runtime: Runtimes[language](t), Idle: 1})
		for source, want := range messages {
			e := thrownBy(t, p, language, source)
			if !strings.HasPrefix(e.Message, want) || !strings.HasSuffix(e.Message, ` (functions have no network but by "network": "egress")`) {
				t.Errorf("%s: %q, want %q and the reason", source, e.Message, want)
			}
		}
	}
	p := serve(t, Options{Runtime: Python(t), Idle: 1})
	for _, source := range []string{"import os; os.fork()", "raise PermissionError(1, 'mine')"} {
		if e := thrownBy(t, p, faas.Python, source); strings.Contains(e.Message, "network") {
			t.Errorf("%s: %q speaks of a network", source, e.Message)
		}
	}
}

func thrownBy(t *testing.T, p *Pool, language faas.Language, source string) *faas.Error {
	t.Helper()
	work := Work{Script: faas.NewScript(language, source, nil), Owner: "o"}
	_, err := p.Invoke(t.Context(), work, within(10*time.Second, Invocation{}))
	var e *faas.Error
	if !errors.As(err, &e) || e.Code != faas.RuntimeError {
		t.Fatalf("%s: got %v", source, err)
	}
	return e
}

// A function may have less memory than others, and cannot have more.
func TestMemoryOfOneFunction(t *testing.T) {
	sources := map[faas.Language]string{
		faas.NodeJS: "const all = []; for (let i = 0; i < event.params; i++) all.push(Buffer.alloc(1 << 20, 1)); return all.length",
		faas.Python: "all = [b'x' * (1 << 20) for i in range(params)]; result = len(all)",
		faas.Ruby:   "(1..params).map { 'x' * (1 << 20) }.size",
	}
	for language, source := range sources {
		t.Run(string(language), func(t *testing.T) {
			runtime := Runtimes[language](t)
			p := serve(t, Options{Runtime: runtime, MemoryMB: 128, Idle: 1})
			for _, tt := range []struct{ limitMB, wants, hits int }{
				{0, 90, 0}, {32, 10, 0}, {32, 200, 32}, {0, 400, 128}, {4096, 400, 128}, {128, 90, 0},
			} {
				work := Work{Script: faas.NewScript(runtime.Language, source, nil), Owner: "o", MemoryMB: tt.limitMB}
				result, err := p.Invoke(t.Context(), work, within(20*time.Second, Invocation{Params: fmt.Append(nil, tt.wants)}))
				switch e := faas.AsError(err); {
				case tt.hits == 0 && (err != nil || string(result.JSON) != fmt.Sprint(tt.wants)):
					t.Errorf("%+v: %s, %v", tt, result.JSON, err)
				case tt.hits > 0 && (err == nil || e.Code != faas.ResourceExhausted || e.Details["limit_mb"] != tt.hits):
					t.Errorf("%+v: %s, %v %v", tt, result.JSON, err, e.Details)
				}
			}
		})
	}
}

// Threads that a function begins have room beside it, whatever V8 maps for each.
func TestThreadsWithALimitOfMemory(t *testing.T) {
	const begin = `const one = () => new Promise((done, fail) => new Worker("require('worker_threads').parentPort.postMessage(42)", { eval: true }).on('message', done).on('error', fail));`
	p := serve(t, Options{Runtime: JavaScript(t), MemoryMB: 128, Idle: 1})
	for name, source := range map[string]string{
		"require":  "const { Worker } = require('worker_threads');" + begin + "return Promise.all([one(), one(), one()])",
		"import":   "import { Worker } from 'node:worker_threads';" + begin + "export default () => Promise.all([one(), one(), one()])",
		"import()": "const { Worker } = await import('worker_threads');" + begin + "return Promise.all([one(), one(), one()])",
	} {
		result, err := p.Invoke(t.Context(), work(source), within(20*time.Second, Invocation{}))
		if err != nil || string(result.JSON) != "[42,42,42]" {
			t.Errorf("%s: %s, %v", name, result.JSON, err)
		}
	}
}
