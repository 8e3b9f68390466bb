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

// residentPages are those that each process of a statLine holds.
const residentPages = 5

// statLine has the ticks that a process and those that it reaped used.
func statLine(name string, pid, parent int, ticks [2]int) string {
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194304 9 9 9 9 %d 1 %d 2 20 0 12 0 99 7000 %d",
		pid, name, parent, ticks[0]-1, ticks[1]-2, residentPages)
}

func TestParseStat(t *testing.T) {
	resident := residentPages * int64(os.Getpagesize())
	for _, test := range []struct {
		name, line string
		want       stat
		wrong      bool
	}{
		{name: "plain", line: statLine("node", 12, 7, [2]int{30, 5}), want: stat{12, 7, 300 * time.Millisecond, 50 * time.Millisecond, resident}},
		{name: "name with spaces and parentheses", line: statLine("a) R 1 (b", 12, 7, [2]int{3, 2}), want: stat{12, 7, 30 * time.Millisecond, 20 * time.Millisecond, resident}},
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

func TestReadCountsTreesByRole(t *testing.T) {
	fs := fakeProc(t, map[int][2]string{
		1:  {statLine("init", 1, 0, [2]int{900, 900}), "/sbin/init"},
		10: {statLine("envoke", 10, 1, [2]int{50, 7}), "/bin/envoke"}, // reaped workers of 7 ticks
		11: {statLine("envoy", 11, 10, [2]int{20, 2}), "/cache/envoy"},
		12: {statLine("MainThread", 12, 10, [2]int{30, 2}), "/usr/bin/node"},
		13: {statLine("sh", 13, 12, [2]int{4, 2}), "/bin/sh"}, // a child of a worker is part of it
		14: {statLine("envoke", 14, 10, [2]int{1, 2}), "/bin/envoke"},
		16: {statLine("rustc", 16, 10, [2]int{60, 2}), "/cache/bin/rustc"},
		20: {statLine("bench", 20, 1, [2]int{6, 2}), "/bin/bench"},
		15: {statLine("python3", 15, 10, [2]int{3, 2}), "/usr/bin/python3.11"},
		30: {statLine("other", 30, 1, [2]int{800, 2}), "/usr/bin/node"},
	})
	got, err := fs.read([]root{
		{pid: 10, group: group{envokeName, Envoke}}, {pid: 20, group: group{"proxy", Other}}, {pid: 1, group: generator, alone: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := cpuTimes{
		{envokeName, Envoke}: 51 * clockTick,
		{envokeName, Envoy}:  20 * clockTick,
		// Its own, a child's, Python's and a compiler's, and what all of the tree reaped.
		{envokeName, Interpreter}: (30 + 4 + 3 + 60 + 7 + 6*2) * clockTick,
		{"proxy", Other}:          6 * clockTick,
		{"proxy", Interpreter}:    2 * clockTick,
		generator:                 900 * clockTick,
	}
	if diff := cmp.Diff(want, got.cpu, cmp.AllowUnexported(group{})); diff != "" {
		t.Error(diff)
	}
	page := int64(os.Getpagesize()) * residentPages
	resident := map[group]int64{}
	for g, h := range got.held {
		resident[g] = h.rss / page
	}
	processes := map[group]int64{
		{envokeName, Envoke}: 2, {envokeName, Envoy}: 1, {envokeName, Interpreter}: 4, {"proxy", Other}: 1, generator: 1,
	}
	if diff := cmp.Diff(processes, resident, cmp.AllowUnexported(group{})); diff != "" {
		t.Error(diff)
	}
	if _, err := fs.read([]root{{pid: 99}}); err == nil {
		t.Error("no error for a process that is gone")
	}
}

func TestCPUTimes(t *testing.T) {
	bare, node, ours := group{bareName, Envoy}, group{"node", Interpreter}, group{envokeName, Envoy}
	spent := cpuTimes{bare: 5, node: 9, ours: 1, generator: 7}.sub(cpuTimes{bare: 2})
	if diff := cmp.Diff(cpuTimes{bare: 3, node: 9, ours: 1, generator: 7}, spent, cmp.AllowUnexported(group{})); diff != "" {
		t.Error(diff)
	}
	if got := spent.sum(); got != 20 {
		t.Errorf("the sum is %d", got)
	}
	// What idles beside a case is not charged to it.
	want := map[Role]time.Duration{Envoy: 3, Interpreter: 9, Client: 7}
	if diff := cmp.Diff(want, spent.of([]string{"node", bareName})); diff != "" {
		t.Error(diff)
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
func TestReadARealProcess(t *testing.T) {
	node, err := exec.Command("node", "-p", "process.execPath").Output()
	if err != nil {
		t.Fatalf("tests need Node: %v", err)
	}
	p, err := startProcess(t.Context(), group{"node", Interpreter}, []string{
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
	u, err := procfs("/proc").read([]root{{pid: p.cmd.Process.Pid, group: p.group}})
	if spent := u.cpu[p.group]; err != nil || spent < 20*time.Millisecond || spent > 10*time.Second {
		t.Errorf("CPU times %v, error %v", u.cpu, err)
	}
	held := u.held[p.group]
	shares, ok := procfs("/proc").readShares(held.pids)
	if !ok || shares < 1<<20 || held.rss < shares || held.rss > 1<<30 {
		t.Errorf("it holds %d bytes, %d of its own, known: %t", held.rss, shares, ok)
	}
}
