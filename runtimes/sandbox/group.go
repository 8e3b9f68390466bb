package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// emptyWithin is how long the kernel may take to end the processes of a group.
const emptyWithin = time.Second

// group is that of one process; nil: it has none.
type group struct {
	dir    string
	memory bool   // its memory is bounded
	beside uint64 // what it may have beside the process's limit, in bytes
}

// make makes an empty group with the limits.
func (g *Groups) make(c Config) (*group, error) {
	if g == nil || g.dir == "" {
		return nil, nil //nolint:nilnil // a process without a group is no error
	}
	made := &group{memory: slices.Contains(g.controllers, "memory"), beside: c.Beside}
	for {
		made.dir = filepath.Join(g.dir, g.prefix+strconv.FormatUint(g.last.Add(1), 10))
		err := os.Mkdir(made.dir, 0o755)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make a cgroup: %w", err)
		}
	}
	var err error
	if slices.Contains(g.controllers, "pids") {
		err = put(made.dir, "pids.max", strconv.FormatUint(c.Tasks, 10))
	}
	if err = errors.Join(err, made.setMemory(c.Memory)); err != nil {
		return nil, errors.Join(err, made.remove())
	}
	return made, nil
}

// setMemory bounds what all in the group have together, and has them end together where it
// does not do; 0: no bound.
func (g *group) setMemory(size uint64) error {
	if g == nil || !g.memory || size == 0 {
		return nil
	}
	for file, value := range map[string]string{"memory.swap.max": "0", "memory.oom.group": "1"} {
		if err := put(g.dir, file, value); err != nil && !errors.Is(err, fs.ErrNotExist) { // by the kernel's build
			return err
		}
	}
	return put(g.dir, "memory.max", strconv.FormatUint(size+g.beside, 10))
}

// add moves a process into the group, if it has not ended.
func (g *group) add(pid int) error {
	if g == nil {
		return nil
	}
	if err := put(g.dir, "cgroup.procs", strconv.Itoa(pid)); !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// outOfMemory tells whether the kernel has killed for the group's own bound, and not for
// that of a group above it or for the machine's.
func (g *group) outOfMemory() bool {
	if g == nil {
		return false
	}
	events, _ := os.ReadFile(filepath.Join(g.dir, "memory.events"))
	counts := make(map[string]string)
	for line := range strings.Lines(string(events)) {
		name, count, _ := strings.Cut(strings.TrimSpace(line), " ")
		counts[name] = count
	}
	met := func(name string) bool { return counts[name] != "" && counts[name] != "0" }
	return met("oom") && met("oom_kill")
}

// remove kills what is left in the group and removes it.
func (g *group) remove() error {
	if g == nil {
		return nil
	}
	err := unix.Rmdir(g.dir)
	if err == unix.EBUSY {
		_ = put(g.dir, "cgroup.kill", "1") // of Linux 5.14
		g.awaitEmpty()
		err = unix.Rmdir(g.dir)
	}
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove a cgroup: %w", err)
	}
	return nil
}

// awaitEmpty waits until nobody is in the group, for seconds at most. The kernel says when its
// events have changed.
func (g *group) awaitEmpty() {
	file, err := os.Open(filepath.Join(g.dir, "cgroup.events"))
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	for range 5 { // of other events, or of a signal's
		var events [256]byte
		n, _ := file.ReadAt(events[:], 0)
		if !bytes.Contains(events[:n], []byte("populated 1")) {
			return
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLPRI}}, int(emptyWithin.Milliseconds()))
	}
}

// put writes one of a group's files, and makes none.
func put(dir, name, value string) error {
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	return errors.Join(err, file.Close())
}
