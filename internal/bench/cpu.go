package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Role is the part that a process plays, under which its CPU time and its memory are
// counted.
type Role string

// The roles, in the order in which they are shown.
const (
	Envoy       Role = "envoy"
	Envoke      Role = "envoke"
	Interpreter Role = "interpreter" // Node.js and Python, as our worker or as a server; and compilers
	Other       Role = "other"       // servers that are neither: the Go proxy, wazero, workerd
	Client      Role = "client"
)

// Roles lists every role.
func Roles() []Role { return []Role{Envoy, Envoke, Interpreter, Other, Client} }

// clockTick is the unit of /proc's CPU times: USER_HZ is 100 on every Linux.
const clockTick = 10 * time.Millisecond

// group is the processes of one role in one thing that was started.
type group struct {
	of   string
	role Role
}

// What is started beside servers, and this process.
const (
	bareName       = "bare Envoy"
	envokeName     = "Envoke"
	unfilteredName = "Envoke without filter"
	emptyName      = "Envoke without ready workers"
	checkedName    = "Envoke that checks who calls"
	filledName     = "Envoke with many ready workers"
	manyName       = "Envoke with many functions"
)

var generator = group{"load generator", Client}

// cpuTimes is the CPU time that each group has used so far.
type cpuTimes map[group]time.Duration

func (c cpuTimes) sub(earlier cpuTimes) cpuTimes {
	spent := make(cpuTimes, len(c))
	for group, t := range c {
		spent[group] = t - earlier[group]
	}
	return spent
}

func (c cpuTimes) sum() time.Duration {
	var sum time.Duration
	for _, t := range c {
		sum += t
	}
	return sum
}

// of are the times, by role, of what takes part in a case, and of the load generator.
// What idles beside them takes a little too, which is not theirs.
func (c cpuTimes) of(parts []string) map[Role]time.Duration {
	times := make(map[Role]time.Duration)
	for group, t := range c {
		if group == generator || slices.Contains(parts, group.of) {
			times[group.role] += t
		}
	}
	return times
}

// root is a process whose tree is accounted.
type root struct {
	pid int
	group
	alone bool // without its children: this process, whose children are the other roots
}

// procfs reads processes from a proc file system.
type procfs string

// stat is what we need of /proc/<pid>/stat.
type stat struct {
	pid, parent int
	own         time.Duration // user and system time
	reaped      time.Duration // the same of children that ended and were waited for
	resident    int64         // bytes
}

// usage is what the trees of processes under some roots have used, and hold.
type usage struct {
	cpu  cpuTimes
	held map[group]held
}

// read sums up the trees of processes under the given roots.
func (fs procfs) read(roots []root) (usage, error) {
	processes, err := fs.readAll()
	if err != nil {
		return usage{}, err
	}
	children := make(map[int][]stat)
	for _, p := range processes {
		children[p.parent] = append(children[p.parent], p)
	}
	u := usage{cpu: make(cpuTimes), held: make(map[group]held)}
	for _, root := range roots {
		p, ok := processes[root.pid]
		switch {
		case !ok:
			return usage{}, fmt.Errorf("read processes: %d (%s) is gone", root.pid, root.of)
		case root.alone:
			u.add(p, root.group)
		default:
			fs.addTree(u, p, root.group, children)
		}
	}
	return u, nil
}

// addTree counts a process and its descendants. What a process reaped were workers
// or compilers:
// no other child ends while the benchmark runs. Since a worker's time only moves
// from its own entry to its parent's when it ends, none is lost or counted twice.
func (fs procfs) addTree(u usage, p stat, g group, children map[int][]stat) {
	u.add(p, g)
	u.cpu[group{g.of, Interpreter}] += p.reaped
	for _, child := range children[p.pid] {
		fs.addTree(u, child, group{g.of, fs.roleOf(child.pid, g.role)}, children)
	}
}

func (u usage) add(p stat, g group) {
	u.cpu[g] += p.own
	h := u.held[g]
	h.rss += p.resident
	h.pids = append(h.pids, p.pid)
	u.held[g] = h
}

// roleOf tells Envoy, interpreters and rustc by their binaries; any other process plays its
// parent's role.
func (fs procfs) roleOf(pid int, parent Role) Role {
	binary, err := os.Readlink(filepath.Join(string(fs), strconv.Itoa(pid), "exe"))
	if err != nil {
		return parent
	}
	switch name := filepath.Base(binary); {
	case name == "envoy":
		return Envoy
	case name == "node", name == "rustc", strings.HasPrefix(name, "python"):
		return Interpreter
	}
	return parent
}

func (fs procfs) readAll() (map[int]stat, error) {
	entries, err := os.ReadDir(string(fs))
	if err != nil {
		return nil, fmt.Errorf("read processes: %w", err)
	}
	processes := make(map[int]stat)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join(string(fs), entry.Name(), "stat"))
		if err != nil {
			continue // it ended meanwhile
		}
		if processes[pid], err = parseStat(line); err != nil {
			return nil, fmt.Errorf("read process %d: %w", pid, err)
		}
	}
	return processes, nil
}

// parseStat reads a line of /proc/<pid>/stat (proc_pid_stat(5)). The second field
// is the program's name in parentheses, which may itself hold spaces and
// parentheses.
func parseStat(line []byte) (stat, error) {
	end := bytes.LastIndexByte(line, ')')
	first, _, ok := bytes.Cut(line, []byte(" "))
	if end < 0 || !ok {
		return stat{}, errors.New("not a stat line")
	}
	fields := append([][]byte{first, nil}, bytes.Fields(line[end+1:])...)
	number := func(field int) int {
		n, _ := strconv.Atoi(string(fields[field-1]))
		return n
	}
	if len(fields) < 24 {
		return stat{}, errors.New("not a stat line")
	}
	return stat{
		pid:    number(1),
		parent: number(4),
		own:    time.Duration(number(14)+number(15)) * clockTick,
		reaped: time.Duration(number(16)+number(17)) * clockTick,

		resident: int64(number(24)) * int64(os.Getpagesize()),
	}, nil
}

// readBusy is the CPU time that the whole machine has used, stolen time included.
func (fs procfs) readBusy() (time.Duration, error) {
	content, err := os.ReadFile(filepath.Join(string(fs), "stat"))
	if err != nil {
		return 0, fmt.Errorf("read the machine's CPU time: %w", err)
	}
	line, _, _ := bytes.Cut(content, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, errors.New("read the machine's CPU time: not a cpu line")
	}
	var ticks int
	for _, field := range []int{1, 2, 3, 6, 7, 8} { // user nice system irq softirq steal
		n, _ := strconv.Atoi(string(fields[field]))
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// ownCPU is the CPU time of this process, the load generator; the kernel knows it more
// precisely than in ticks.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
