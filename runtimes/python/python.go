// Package python is Python as a runtime: it finds a Python and lays down the worker,
// the program that the runtime host's pool starts and speaks with in the frames of
// runtimes/PROTOCOL.md. The worker is in worker/, plain Python files that need nothing
// but the standard library.
package python

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"envoke/runtimes/interpreter"
)

//go:embed worker/*.py
var worker embed.FS

//go:embed build.py
var build string

// modules of the worker, each after those that it imports; the last has main.
var modules = []string{"frames", "failure", "result", "call", "log", "load", "stream", "worker"}

const buildTimeout = 10 * time.Second

// python is how Python is looked for.
var python = interpreter.Kind{
	Title: "Python", Command: "python3", Setting: "PYTHON", Least: []int{3, 10},
	Ask: []string{"-I", "-S", "-c", `import json, os, platform, re, sys
mapped = re.findall("(?m)/.*$", open("/proc/self/maps").read())
print(json.dumps({
	"Path": os.path.realpath(sys.executable), "Version": platform.python_version(),
	"Files": sorted({*mapped, *map(os.path.realpath, sys.path)}),
}))`},
}

// Find resolves the Python to use: a path or a command, or empty for python3 on PATH.
// An error is one line that says what to do.
func Find(ctx context.Context, asked string) (interpreter.Interpreter, error) {
	return python.Find(ctx, asked)
}

// Prepare has the interpreter compile the worker into a file below dir, and returns how
// to start it. The interpreter runs isolated from the user's folders (-I), without the
// site module (-S), which doubles the time of a start, and leaves no compiled modules
// behind (-B). Integers may have any number of digits, as in JSON.
func Prepare(ctx context.Context, dir string, found interpreter.Interpreter) (interpreter.Command, error) {
	sources, err := sources()
	if err != nil {
		return interpreter.Command{}, err
	}
	compiled, err := compile(ctx, found, sources)
	if err != nil {
		return interpreter.Command{}, fmt.Errorf("compile the worker: %w", err)
	}
	sum := interpreter.Sum(append([]byte(found.Path+found.Version), sources...))
	main := filepath.Join(dir, "python-worker-"+sum+".pyc")
	if err := interpreter.Write(main, compiled); err != nil {
		return interpreter.Command{}, fmt.Errorf("write the worker: %w", err)
	}
	return interpreter.Command{
		Argv: []string{found.Path, "-I", "-S", "-B", "-X", "int_max_str_digits=0", main},
		Env:  interpreter.Env(), Files: append(found.Files, main),
	}, nil
}

// sources is what build.py reads.
func sources() ([]byte, error) {
	var files [][2]string
	for _, name := range modules {
		source, err := worker.ReadFile("worker/" + name + ".py")
		if err != nil {
			return nil, err
		}
		files = append(files, [2]string{name, string(source)})
	}
	return json.Marshal(files)
}

// compile returns the worker as a file that this interpreter starts.
func compile(ctx context.Context, found interpreter.Interpreter, sources []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	var stderr bytes.Buffer
	command := exec.CommandContext(ctx, found.Path, "-I", "-S", "-B", "-c", build)
	command.Stdin, command.Stderr, command.Env = bytes.NewReader(sources), &stderr, interpreter.Env()
	compiled, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return compiled, nil
}
