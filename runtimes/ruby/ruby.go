// Package ruby is Ruby as a runtime: it finds a Ruby and lays down the worker, which is in
// worker/ and needs nothing but Ruby's own json. It was added by ../RUNTIMES.md.
package ruby

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"envoke/runtimes/interpreter"
)

//go:embed worker/*.rb
var worker embed.FS

// files of the worker, each after those that it needs; the last has main.
var files = []string{"call", "result", "worker"}

// OwnMemory is how many bytes Ruby itself writes to: what a worker has before it has
// anybody's code (56 MiB), and some room.
const OwnMemory = 72 << 20

// AddressSpace is what a worker may reserve, in bytes: many times what it may use, and so
// little that the kernel's page tables for it stay small.
const AddressSpace = 8 << 30

// Kind is how Ruby is looked for.
var Kind = interpreter.Kind{
	Title: "Ruby", Command: "ruby", Setting: "RUBY", Least: []int{3, 0},
	Ask: []string{"--disable-all", "-rjson", "-e", `
mapped = File.read('/proc/self/maps').scan(%r{/.*$})
puts JSON.generate(Path: File.realpath('/proc/self/exe'), Version: RUBY_VERSION,
  Files: ($LOAD_PATH.select { |dir| File.directory?(dir) } + mapped).map { |file| File.realpath(file) }.uniq)`},
}

// Prepare writes the worker as one file below dir, and returns how to start it. Nothing of
// RubyGems is loaded, which doubles the time of a start.
func Prepare(_ context.Context, dir string, found interpreter.Interpreter) (interpreter.Command, error) {
	var source []byte
	for _, name := range files {
		part, err := worker.ReadFile("worker/" + name + ".rb")
		if err != nil {
			return interpreter.Command{}, err
		}
		source = append(source, part...)
	}
	sum := sha256.Sum256(source)
	main := filepath.Join(dir, "ruby-worker-"+hex.EncodeToString(sum[:8])+".rb")
	if err := interpreter.Write(main, source); err != nil {
		return interpreter.Command{}, fmt.Errorf("write the worker: %w", err)
	}
	argv := []string{found.Path, "--disable-all"}
	for _, file := range found.Files { // a Ruby that was moved knows no folder of its own
		if info, err := os.Stat(file); err == nil && info.IsDir() {
			argv = append(argv, "-I", file)
		}
	}
	return interpreter.Command{Argv: append(argv, main), Env: interpreter.Env(), Files: append(found.Files, main)}, nil
}
