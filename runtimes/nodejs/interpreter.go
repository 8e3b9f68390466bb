package nodejs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// MinMajor is the oldest major version of Node.js that the worker runs on: the
// oldest whose vm modules take import() from functions without crashing.
const MinMajor = 20

const findTimeout = 10 * time.Second

// An Interpreter is a Node.js that was found fit.
type Interpreter struct {
	Path    string // of the binary itself, never of a shim
	Version string // such as "v22.1.0"
}

// Find resolves the Node.js to use: node is a path or a command, or empty for the
// one on PATH. A version manager's shim is asked for the binary behind it, since
// it would cost every worker's start. An error is one line that says what to do.
func Find(ctx context.Context, node string) (Interpreter, error) {
	asked := node
	if asked == "" {
		asked = "node"
	}
	path, err := exec.LookPath(asked)
	if err != nil {
		return Interpreter{}, missing(node)
	}
	if path, err = filepath.Abs(path); err != nil {
		return Interpreter{}, fmt.Errorf("find node: %w", err)
	}
	found, err := ask(ctx, path)
	if err != nil {
		return Interpreter{}, fmt.Errorf("%s does not run as Node.js (%w): set NODE to a Node.js %d or later", path, err, MinMajor)
	}
	if major(found.Version) < MinMajor {
		return Interpreter{}, fmt.Errorf("%s is Node.js %s, but %d or later is needed: install it or set NODE to one", found.Path, found.Version, MinMajor)
	}
	return found, nil
}

func missing(node string) error {
	if node == "" {
		return fmt.Errorf("no node on PATH: install Node.js %d or later, or set NODE to one", MinMajor)
	}
	return fmt.Errorf("NODE is %q, where there is no program: set it to a Node.js %d or later", node, MinMajor)
}

// ask has the candidate say where its binary is and which version it has. It runs
// in the host's environment, since a shim may need it.
func ask(ctx context.Context, path string) (Interpreter, error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	const script = `process.stdout.write(JSON.stringify({Path: process.execPath, Version: process.version}))`
	out, err := exec.CommandContext(ctx, path, "-e", script).Output()
	if err != nil {
		return Interpreter{}, fmt.Errorf("%w%s", err, firstLineOf(err))
	}
	var found Interpreter
	if err := json.Unmarshal(out, &found); err != nil || !filepath.IsAbs(found.Path) {
		return Interpreter{}, errors.New("it gave another answer than Node.js would")
	}
	if _, err := os.Stat(found.Path); err != nil {
		return Interpreter{}, err
	}
	return found, nil
}

// firstLineOf is what a program that failed wrote first, to tell people why.
func firstLineOf(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return ""
	}
	line, _, _ := bytes.Cut(bytes.TrimSpace(exit.Stderr), []byte("\n"))
	if len(line) == 0 {
		return ""
	}
	return fmt.Sprintf(": %.200s", line)
}

// major is the first number of a version such as "v22.1.0", or 0.
func major(version string) int {
	digits, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}
