package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"envoke/internal/testrig"
)

// inGroup is set for this binary where it runs alone in a group that is delegated to it.
const inGroup = "ENVOKE_TEST_IN_A_CGROUP"

// TestGroups runs the tests of this file that need a delegated group as a process in one:
// once as root, where this is root, and once as an ordinary user.
func TestGroups(t *testing.T) {
	users := map[string]*syscall.Credential{"this user": nil}
	if os.Getuid() == 0 {
		users["an ordinary user"] = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	for name, user := range users {
		t.Run(name, func(t *testing.T) {
			dir := delegate(t, user)
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestInAGroup", "-test.count=1", "-test.v")
			cmd.Dir, cmd.Env = "/", append(os.Environ(), inGroup+"="+dir)
			folder, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = folder.Close() }()
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user, UseCgroupFD: true, CgroupFD: int(folder.Fd())}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "PASS: TestInAGroupTasks") {
				t.Errorf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// delegate makes a group beside those of this process, and gives it to a user.
func delegate(t *testing.T, user *syscall.Credential) string {
	t.Helper()
	membership, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip("the kernel has no cgroups: ", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	here, _ := findGroup(membership, mounts)
	if here == "" {
		t.Skip(errNoCgroup)
	}
	dir, err := os.MkdirTemp(here, "envoke-test-")
	if err != nil {
		t.Skip("no cgroup is delegated to this test: ", err)
	}
	t.Cleanup(func() { removeGroups(t, dir) })
	for _, name := range controllers(here, "cgroup.controllers") {
		_ = put(here, "cgroup.subtree_control", "+"+name)
	}
	if !slices.Contains(controllers(dir, "cgroup.controllers"), "pids") {
		t.Skip("the cgroup of this test does not let it control pids")
	}
	if user == nil {
		return dir
	}
	for _, name := range []string{".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		if err := os.Chown(filepath.Join(dir, name), int(user.Uid), int(user.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// removeGroups removes a group and those in it.
func removeGroups(t *testing.T, dir string) {
	t.Helper()
	inner, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
	for _, file := range inner {
		if err := (&group{dir: filepath.Dir(file)}).remove(); err != nil {
			t.Error(err)
		}
	}
	if err := (&group{dir: dir}).remove(); err != nil {
		t.Error(err)
	}
}

// opened are the groups of a test that runs in a delegated one.
func opened(t *testing.T) *Groups {
	t.Helper()
	dir := os.Getenv(inGroup)
	if dir == "" {
		t.Skip("it runs in a process of TestGroups's")
	}
	g := OpenGroups()
	if g.Folder() != dir {
		t.Fatalf("groups are made in %q, want %q: %s", g.Folder(), dir, g.Missing())
	}
	return g
}

// workerGroups are the folders of the groups that there are.
func workerGroups(t *testing.T, g *Groups) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(g.dir, groupPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// threads starts as many threads as it can, and at most 20.
const threads = await + `
	let n = 0, { Worker } = require("worker_threads");
	const more = () => {
		if (n === 20) { console.log("all"); process.exit() }
		try { n++; new Worker("setInterval(() => {}, 1000)", {eval: true}).on("online", more).on("error", refused) } catch (e) { refused(e) } };
	const refused = (e) => { console.log("refused"); process.exit() };
	more()`

// A process may have no more threads than its group, whoever it runs as; the host is in a
// group of its own, and afterwards the process's is gone.
func TestInAGroupTasks(t *testing.T) {
	g := opened(t)
	if pids := processes(filepath.Join(g.dir, ownGroup)); !slices.Contains(pids, strconv.Itoa(os.Getpid())) {
		t.Errorf("the host's group has %v, and this is %d", pids, os.Getpid())
	}
	for tasks, want := range map[uint64]string{20: "refused\n", 200: "all\n"} {
		s := spawnerOf(t, Config{Tasks: tasks, Groups: g}, nodePath(t))
		if out, state := startAwaiting(t, s, node(t, threads)); out != want && (want == "all\n" || strings.Contains(out, "all")) {
			t.Errorf("with %d tasks: got %q (%v), want %q", tasks, out, state, want)
		}
	}
	if left := workerGroups(t, g); len(left) > 0 {
		t.Errorf("groups are left: %v", left)
	}
}

// What a process leaves behind ends with it, and so do those of a host that was killed.
func TestInAGroupSurvivors(t *testing.T) {
	g := opened(t)
	s := spawnerOf(t, Config{Children: true, Groups: g}, nodePath(t))
	out := output(t, s, node(t, await0+`
		const child = require("child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], {stdio: "ignore"});
		console.log(child.pid); child.unref()`))
	if pid, err := strconv.Atoi(strings.TrimSpace(out)); err != nil || alive(pid) {
		t.Errorf("process %q lives on (%v)", out, err)
	}
	// This number is a process's that has not started then.
	left := &group{dir: filepath.Join(g.dir, groupPrefix+strconv.Itoa(os.Getpid())+"-1-1")}
	if err := os.Mkdir(left.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sleep := exec.Command("sleep", "20")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	if err := left.add(sleep.Process.Pid); err != nil {
		t.Fatal(err)
	}
	p, err := s.Start(node(t, "setInterval(() => {}, 1000)")) // it stays
	if err != nil {
		t.Fatal(err)
	}
	opened(t)
	if err := sleep.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the earlier host's worker: %v", err)
	}
	if found := workerGroups(t, g); len(found) != 1 || found[0] != p.group.dir || !alive(p.PID()) {
		t.Errorf("there are the groups %v, want %s", found, p.group.dir)
	}
	_ = p.Kill()
	if _, err := p.Wait(); err != nil || len(workerGroups(t, g)) > 0 {
		t.Errorf("%v; groups are left: %v", err, workerGroups(t, g))
	}
}

// await0 lets the host move the process before it starts others.
const await0 = `require("child_process"); const until = Date.now() + 200; while (Date.now() < until);`

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// Memory that no limit of one process bounds is bounded by the group.
func TestInAGroupMemory(t *testing.T) {
	g := opened(t)
	if !slices.Contains(g.controllers, "memory") {
		t.Skip("the cgroup of this test does not let it control memory")
	}
	p, err := spawnerOf(t, Config{Groups: g, Beside: 64 << 20}, nodePath(t)).Start(node(t, `
		const all = []; setInterval(() => all.push(Buffer.alloc(1 << 20, 1)), 5)`))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.group.setMemory(32 << 20); err != nil {
		t.Fatal(err)
	}
	if state, err := p.Wait(); err != nil || state.String() != "signal: killed" || !p.OutOfMemory() {
		t.Errorf("%v, %v, out of memory: %v", state, err, p.OutOfMemory())
	}
}

func TestFindGroup(t *testing.T) {
	const mount = "24 30 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
	tests := []struct {
		name, membership, mounts, want string
		root                           bool
	}{
		{"v2 alone", "0::/system.slice/envoke.service\n", mount, "/sys/fs/cgroup/system.slice/envoke.service", false},
		{"a namespace", "0::/\n", mount, "/sys/fs/cgroup", true},
		{"beside v1", "4:memory:/a\n0::/b\n", "1 2 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw\n4 5 0:6 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified/b", false},
		{"a part is mounted", "0::/a/b\n", "4 5 0:6 /a /mnt rw - cgroup2 cgroup2 rw\n", "/mnt/b", false},
		{"another part is mounted", "0::/ab\n", "4 5 0:6 /a /mnt rw - cgroup2 cgroup2 rw\n", "", false},
		{"outside of the namespace", "0::/../a\n", mount, "", false},
		{"v1 alone", "4:memory:/a\n", mount, "", false},
		{"nothing is mounted", "0::/a\n", "1 2 0:3 / / rw - ext4 /dev/root rw\n", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, root := findGroup([]byte(test.membership), []byte(test.mounts)); got != test.want || root != test.root {
				t.Errorf("got %q, %v, want %q, %v", got, root, test.want, test.root)
			}
		})
	}
}

// folder makes a folder with files that a group has.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDelegated(t *testing.T) {
	files := map[string]string{"cgroup.type": "domain", "cgroup.procs": "", "cgroup.subtree_control": "", "cgroup.controllers": "io cpu\n"}
	dir := folder(t, files)
	if err := delegated(dir); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		without string
		want    error
	}{{"cgroup.controllers", errControls}, {"cgroup.procs", unix.ENOENT}, {"cgroup.type", errRootGroup}} { // one after the other
		if err := os.Remove(filepath.Join(dir, test.without)); err != nil {
			t.Fatal(err)
		}
		if err := delegated(dir); !errors.Is(err, test.want) {
			t.Errorf("without %s: %v, want %v", test.without, err, test.want)
		}
	}
	// Processes that are not ours are not moved.
	dir = folder(t, map[string]string{"cgroup.procs": strconv.Itoa(os.Getpid()) + "\n1\n"})
	if err := (&Groups{dir: dir}).divide(false); !errors.Is(err, errNotAlone) {
		t.Errorf("beside others: %v", err)
	}
}

// The kernel's events tell whose bound it was.
func TestOutOfMemory(t *testing.T) {
	for events, want := range map[string]bool{
		"low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 1\n": true,
		"low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\noom_group_kill 0\n":  false, // the machine's
		"low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\noom_group_kill 0\n":  false,
		"": false,
	} {
		if got := (&group{dir: folder(t, map[string]string{"memory.events": events})}).outOfMemory(); got != want {
			t.Errorf("%q: %v", events, got)
		}
	}
}

func TestSetMemory(t *testing.T) {
	dir := folder(t, map[string]string{"memory.max": "", "memory.oom.group": ""}) // a kernel without swap
	g := &group{dir: dir, memory: true, beside: 1000}
	if err := g.setMemory(5000); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"memory.max": "6000", "memory.oom.group": "1"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "memory.max")); err != nil {
		t.Fatal(err)
	}
	if err := g.setMemory(5000); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a bound that cannot be set: %v", err)
	}
	if err := (&group{dir: dir}).setMemory(5000); err != nil {
		t.Errorf("without the controller: %v", err)
	}
}

// Where no group is delegated processes start without.
func TestNoGroups(t *testing.T) {
	g := &Groups{missing: "it is a test"}
	s := spawnerOf(t, Config{Groups: g}, itself)
	if out, state := run(t, s, Program{Argv: []string{itself, parent}}); !state.Success() {
		t.Errorf("%v %s", state, out)
	}
	for _, layer := range (Config{Groups: g}).Layers() {
		if layer.Name == "control groups" && (layer.Missing != g.missing || layer.Kernel) {
			t.Errorf("the layer is %+v", layer)
		}
	}
	testrig.Eventually(t, "the spawner has one cell", func() bool { return s.cells == 1 })
}
