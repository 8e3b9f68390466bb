// Package nodejs is JavaScript as a runtime: it finds a Node.js and lays down the
// worker, the program that the runtime host's pool starts and speaks with in the
// frames of runtimes/PROTOCOL.md. The worker is in worker/, plain CommonJS files
// that need nothing but Node.js itself.
package nodejs

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"envoke/runtimes/interpreter"
)

//go:embed worker/*.js
var worker embed.FS

const (
	workerDir  = "worker"
	workerMain = "worker.js"
	// smallThreads is the argument for worker/threads.js.
	smallThreads = "small-threads"
)

// Prepare writes the worker below dir, unless it is there already, and returns
// how to start it. memoryMB bounds the heap of JavaScript, in MiB; a worker that
// needs more dies of it. 0 leaves V8's own bound, and makes a start 5 ms cheaper
// of 30 on Node.js 20 and 22: any flag of V8's makes those compile their built-in
// modules instead of taking them from their code cache.
func Prepare(dir string, found interpreter.Interpreter, memoryMB int) (interpreter.Command, error) {
	main, err := write(dir, bundle())
	if err != nil {
		return interpreter.Command{}, fmt.Errorf("write the worker: %w", err)
	}
	argv := []string{found.Path, "--experimental-vm-modules", "--no-warnings"}
	if memoryMB > 0 {
		argv = append(argv, "--max-old-space-size="+strconv.Itoa(memoryMB))
	}
	argv = append(argv, main)
	if found.Reserved > 0 {
		argv = append(argv, smallThreads)
	}
	return interpreter.Command{
		Argv: argv, Env: interpreter.Env(), Files: append(found.Files, main),
	}, nil
}

// OwnMemory is how many bytes Node.js itself writes to: what a worker has before it has
// anybody's code (54 MiB), the young generation of its heap (48 MiB), and some room.
const OwnMemory = 128 << 20

// bundle makes one file of the worker's, as one file starts faster than nine.
func bundle() string {
	entries, err := worker.ReadDir(workerDir)
	if err != nil {
		panic(err) // embedded: cannot happen
	}
	var b strings.Builder
	b.WriteString("'use strict';\nconst files = {\n")
	for _, entry := range entries {
		source, err := worker.ReadFile(workerDir + "/" + entry.Name())
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "%q(module, require) {\n%s},\n", "./"+entry.Name(), source)
	}
	fmt.Fprintf(&b, `};
const modules = {};
function load(name) {
  if (!(name in files)) return require(name);
  if (!(name in modules)) files[name](modules[name] = { exports: {} }, load);
  return modules[name].exports;
}
load(%q);
`, "./"+workerMain)
	return b.String()
}

// write puts the worker into a file named for its content, so that hosts of
// different versions may share a folder, and so that it is there whole or not.
func write(dir, source string) (string, error) {
	path := filepath.Join(dir, "nodejs-worker-"+interpreter.Sum([]byte(source))+".js")
	if present, err := os.ReadFile(path); err == nil && string(present) == source {
		return path, nil
	}
	return path, interpreter.Write(path, []byte(source))
}
