package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Scratch tells what the process keeps in its scratch folder, and in files that it has
// removed from there and still has.
func (p *Process) Scratch() (Usage, error) {
	u, err := usageOf(p.cell.scratch)
	u.Bytes += p.openUnlinked() + p.mappedUnlinked()
	return u, err
}

// openUnlinked is the size of removed files that the process has open.
func (p *Process) openUnlinked() (size int64) {
	dir := fmt.Sprintf("/proc/%d/fd", p.PID())
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0 // it is gone
	}
	for _, entry := range entries {
		var stat unix.Stat_t
		err := unix.Stat(filepath.Join(dir, entry.Name()), &stat)
		if err == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG && stat.Nlink == 0 {
			size += stat.Blocks * 512
		}
	}
	return size
}

var deleted = []byte("(deleted)")

// mappedUnlinked is the size of removed files that the process has mapped.
func (p *Process) mappedUnlinked() (size int64) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.PID()))
	if err != nil || !bytes.Contains(maps, deleted) {
		return 0
	}
	for line := range bytes.Lines(maps) {
		if !bytes.Contains(line, deleted) {
			continue
		}
		// "start-end rights …", in hexadecimal: proc_pid_maps(5)
		from, to, _ := strings.Cut(string(line[:bytes.IndexByte(line, ' ')]), "-")
		start, _ := strconv.ParseInt(from, 16, 64)
		end, _ := strconv.ParseInt(to, 16, 64)
		size += end - start
	}
	return size
}

// CPU is the time that the process has used, its threads included. False: it is gone.
func (p *Process) CPU() (used time.Duration, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, false
	}
	// After the name in brackets: state, parent, …; user and system time are the 12th and
	// the 13th, in hundredths of a second (proc_pid_stat(5)).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, false
	}
	for _, field := range fields[11:13] {
		ticks, _ := strconv.Atoi(string(field))
		used += time.Duration(ticks) * time.Second / 100
	}
	return used, true
}

// Ran is for how long the process's first thread has run, or could have if a core had been
// free. False: the kernel does not tell, or the process is gone.
func (p *Process) Ran() (time.Duration, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", p.PID()))
	if err != nil {
		return 0, false
	}
	// Nanoseconds on a core, and on the way to one, and how often (sched-stats in the
	// kernel's documentation).
	fields := bytes.Fields(stat)
	if len(fields) < 2 {
		return 0, false
	}
	ran, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	waited, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return time.Duration(ran + waited), true
}

// Memory is what the process has resident, and the page tables that its address space
// takes, in bytes. Headless: its first thread has ended and others have not, so that
// nothing tells.
func (p *Process) Memory() (size int64, headless bool) {
	dir := fmt.Sprintf("/proc/%d", p.PID())
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0, false // it is gone
	}
	if bytes.Contains(status, []byte("State:\tZ")) {
		tasks, _ := os.ReadDir(filepath.Join(dir, "task"))
		return 0, len(tasks) > 1
	}
	return kibOf(status, "VmRSS:") + kibOf(status, "VmPTE:"), false
}
