package rust

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"envoke/runtimes/interpreter"
)

// crate is a library that functions may use. It is compiled once for each toolchain.
type crate struct {
	name, version, edition string
	sha256                 string // of its file in the registry; empty: its source is ours
	cfgs                   []string
	uses                   []string
}

// crates are the last versions that Debian 12's compiler takes, each after those that it
// uses. What their build scripts would tell the compiler is in cfgs: it depends on the
// target alone, but for cfgOld.
var crates = []crate{
	{name: "itoa", version: "1.0.10", edition: "2018", sha256: "b1a46d1a171d865aa5f83f92695765caa047a9b4cbae2cbf37dbd613a793fd4c"},
	{name: "ryu", version: "1.0.16", edition: "2018", sha256: "f98d2aa92eebf49b69786be48e4477826b256916e84a57ff2a4f21923b48eb4c"},
	{
		name: "serde", version: "1.0.193", edition: "2018", sha256: "25dd9975e68d0cb5aa1120c288333fc98731bd1dd12f561e468ea4728c042b89",
		cfgs: []string{`feature="std"`},
	},
	{
		name: "serde_json", version: "1.0.108", edition: "2021", sha256: "3d1c7e3eac408d115102c4c24ad393e0821bb3a5df4d506a80f85f7a742a526b",
		cfgs: []string{`feature="std"`, "limb_width_32"}, uses: []string{"itoa", "ryu", "serde"},
	},
	{name: "envoke", edition: "2021", uses: []string{"serde", "serde_json"}},
}

// forFunctions are those that functions use by name.
var forFunctions = []string{"serde", "serde_json", "envoke"}

//go:embed crate/envoke.rs
var envokeCrate []byte

const (
	// Folders of crates, whole and not yet.
	cratesPrefix = "crates-"
	begunPrefix  = "begun-"

	registry = "https://static.crates.io/crates"
	// crateTimeout bounds the download of one crate, and crateLimit its size, in bytes, both
	// packed and unpacked.
	crateTimeout = 30 * time.Second
	crateLimit   = 8 << 20
	// compileTimeout bounds the compilation of one: all take a quarter of a minute on a slow
	// machine.
	compileTimeout = 2 * time.Minute
)

// prepareCrates compiles the crates into dir, unless they are there: a folder that is there
// is whole. What it fetches for that is kept in packed.
func (t Toolchain) prepareCrates(ctx context.Context, packed, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	begun, err := os.MkdirTemp(filepath.Dir(dir), begunPrefix)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(begun) }()
	built := filepath.Join(begun, "built")
	if err := os.Mkdir(built, 0o755); err != nil {
		return err
	}
	for _, c := range crates {
		source := filepath.Join(begun, c.name)
		if err := c.unpack(ctx, packed, source); err != nil {
			return fmt.Errorf("fetch the crate %s: %w", c.name, err)
		}
		if err := t.compileCrate(ctx, c, source, built); err != nil {
			return fmt.Errorf("compile the crate %s: %w", c.name, err)
		}
	}
	err = os.Rename(built, dir)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil // another host was first
	}
	return err
}

// keptCrates is how many toolchains' crates are kept, beside those in use.
const keptCrates = 3

// removeOldCrates removes those of toolchains that were not used for longest, and what a
// process left that was killed at work. It marks its own as used.
func removeOldCrates(dir, used string) error {
	now := time.Now()
	if err := os.Chtimes(used, now, now); err != nil {
		return err
	}
	var faults []error
	for _, kind := range []struct {
		pattern string
		keep    int
		least   time.Duration // of age: it may be another process's that is at work
	}{{cratesPrefix + "*", 1 + keptCrates, time.Minute}, {begunPrefix + "*", 0, time.Hour}} {
		found, _ := filepath.Glob(filepath.Join(dir, kind.pattern)) // fails for bad patterns only
		changed := func(path string) time.Time {
			info, err := os.Stat(path)
			if err != nil {
				return now
			}
			return info.ModTime()
		}
		slices.SortFunc(found, func(a, b string) int { return changed(b).Compare(changed(a)) })
		for _, old := range found[min(kind.keep, len(found)):] {
			if now.Sub(changed(old)) > kind.least {
				faults = append(faults, os.RemoveAll(old))
			}
		}
	}
	return errors.Join(faults...)
}

