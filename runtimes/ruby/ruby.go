// Package ruby is Ruby as a runtime: how one is found, and the worker that it runs. It was
// added by following ../RUNTIMES.md, and needs nothing but Ruby's own json.
package ruby

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"

	"envoke/runtimes/interpreter"
)

//go:embed worker/worker.rb
var worker []byte

// What a worker writes to and may reserve, in bytes (see pool.Runtime): 56 MiB at first.
const (
	OwnMemory    = 72 << 20
	AddressSpace = 8 << 30
)

// Kind is how Ruby is looked for.
var Kind = interpreter.Kind{
	Title: "Ruby", Command: "ruby", Setting: "RUBY", Least: []int{3, 0},
	Ask: []string{"--disable-all", "-rjson", "-e", `
files = $LOAD_PATH.select { |dir| File.directory?(dir) } + File.read('/proc/self/maps').scan(%r{/.*$})
puts JSON.generate(Path: File.realpath('/proc/self/exe'), Version: RUBY_VERSION, Files: files.uniq)`},
}

// Prepare writes the worker below dir, and returns how to start it: without RubyGems, and
// told where its modules are, as a Ruby that was moved does not know that.
func Prepare(_ context.Context, dir string, found interpreter.Interpreter) (interpreter.Command, error) {
	main := filepath.Join(dir, "ruby-worker-"+interpreter.Sum(worker)+".rb")
	if err := interpreter.Write(main, worker); err != nil {
		return interpreter.Command{}, fmt.Errorf("write the worker: %w", err)
	}
	return interpreter.Command{
		Argv: []string{found.Path, "--disable-all", "-I", strings.Join(found.Files, ":"), main},
		Env:  interpreter.Env(), Files: append(found.Files, main),
	}, nil
}
