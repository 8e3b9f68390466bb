// Package interpreter finds the program that runs a language's workers, and lays
// down what it runs. Node.js and Python differ in little but their names there.
package interpreter

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const findTimeout = 10 * time.Second

// AddressSpace is what a worker may reserve, in bytes, where its interpreter reserves
// little more than it uses: many times that, and so little that the kernel's page tables
// for it stay small.
const AddressSpace = 8 << 30

// A Kind is a language's interpreter, as it is looked for.
type Kind struct {
	Title   string   // for people, such as "Node.js"
	Command string   // on PATH, such as "node"
	Setting string   // the variable that names another one, such as "NODE"
	Least   []int    // the oldest version that will do, such as {3, 10}
	Ask     []string // arguments that make it print its Interpreter as JSON
}

// An Interpreter is one that was found fit.
type Interpreter struct {
	Path    string   // of the binary itself, never of a shim
	Version string   // such as "v22.1.0" or "3.11.7"
	Files   []string // its library, and what it has mapped: all that it reads
	// Reserved are the bytes that it maps writable when it starts, for what it may never need.
	Reserved uint64
}

// A Command is how a worker is started. It expects its end of the socketpair as
// descriptor 3.
type Command struct {
	Argv  []string
	Env   []string // all of it: nothing is inherited
	Files []string // that it reads, and whole folders
}

// Env is the environment of every worker.
func Env() []string {
	return []string{"LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin", "TZ=UTC"}
}

// Find resolves the interpreter to use: asked is a path or a command, or empty for
// the one on PATH. A version manager's shim is asked for the binary behind it, since
// it would cost every worker's start. An error is one line that says what to do.
func (k Kind) Find(ctx context.Context, asked string) (Interpreter, error) {
	path, err := exec.LookPath(cmp.Or(asked, k.Command))
	if err != nil {
		return Interpreter{}, k.missing(asked)
	}
	if path, err = filepath.Abs(path); err != nil {
		return Interpreter{}, fmt.Errorf("find %s: %w", k.Command, err)
	}
	found, err := k.ask(ctx, path)
	if err != nil {
		return Interpreter{}, fmt.Errorf("%s does not run as %s (%w): set %s to a %s", path, k.Title, err, k.Setting, k.fit())
	}
	if slices.Compare(numbers(found.Version), k.Least) < 0 {
		return Interpreter{}, fmt.Errorf("%s is %s %s, but %s or later is needed: install it or set %s to one",
			found.Path, k.Title, found.Version, k.least(), k.Setting)
	}
	return found, nil
}

func (k Kind) missing(asked string) error {
	if asked == "" {
		return fmt.Errorf("no %s on PATH: install %s, or set %s to one", k.Command, k.fit(), k.Setting)
	}
	return fmt.Errorf("%s is %q, where there is no program: set it to a %s", k.Setting, asked, k.fit())
}

func (k Kind) fit() string { return fmt.Sprintf("%s %s or later", k.Title, k.least()) }

func (k Kind) least() string {
	parts := make([]string, len(k.Least))
	for i, n := range k.Least {
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, ".")
}

// ask has the candidate say where its binary is and which version it has. It runs
// in the host's environment, since a shim may need it.
func (k Kind) ask(ctx context.Context, path string) (Interpreter, error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, k.Ask...).Output()
	if err != nil {
		return Interpreter{}, fmt.Errorf("%w%s", err, firstLineOf(err))
	}
	var found Interpreter
	if err := json.Unmarshal(out, &found); err != nil || !filepath.IsAbs(found.Path) {
		return Interpreter{}, fmt.Errorf("it gave another answer than %s would", k.Title)
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

// numbers are those of a version such as "v22.1.0", up to the first that is none.
func numbers(version string) (out []int) {
	for part := range strings.SplitSeq(strings.TrimPrefix(version, "v"), ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}
