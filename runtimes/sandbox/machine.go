package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Tasks is how many threads there are on the machine: cheap to ask, and a fork bomb
// shows in it.
func Tasks() (int, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("count tasks: %w", err)
	}
	return int(info.Procs), nil
}

// TasksByGroup counts the threads of each process group, by its number.
func TasksByGroup() (map[int]int, error) {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("count tasks: %w", err)
	}
	groups := make(map[int]int)
	for _, process := range processes {
		if _, err := strconv.Atoi(process.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", process.Name(), "stat"))
		if err != nil {
			continue // it is gone
		}
		// After the name in brackets: state, parent, group, …; threads are the 18th.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 18 {
			continue
		}
		group, _ := strconv.Atoi(string(fields[2]))
		threads, _ := strconv.Atoi(string(fields[17]))
		groups[group] += threads
	}
	return groups, nil
}

// MemoryAvailable is the share of the machine's memory that can be had; false: unknown.
func MemoryAvailable() (share float64, ok bool) {
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	total := kibOf(meminfo, "MemTotal:")
	return float64(kibOf(meminfo, "MemAvailable:")) / float64(max(total, 1)), total > 0
}

// kibOf reads one line of a status or of meminfo, in bytes; 0: there is none.
func kibOf(status []byte, name string) int64 {
	_, rest, _ := bytes.Cut(status, []byte(name))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	return n << 10
}
