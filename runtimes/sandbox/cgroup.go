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
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	cgroupRoot  = "/proc/self"
	ownGroup    = "envoke"  // has this process, and what it starts beside workers
	groupPrefix = "worker-" // of the names of the others
	// ownWeight is the most that the kernel takes. A worker has 100, its default.
	ownWeight = "10000"
)

// wanted are the controllers of which groups have as many as there are.
var wanted = []string{"memory", "pids", "cpu"}

var (
	errNoCgroup   = errors.New("no cgroup v2 is mounted, or this process is in none")
	errRootGroup  = errors.New("this process is in the machine's root cgroup, which is nobody's to divide")
	errControls   = errors.New("none of memory, pids and cpu can be controlled in its cgroup")
	errNotAlone   = errors.New("other processes are in its cgroup, which is not marked as delegated")
	errNotEmptied = errors.New("processes are left in its cgroup")
)

// Groups makes a control group (cgroup v2) for each process, which bounds the process and
// all that it starts as one. It takes a group that is delegated to this process.
type Groups struct {
	dir         string // the delegated one, in which the others are made; empty: none are
	controllers []string
	missing     string
	prefix      string // of the names of its groups, this process's alone
	last        atomic.Uint64
}

// OpenGroups divides the control group that this process is in, if it is delegated: this
// process moves to a group of its own below it, since a group with processes has no divided
// ones. What a killed process has left there is removed. Where nothing is delegated no
// process gets a group, and Missing says why.
func OpenGroups() *Groups {
	g := &Groups{prefix: fmt.Sprintf("%s%d-%s-", groupPrefix, os.Getpid(), startOf(os.Getpid()))}
	if err := g.open(); err != nil {
		return &Groups{missing: err.Error()}
	}
	if len(g.controllers) < len(wanted) {
		g.missing = "its cgroup controls only " + strings.Join(g.controllers, " and ")
	}
	g.removeLeft()
	return g
}

// Missing says which bounds the groups lack, and why; empty: none.
func (g *Groups) Missing() string {
	if g == nil {
		return "nothing here divides cgroups"
	}
	return g.missing
}

// Folder is where the groups are made; empty: none are.
func (g *Groups) Folder() string { return g.dir }

func (g *Groups) open() error {
	membership, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup"))
	if err != nil {
		return err
	}
	mounts, err := os.ReadFile(filepath.Join(cgroupRoot, "mountinfo"))
	if err != nil {
		return err
	}
	dir, isRoot := findGroup(membership, mounts)
	if dir == "" {
		return errNoCgroup
	}
	// A host beside this one, or an earlier one, has divided it.
	if above := filepath.Dir(dir); filepath.Base(dir) == ownGroup && delegated(above) == nil {
		if g.dir, g.controllers = above, controllers(above, "cgroup.subtree_control"); len(g.controllers) > 0 {
			return nil
		}
	}
	if err := delegated(dir); err != nil {
		return err
	}
	g.dir = dir
	return g.divide(isRoot || marked(dir))
}

// findGroup finds the folder of this process's group by /proc/self/cgroup and mountinfo
// (proc_pid_mountinfo(5)); empty: there is none. Of a namespace, it may be the root.
func findGroup(membership, mounts []byte) (dir string, isRoot bool) {
	path, found := "", false
	for line := range strings.Lines(string(membership)) {
		if path, found = strings.CutPrefix(strings.TrimSpace(line), "0::"); found {
			break
		}
	}
	if !found || strings.HasPrefix(path, "/..") { // it is outside of the namespace
		return "", false
	}
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before) // ids and device, root, mount point, …
		if !strings.HasPrefix(after, "cgroup2 ") || len(fields) < 5 {
			continue
		}
		if inside, err := filepath.Rel(fields[3], path); err == nil && !strings.HasPrefix(inside, "..") {
			return filepath.Join(fields[4], inside), path == "/"
		}
	}
	return "", false
}

// delegated says why a group is not this process's to divide; nil: it is.
func delegated(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err != nil {
		return errRootGroup // the only one that has no type
	}
	for _, name := range []string{".", "cgroup.procs", "cgroup.subtree_control"} {
		if err := unix.Faccessat(unix.AT_FDCWD, filepath.Join(dir, name), unix.W_OK, unix.AT_EACCESS); err != nil {
			return fmt.Errorf("its cgroup is not delegated to this user: %w", err)
		}
	}
	if len(controllers(dir, "cgroup.controllers")) == 0 {
		return errControls
	}
	return nil
}

// marked tells whether systemd has delegated a group, with all that is in it.
func marked(dir string) bool {
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		var value [1]byte
		if n, err := unix.Getxattr(dir, name, value[:]); err == nil && n == 1 && value[0] == '1' {
			return true
		}
	}
	return false
}

// controllers reads those that are wanted.
func controllers(dir, file string) (found []string) {
	list, _ := os.ReadFile(filepath.Join(dir, file))
	for _, name := range wanted {
		if slices.Contains(strings.Fields(string(list)), name) {
			found = append(found, name)
		}
	}
	return found
}

// divide moves this process down, and those beside it if they may be, and has the kernel
// count for each group below.
func (g *Groups) divide(others bool) error {
	own := filepath.Join(g.dir, ownGroup)
	if pids := processes(g.dir); !others && !slices.Equal(pids, []string{strconv.Itoa(os.Getpid())}) {
		return errNotAlone
	}
	if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("divide a cgroup: %w", err)
	}
	for range 10 { // those that start meanwhile
		for _, pid := range processes(g.dir) {
			if err := put(own, "cgroup.procs", pid); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		if len(processes(g.dir)) == 0 {
			return g.enable(own)
		}
	}
	return errNotEmptied
}

func (g *Groups) enable(own string) (err error) {
	for _, name := range controllers(g.dir, "cgroup.controllers") {
		if failed := put(g.dir, "cgroup.subtree_control", "+"+name); failed != nil {
			err = failed
			continue
		}
		g.controllers = append(g.controllers, name)
	}
	if len(g.controllers) == 0 {
		return err
	}
	if slices.Contains(g.controllers, "cpu") {
		return put(own, "cpu.weight", ownWeight)
	}
	return nil
}

// processes are the numbers of those in a group.
func processes(dir string) []string {
	list, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	return strings.Fields(string(list))
}

// removeLeft removes the groups of processes that are gone, with what lives in them.
func (g *Groups) removeLeft() {
	left, _ := filepath.Glob(filepath.Join(g.dir, groupPrefix+"*")) // fails for bad patterns only
	for _, dir := range left {
		name := strings.Split(strings.TrimPrefix(filepath.Base(dir), groupPrefix), "-")
		if pid, err := strconv.Atoi(name[0]); err == nil && len(name) == 3 && startOf(pid) != name[1] {
			_ = (&group{dir: dir}).remove()
		}
	}
}

// startOf is when a process started, in ticks of the machine: with its number it is one
// process's alone. Empty: there is none.
func startOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// After the name in brackets: state, parent, …; the 20th (proc_pid_stat(5)).
	if fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(fields) >= 20 {
		return string(fields[19])
	}
	return ""
}
