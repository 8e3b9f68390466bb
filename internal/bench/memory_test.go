package bench

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeShares lays out the smaps_rollup of processes.
func fakeShares(t *testing.T, rollups map[int]string) procfs {
	t.Helper()
	dir := t.TempDir()
	for pid, rollup := range rollups {
		folder := filepath.Join(dir, strconv.Itoa(pid))
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "smaps_rollup"), []byte(rollup), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return procfs(dir)
}

func TestReadShares(t *testing.T) {
	fs := fakeShares(t, map[int]string{
		1: "00400000-7ffecb762000 ---p 00000000 00:00 0 [rollup]\nRss:   40512 kB\nPss:   17062 kB\nPss_Dirty:  5 kB\n",
		2: "Pss: 8 kB\n",
		3: "Pss:\n",
		4: "",
	})
	for _, test := range []struct {
		name string
		pids []int
		want int64
	}{
		{"one", []int{1}, 17062 << 10},
		{"a sum", []int{1, 2}, 17070 << 10},
		{"nothing told", []int{3, 4}, 0},
		{"one has ended", []int{2, 99}, 8 << 10},
		{"none", nil, 0},
	} {
		if got, ok := fs.readShares(test.pids); !ok || got != test.want {
			t.Errorf("%s: %d bytes, known: %t; want %d", test.name, got, ok, test.want)
		}
	}
}

func TestMemories(t *testing.T) {
	envoy, workers := group{envokeName, Envoy}, group{envokeName, Interpreter}
	fs := fakeShares(t, map[int]string{1: "Pss: 3 kB\n", 2: "Pss: 5 kB\n", 9: "Pss: 1 kB\n"})
	m := make(memories)
	first := map[group]held{envoy: {[]int{1}, 10}, workers: {[]int{2}, 70}, generator: {[]int{9}, 1}}
	m.note(first)
	m.noteShares(fs, first)
	m.endRounds()
	// More memory in one group; the workers have ended.
	second := map[group]held{envoy: {[]int{1, 2}, 30}, generator: {[]int{9}, 1}}
	m.note(second)
	m.noteShares(fs, second)
	m.note(map[group]held{envoy: {[]int{1}, 20}, generator: {[]int{9}, 1}})
	want := []Memory{
		{Of: envokeName, Role: Envoy, Processes: 1, RSS: Held{10, 30, 20}, PSS: Held{3 << 10, 8 << 10, 8 << 10}},
		{Of: envokeName, Role: Interpreter, RSS: Held{70, 70, 0}, PSS: Held{5 << 10, 5 << 10, 0}},
		{Of: generator.of, Role: Client, Processes: 1, RSS: Held{1, 1, 1}, PSS: Held{1 << 10, 1 << 10, 1 << 10}},
	}
	roots := []root{{pid: 1, group: group{"node", Interpreter}}, {pid: 2, group: envoy}, {pid: 9, group: generator}}
	if diff := cmp.Diff(want, m.list(roots)); diff != "" {
		t.Error(diff)
	}
}
