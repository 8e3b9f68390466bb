package soak

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sample is the memory of all processes at one moment.
type Sample struct {
	After    time.Duration
	Requests int64
	// Bytes is resident memory by role: envoy, envoke, worker; filter, the heap of the
	// filter in one of Envoy's threads; and those of Servers.
	Bytes map[string]int64
}

// filterHeap is the filter's gauge among Envoy's stats.
const filterHeap = "wasmcustom.envoke_filter_heap_bytes"

// sample reads memory until the load ends.
func (l *load) sample(ctx context.Context) error {
	started := time.Now()
	ticker := time.NewTicker(l.config.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		s := Sample{After: time.Since(started).Round(time.Second), Requests: l.requests.Load()}
		var err error
		if s.Bytes, err = Residents("/proc", l.config.Process); err != nil {
			return err
		}
		for _, server := range l.config.Servers {
			if err := server.add(s.Bytes, "/proc"); err != nil {
				return err
			}
		}
		if heap, ok := readStat(ctx, l.config.Admin, filterHeap); ok {
			s.Bytes["filter"] = heap
		}
		l.samples = append(l.samples, s)
		_, _ = fmt.Fprintln(l.config.Out, s)
	}
}

func (s Sample) String() string {
	var line strings.Builder
	_, _ = fmt.Fprintf(&line, "%8s %10d requests", s.After, s.Requests)
	for _, role := range slices.Sorted(maps.Keys(s.Bytes)) {
		_, _ = fmt.Fprintf(&line, "  %s %.1f MiB", role, float64(s.Bytes[role])/(1<<20))
	}
	return line.String()
}

// Residents sums up the resident memory of a process and its descendants, by role.
func Residents(proc string, root int) (map[string]int64, error) {
	pids, err := tree(proc, root)
	if err != nil {
		return nil, err
	}
	sums := make(map[string]int64)
	for _, pid := range pids {
		sums[roleOf(proc, pid)] += residentOf(proc, pid)
	}
	if sums["envoke"] == 0 {
		return nil, fmt.Errorf("read memory: process %d is gone", root)
	}
	return sums, nil
}

// tree is a process and its descendants.
func tree(proc string, root int) (pids []int, err error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("read memory: %w", err)
	}
	children := make(map[int][]int)
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			parent := parentOf(proc, pid) // once: it may end before it is asked again
			children[parent] = append(children[parent], pid)
		}
	}
	for todo := []int{root}; len(todo) > 0; {
		pid := todo[0]
		todo = append(todo[1:], children[pid]...)
		pids = append(pids, pid)
	}
	return pids, nil
}

// parentOf is 0 for a process that is gone.
func parentOf(proc string, pid int) int {
	stat, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if err != nil || len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

func roleOf(proc string, pid int) string {
	binary, _ := os.Readlink(filepath.Join(proc, strconv.Itoa(pid), "exe"))
	switch name := filepath.Base(binary); {
	case name == "envoy":
		return "envoy"
	case name == "node", strings.HasPrefix(name, "python"):
		return "worker"
	}
	return "envoke"
}

func residentOf(proc string, pid int) int64 {
	statm, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "statm"))
	fields := strings.Fields(string(statm))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// readStat asks Envoy for one of its stats.
func readStat(ctx context.Context, admin, name string) (int64, bool) {
	if admin == "" {
		return 0, false
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", admin)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy/stats?filter="+name, nil)
	if err != nil {
		return 0, false
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, false
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	_, value, _ := strings.Cut(strings.TrimSpace(string(text)), ": ")
	n, err := strconv.ParseInt(value, 10, 64)
	return n, err == nil
}

// slack is growth that is nobody's fault, such as a pool of memory that fills.
const slack = 16 << 20

// CheckGrowth compares each role's median in the last quarter of a run with that in the
// second: the first is for what has a beginning. Roles that have a bound, in bytes, may grow
// to it.
func CheckGrowth(samples []Sample, most float64, bounds map[string]int64) error {
	quarter := len(samples) / 4
	if quarter == 0 {
		return nil
	}
	var faults []error
	for _, role := range slices.Sorted(maps.Keys(samples[len(samples)-1].Bytes)) {
		before := median(samples[quarter:2*quarter], role)
		after := median(samples[len(samples)-quarter:], role)
		if bound, ok := bounds[role]; ok {
			if after > bound {
				faults = append(faults, fmt.Errorf("memory of %s is %d bytes, more than its bound of %d", role, after, bound))
			}
			continue
		}
		if float64(after) > float64(before)*(1+most)+slack {
			faults = append(faults, fmt.Errorf("memory of %s grew from %d to %d bytes", role, before, after))
		}
	}
	return errors.Join(faults...)
}

func median(samples []Sample, role string) int64 {
	values := make([]int64, len(samples))
	for i, s := range samples {
		values[i] = s.Bytes[role]
	}
	slices.SortFunc(values, cmp.Compare[int64])
	return values[len(values)/2]
}
