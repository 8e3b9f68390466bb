package rust

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const findTimeout = 10 * time.Second

// targets are names of the same target: WASI preview 1 for programs that are one module. It
// has the first since Rust 1.78, and the second no more since 1.84.
var targets = []string{"wasm32-wasip1", "wasm32-wasi"}

// leastMinor is the oldest 1.x that is tried, Debian 12's.
const leastMinor = 63

// HowToInstall says what to do where there is no compiler. It names nothing of this machine.
const HowToInstall = "install rustc 1.63 or later with its target wasm32-wasip1 and put it on PATH, or set RUSTC to one " +
	"(`rustup target add wasm32-wasip1`; on Debian 12: `apt-get install rustc libstd-rust-dev-wasm32 lld`)"

// Toolchain is a Rust compiler that makes WebAssembly, with all that belongs to it.
type Toolchain struct {
	Rustc   string // the binary itself, never of a shim
	Version string // such as "1.63.0"
	Target  string
	Sysroot string
	Linker  string // of LLVM, for WebAssembly

	libraries []string // folders of shared libraries that are not the system's
	identity  string   // hexadecimal digits; crates that one compiler made, another cannot read
}

// Find resolves the compiler to use: asked is a path or a command, or empty for the one on
// PATH. A rustup's shim is asked for the binary behind it. An error is one line that says
// what to install.
func Find(ctx context.Context, asked string) (Toolchain, error) {
	path, err := exec.LookPath(cmp.Or(asked, "rustc"))
	switch {
	case err != nil && asked == "":
		return Toolchain{}, errors.New("no rustc on PATH: " + HowToInstall)
	case err != nil:
		return Toolchain{}, fmt.Errorf("RUSTC is %q, where there is no program: %s", asked, HowToInstall)
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	t, err := resolve(ctx, path)
	if err != nil {
		return Toolchain{}, fmt.Errorf("%s does not run as a Rust compiler (%w): %s", path, err, HowToInstall)
	}
	if t.minor() < leastMinor {
		return Toolchain{}, fmt.Errorf("%s is Rust %s: %s", t.Rustc, t.Version, HowToInstall)
	}
	if t.Target = t.findTarget(); t.Target == "" {
		return Toolchain{}, fmt.Errorf("%s (Rust %s) has no target %s: %s", t.Rustc, t.Version, targets[0], HowToInstall)
	}
	if t.Linker == "" {
		return Toolchain{}, fmt.Errorf("%s (Rust %s) has no linker for WebAssembly, neither rust-lld nor wasm-ld: %s", t.Rustc, t.Version, HowToInstall)
	}
	return t, nil
}

// resolve asks a compiler, or a shim, where it is and what.
func resolve(ctx context.Context, path string) (Toolchain, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Toolchain{}, err
	}
	own, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Toolchain{}, err
	}
	// It may have been unpacked to a place that the system does not search for libraries.
	t := Toolchain{Rustc: path, libraries: librariesIn(filepath.Dir(filepath.Dir(own)))}
	sysroot, err := t.ask(ctx, "--print", "sysroot")
	if err != nil {
		return Toolchain{}, err
	}
	t.Sysroot = strings.TrimSpace(sysroot)
	t.libraries, t.Rustc = librariesIn(t.Sysroot), own
	if behind := filepath.Join(t.Sysroot, "bin", "rustc"); isFile(behind) {
		t.Rustc = behind
	}
	version, err := t.ask(ctx, "-vV")
	if err != nil {
		return Toolchain{}, err
	}
	told := membersOf(version)
	t.Version, t.Linker = told["release"], findLinker(t.Sysroot, told["host"])
	return t, t.identify(version)
}

// ask runs the compiler in the host's environment, since a shim may need it, but not in its
// folder, where a file may tell rustup to install another.
func (t Toolchain) ask(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, t.Rustc, args...)
	command.Env, command.Dir = append(os.Environ(), t.librariesEnv()...), "/"
	out, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		line, _, _ := bytes.Cut(bytes.TrimSpace(exit.Stderr), []byte("\n"))
		return "", fmt.Errorf("%w: %.200s", err, line)
	}
	return string(out), err
}

// librariesEnv has the dynamic loader find the toolchain's libraries.
func (t Toolchain) librariesEnv() []string {
	if len(t.libraries) == 0 {
		return nil
	}
	return []string{"LD_LIBRARY_PATH=" + strings.Join(t.libraries, ":")}
}

// librariesIn are the folders of shared libraries below a prefix, of which the system's own
// are not worth naming.
func librariesIn(prefix string) []string {
	if prefix == "/" || prefix == "/usr" || prefix == "/usr/local" {
		return nil
	}
	found, _ := filepath.Glob(filepath.Join(prefix, "lib", "*-linux-gnu")) // fails for bad patterns only
	return append(found, filepath.Join(prefix, "lib"))
}

// findLinker prefers the one that came with the compiler; empty: there is none.
func findLinker(sysroot, host string) string {
	for _, pattern := range []string{"lib/rustlib/" + host + "/bin/rust-lld", "bin/wasm-ld", "bin/wasm-ld-*", "lib/llvm-*/bin/wasm-ld"} {
		found, _ := filepath.Glob(filepath.Join(sysroot, pattern)) // fails for bad patterns only
		for _, path := range found {
			if isFile(path) {
				return path
			}
		}
	}
	for _, name := range []string{"wasm-ld", "lld"} {
		if path, err := exec.LookPath(name); err == nil && filepath.IsAbs(path) {
			return path
		}
	}
	return ""
}

// findTarget is empty where no target has its standard library.
func (t Toolchain) findTarget() string {
	for _, target := range targets {
		found, _ := filepath.Glob(filepath.Join(t.Sysroot, "lib", "rustlib", target, "lib", "libstd-*.rlib"))
		if len(found) > 0 {
			return target
		}
	}
	return ""
}

// identify names what made a crate. Distributions patch compilers without giving them
// another version, so that the binary's size and time count too.
func (t *Toolchain) identify(version string) error {
	sum := sha256.New()
	fmt.Fprintln(sum, version, t.Sysroot)
	for _, path := range []string{t.Rustc, t.Linker} {
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // there is no linker
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano())
	}
	t.identity = hex.EncodeToString(sum.Sum(nil)[:8])
	return nil
}

// minor is y of the version 1.y.z.
func (t Toolchain) minor() int {
	_, rest, _ := strings.Cut(t.Version, "1.")
	minor, _, _ := strings.Cut(rest, ".")
	n, _ := strconv.Atoi(minor)
	return n
}

// membersOf reads lines of "name: value".
func membersOf(text string) map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		all[name] = value
	}
	return all
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
