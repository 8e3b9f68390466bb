package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// statLine has the ticks that a process and those that it reaped used.
func statLine(name string, pid, parent int, ticks [2]int) string {
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194304 9 9 9 9 %d 1 %d 2 20 0 12 0 99",
		pid, name, parent, ticks[0]-1, ticks[1]-2)
}

func TestParseStat(t *testing.T) {
	for _, test := range []struct {
		name, line string
		want       stat
		wrong      bool
	}{
		{name: "plain", line: statLine("node", 12, 7, [2]int{30, 5}), want: stat{12, 7, 300 * time.Millisecond, 50 * time.Millisecond}},
		{name: "name with spaces and parentheses", line: statLine("a) R 1 (b", 12, 7, [2]int{3, 2}), want: stat{12, 7, 30 * time.Millisecond, 20 * time.Millisecond}},
		{name: "empty", wrong: true},
		{name: "cut off", line: "12 (node) S 7 1 1 0", wrong: true},
		{name: "no name", line: "12 node S 7", wrong: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseStat([]byte(test.line))
			if (err != nil) != test.wrong {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(stat{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// fakeProc lays out a proc file system: pid → its stat line and its binary.
func fakeProc(t *testing.T, processes map[int][2]string) procfs {
	t.Helper()
	dir := t.TempDir()
	for pid, p := range processes {
		folder := filepath.Join(dir, strconv.Itoa(pid))
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "stat"), []byte(p[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(p[1], filepath.Join(folder, "exe")); err != nil {
			t.Fatal(err)
		}
	}
	return procfs(dir)
}

func TestReadCPUCountsTreesByRole(t *testing.T) {
	fs := fakeProc(t, map[int][2]string{
		1:  {statLine("init", 1, 0, [2]int{900, 900}), "/sbin/init"},
		10: {statLine("envoke", 10, 1, [2]int{50, 7}), "/bin/envoke"}, // reaped workers of 7 ticks
		11: {statLine("envoy", 11, 10, [2]int{20, 2}), "/cache/envoy"},
		12: {statLine("MainThread", 12, 10, [2]int{30, 2}), "/usr/bin/node"},
		13: {statLine("sh", 13, 12, [2]int{4, 2}), "/bin/sh"}, // a child of a worker is part of it
		14: {statLine("envoke", 14, 10, [2]int{1, 2}), "/bin/envoke"},
		20: {statLine("bench", 20, 1, [2]int{6, 2}), "/bin/bench"},
		15: {statLine("python3", 15, 10, [2]int{3, 2}), "/usr/bin/python3.11"},
		30: {statLine("other", 30, 1, [2]int{800, 2}), "/usr/bin/node"},
	})
	got, err := fs.readCPU(map[int]Role{10: Envoke, 20: Other})
	if err != nil {
		t.Fatal(err)
	}
	want := cpuTimes{
		Envoke: 51 * clockTick,
		Envoy:  20 * clockTick,
		// Its own, a child's and Python's, and what all but the stranger reaped.
		Interpreter: (30 + 4 + 3 + 7 + 6*2) * clockTick,
		Other:       6 * clockTick,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := fs.readCPU(map[int]Role{99: Envoy}); err == nil {
		t.Error("no error for a process that is gone")
	}
}

func TestCPUTimes(t *testing.T) {
	spent := cpuTimes{Envoy: 5, Interpreter: 9}.sub(cpuTimes{Envoy: 2})
	if diff := cmp.Diff(cpuTimes{Envoy: 3, Interpreter: 9}, spent); diff != "" {
		t.Error(diff)
	}
	if got := spent.sum(); got != 12 {
		t.Errorf("the sum is %d", got)
	}
}

func TestReadBusyLeavesOutIdleTime(t *testing.T) {
	fs := procfs(t.TempDir())
	line := "cpu  1 2 4 1000 2000 8 16 32 9000 9000\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
	if err := os.WriteFile(filepath.Join(string(fs), "stat"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	busy, err := fs.readBusy()
	if want := 63 * clockTick; err != nil || busy != want {
		t.Errorf("busy for %v, error %v, want %v", busy, err, want)
	}
}

// The kernel's own figures: a Node that spins for 200 ms has used that time.
func TestReadCPUOfARealProcess(t *testing.T) {
	node, err := exec.Command("node", "-p", "process.execPath").Output()
	if err != nil {
		t.Fatalf("tests need Node: %v", err)
	}
	p, err := startProcess(t.Context(), Envoke, []string{
		strings.TrimSpace(string(node)), "-e",
		"const end = Date.now() + 200; while (Date.now() < end); console.log('done'); setInterval(() => {}, 1000)",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	err = p.waitFor(t.Context(), func() error {
		if p.output.String() != "done" {
			return fmt.Errorf("it printed %q", p.output.String())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	times, err := procfs("/proc").readCPU(map[int]Role{p.cmd.Process.Pid: Envoke})
	if err != nil || times[Envoke] < 20*time.Millisecond || times[Envoke] > 10*time.Second {
		t.Errorf("CPU times %v, error %v", times, err)
	}
}
