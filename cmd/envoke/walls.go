package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"envoke/internal/faas"
	"envoke/runtimes/sandbox"
)

// Values of the setting sandbox.
const (
	sandboxBest    = "best"
	sandboxRequire = "require"
)

// firstUser of workers, and of builds, begins the range of the first language; the others'
// follow. Linux distributions keep them for users that services make and nobody logs in as.
const firstUser = 61184

func workerUsers(language faas.Language) int {
	return firstUser + (language.Digit()-1)*sandbox.MaxUsers
}

const workersPrefix = "envoke-workers-"

// openWorkers makes the folder of what workers may see: their program, and a scratch
// folder for each. Whoever they run as can pass through it. Folders that killed
// processes left are removed. So is this one by the function returned.
func openWorkers() (dir string, remove func(), err error) {
	removeStale()
	begun, err := os.MkdirTemp("", "envoke-begun-*")
	if err != nil {
		return "", nil, fmt.Errorf("make the workers' folder: %w", err)
	}
	dir = filepath.Join(os.TempDir(), workersPrefix+strings.TrimPrefix(filepath.Base(begun), "envoke-begun-"))
	lock, err := os.OpenFile(begun, os.O_RDONLY, 0)
	if err == nil {
		// It gets the name that others look for when it is locked.
		err = errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB), os.Chmod(begun, 0o711), os.Rename(begun, dir))
	}
	if err != nil {
		_ = os.RemoveAll(begun)
		return "", nil, fmt.Errorf("make the workers' folder: %w", err)
	}
	return dir, func() { _ = errors.Join(os.RemoveAll(dir), lock.Close()) }, nil
}

// removeStale removes the folders that nobody holds.
func removeStale() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), workersPrefix+"*")) // fails for bad patterns only
	for _, dir := range left {
		lock, err := os.OpenFile(dir, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
		if err != nil {
			continue // another user's
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = lock.Close()
	}
}

// walls is the sandbox of a language's workers, or builds, which may see the files. It says
// which of its layers are missing here, which is an error where all are required.
func (e *environment) walls(language faas.Language, files sandbox.Files) (sandbox.Config, error) {
	c := sandbox.Config{
		Files:   files,
		Scratch: filepath.Join(e.workers, string(language)),
		Groups:  e.groups,
	}
	if err := os.Mkdir(c.Scratch, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return c, fmt.Errorf("make the scratch folders: %w", err)
	}
	if c.NoUsers() == "" && e.config.MaxWorkers < sandbox.MaxUsers/2 {
		c.Users = workerUsers(language)
	}
	for _, layer := range c.Layers() {
		switch {
		case layer.Missing == "":
		case layer.Kernel && e.config.Sandbox == sandboxRequire:
			return c, fmt.Errorf("the sandbox has no layer for %s: %s (--sandbox=%s accepts that)", layer.Name, layer.Missing, sandboxBest)
		case layer.Kernel:
			e.logger.Warn("the sandbox lacks a layer", "language", language, "layer", layer.Name, "reason", layer.Missing)
		default:
			e.logger.Debug("the sandbox lacks a layer", "language", language, "layer", layer.Name, "reason", layer.Missing)
		}
	}
	return c, nil
}