// unpack lays down a crate's source.
func (c crate) unpack(ctx context.Context, packed, to string) error {
	if c.sha256 == "" {
		return interpreter.Write(filepath.Join(to, "src", "lib.rs"), envokeCrate)
	}
	archive, err := c.find(ctx, packed)
	if err != nil {
		return err
	}
	plain, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	files := tar.NewReader(io.LimitReader(plain, crateLimit))
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_, name, _ := strings.Cut(path.Clean(header.Name), "/") // below a folder of the crate's name
		if header.Typeflag != tar.TypeReg || !strings.HasPrefix(name, "src/") || !filepath.IsLocal(name) {
			continue
		}
		content, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		if err := interpreter.Write(filepath.Join(to, name), content); err != nil {
			return err
		}
	}
}

// find takes a crate's file from the folder of those that were fetched, or fetches it.
func (c crate) find(ctx context.Context, packed string) ([]byte, error) {
	name := c.name + "-" + c.version + ".crate"
	kept := filepath.Join(packed, name)
	if archive, err := os.ReadFile(kept); err == nil && c.is(archive) {
		return archive, nil
	}
	archive, err := fetch(ctx, registry+"/"+c.name+"/"+name)
	if err != nil {
		return nil, fmt.Errorf("%w (or put it there by hand: %s)", err, kept)
	}
	if !c.is(archive) {
		return nil, fmt.Errorf("what %s answers is not %s", registry, name)
	}
	return archive, interpreter.Write(kept, archive)
}

func (c crate) is(archive []byte) bool {
	sum := sha256.Sum256(archive)
	return hex.EncodeToString(sum[:]) == c.sha256
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, crateTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "envoke")
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	reply, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Body.Close() }()
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", url, reply.Status)
	}
	return io.ReadAll(io.LimitReader(reply.Body, crateLimit))
}

// compileCrate compiles a crate for the target. Nobody's code is in it, so there are no walls
// around it.
func (t Toolchain) compileCrate(ctx context.Context, c crate, source, to string) error {
	ctx, cancel := context.WithTimeout(ctx, compileTimeout)
	defer cancel()
	args := []string{
		"--sysroot", t.Sysroot, "--target", t.Target, "--crate-type", "rlib", "--crate-name", c.name, "--edition", c.edition,
		"-C", "opt-level=3", "-C", "debuginfo=0", "-C", "metadata=" + c.name + c.version, "--cap-lints", "allow",
		"--remap-path-prefix", source + "=" + c.name, "-L", "dependency=" + to, "--out-dir", to, filepath.Join(source, "src", "lib.rs"),
	}
	cfgs := c.cfgs
	if c.name == "serde" && t.minor() < 64 {
		cfgs = append([]string{cfgOld}, cfgs...)
	}
	for _, cfg := range cfgs {
		args = append(args, "--cfg", cfg)
	}
	args = append(args, externs(to, c.uses)...)
	command := exec.CommandContext(ctx, t.Rustc, args...)
	command.Env = t.env()
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return unix.Kill(-command.Process.Pid, unix.SIGKILL) }
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %.2000s", err, bytes.TrimSpace(out))
	}
	return nil
}

// cfgOld is what serde's build script says to compilers before 1.64.
const cfgOld = "no_core_cstr"

// externs names crates that are compiled to a folder.
func externs(dir string, names []string) (args []string) {
	for _, name := range names {
		args = append(args, "--extern", name+"="+filepath.Join(dir, "lib"+name+".rlib"))
	}
	return args
}

// env is the environment of the compiler.
func (t Toolchain) env() []string { return append(interpreter.Env(), t.librariesEnv()...) }

// recipe names all that goes into the crates and into a build, beside the toolchain.
func recipe() string {
	sum := sha256.New()
	fmt.Fprintln(sum, crates, string(envokeCrate), fragmentMain, handlerMain, buildArgs(Toolchain{}, "", job{}))
	return hex.EncodeToString(sum.Sum(nil)[:8])
}
