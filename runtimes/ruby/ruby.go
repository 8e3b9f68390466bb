// Package ruby is Ruby as a runtime, added by following ../RUNTIMES.md.
package ruby

import (
	"context"
	_ "embed"
	"path/filepath"
	"strings"

	"envoke/runtimes/interpreter"
)

//go:embed worker/worker.rb
var worker []byte

// OwnMemory is how many bytes Ruby itself writes to: 56 MiB before it has code, and room.
const OwnMemory = 72 << 20

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
		return interpreter.Command{}, err
	}
	return interpreter.Command{
		Argv: []string{found.Path, "--disable-all", "-I", strings.Join(found.Files, ":"), main},
		Env:  interpreter.Env(), Files: append(found.Files, main),
	}, nil
}
