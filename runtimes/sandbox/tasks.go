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
