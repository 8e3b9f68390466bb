package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"envoke/internal/testrig"
)

func TestDeniedSystemCalls(t *testing.T) {
	native, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"clone3": int(unix.ENOSYS), "setpgid": int(unix.EPERM), "openat2": int(unix.ENOSYS), "socketpair": int(unix.EPERM)}
	for _, name := range known(native, slices.Concat(denied, deniedToUs, starting, ofOthers)) {
		want[name] = int(unix.EPERM)
	}
	want[newerCall] = int(unix.ENOSYS)
	arguments := []string{itself, probe}
	for name := range want {
		arguments = append(arguments, name)
	}
	var got map[string]int
	// Behind the answer, a binary built for coverage complains of its environment.
	answer := json.NewDecoder(strings.NewReader(output(t, spawnerOf(t, Config{}, itself), Program{Argv: arguments})))
	if err := answer.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNamesAreSystemCalls(t *testing.T) {
	for _, name := range slices.Concat([]string{"clone3"}, denied, deniedToUs, starting, ofOthers) {
		found := false
		for _, architecture := range []string{"amd64", "arm64", "386"} {
			info, err := arch.GetInfo(architecture)
			if err != nil {
				t.Fatal(err)
			}
			_, ok := info.SyscallNames[name]
			found = found || ok
		}
		if !found {
			t.Errorf("no architecture has a system call %q", name)
		}
	}
}

func TestStatusOfAProcess(t *testing.T) {
	p := running(t, "")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		got[name] = value
	}
	for name, want := range map[string]string{
		"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0000000000000000", "CapPrm": "0000000000000000",
	} {
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
	score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.PID()))
	if err != nil || strings.TrimSpace(string(score)) != "1000" {
		t.Errorf("oom_score_adj is %s, %v", score, err)
	}
}

// needFiles skips a test where the kernel keeps no walls around files. It cannot be
// installed.
func needFiles(t *testing.T) {
	t.Helper()
	for _, layer := range (Config{}).Layers() {
		if layer.Name == "files" && layer.Missing != "" {
			t.Skip(layer.Missing)
		}
	}
}

func TestWhatJavaScriptSees(t *testing.T) {
	needFiles(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	const report = `const tried = (f) => { try { f(); console.log("done") } catch (e) { console.log(e.info?.code ?? e.code ?? e) } };`
	tests := []struct {
		name, source, want string
	}{
		{"no TCP", `require("net").connect(9, "127.0.0.1").on("error", (e) => console.log(e.code))`, "EPERM"},
		{"no Unix sockets", `require("net").connect("/run/x").on("error", (e) => console.log(e.code))`, "EPERM"},
		{"no server", `require("net").createServer().on("error", (e) => console.log(e.code)).listen(0)`, "EPERM"},
		{"no UDP", `try { require("dgram").createSocket("udp4").bind(0).on("error", (e) => console.log(e.code)) } catch (e) { console.log(e.code) }`, "EPERM"},
		{"no signal to the host", `tried(() => process.kill(process.ppid, 0))`, "EPERM"},
		{"no priority for the host", `tried(() => os.setPriority(process.ppid, 19))`, "EPERM"},
		{"no processes", `tried(() => child_process.spawn(process.execPath))`, "EPERM"},
		{"worker threads", `new worker_threads.Worker("console.log('works')", {eval: true})`, "works"},
		{"no file of others", `tried(() => fs.readFileSync("` + secret + `"))`, "EACCES"},
		{"no file of the system", `tried(() => fs.readFileSync("/etc/passwd"))`, "EACCES"},
		{"no folder", `tried(() => fs.readdirSync("/"))`, "EACCES"},
		{"nothing of the host", `tried(() => fs.readFileSync("/proc/" + process.ppid + "/status"))`, "EACCES"},
		{"no memory of the host", `tried(() => fs.openSync("/proc/" + process.ppid + "/mem"))`, "EACCES"},
		{"nothing of itself by /proc", `tried(() => fs.readFileSync("/proc/self/environ"))`, "EACCES"},
		{"no temporary files but its own", `tried(() => fs.writeFileSync("/tmp/envoke-escape", ""))`, "EACCES"},
		{"no shared memory", `tried(() => fs.writeFileSync("/dev/shm/envoke-escape", ""))`, "EACCES"},
		{"no terminal", `tried(() => fs.openSync("/dev/tty", "w"))`, "EACCES"},
		{"the scratch folder", `fs.mkdirSync("a/b", {recursive: true}); fs.writeFileSync("a/b/c", "works"); fs.renameSync("a/b/c", "d"); fs.symlinkSync("d", "e");
			console.log(fs.readFileSync(os.tmpdir() + "/e", "utf8")); fs.rmSync("a", {recursive: true})`, "works"},
		{"no links out of it", `fs.symlinkSync("/etc/passwd", "link"); tried(() => fs.readFileSync("link"))`, "EACCES"},
		{"no hard links into it", `tried(() => fs.linkSync("` + secret + `", "link"))`, "EXDEV"},
		{"its neighbours' folders", `tried(() => fs.readdirSync(".."))`, "EACCES"},
		{"time zones", `console.log(new Date(0).toLocaleString("en", {timeZone: "Europe/Berlin", hour: "numeric"}))`, "1 AM"},
		{"what the machine is", `console.log(os.totalmem() > 0 && os.cpus().length > 0)`, "true"},
	}
	s := spawnerOf(t, Config{}, nodePath(t))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.TrimSpace(output(t, s, node(t, report+test.source)))
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Each process has a user of its own where that can be, and cannot see the others' files
// even where it sees their folder.
func TestUsers(t *testing.T) {
	c := Config{Files: Files{Programs: []string{nodePath(t)}}}
	if why := c.NoUsers(); why != "" {
		t.Skip(why)
	}
	c.Scratch, c.Users, c.Tasks = testrig.OpenDir(t), 61184, 40
	s := spawner(t, c)
	hold, err := s.Start(node(t, `fs.writeFileSync("mine", "x"); setInterval(() => {}, 1000)`))
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Wait() //nolint:errcheck // its folder goes with the test
	defer func() { _ = hold.Kill() }()
	out, state := startAwaiting(t, s, node(t, await+`
		let threads = 0, { Worker } = require("worker_threads");
		const more = () => {
			try { new Worker("setInterval(() => {}, 1000)", {eval: true}).on("online", more); threads++ } catch (e) {
				console.log(process.getuid(), process.getgid(), process.getgroups().join(), threads < 40); process.exit() } };
		more()`))
	if want := "61185 61185 61185 true\n"; out != want {
		t.Errorf("got %q (%v), want %q", out, state, want)
	}
}

func TestLayers(t *testing.T) {
	kernel := 0
	for _, layer := range (Config{}).Layers() {
		if layer.Kernel {
			kernel++
		}
		if layer.Name == "system calls" && layer.Missing != "" {
			t.Errorf("no process would start: %s", layer.Missing)
		}
	}
	if kernel != 2 {
		t.Errorf("%d layers are the kernel's", kernel)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	files := Files{Read: []string{filepath.Join(dir, "file")}}
	if got := files.closedTo(); got != dir && !strings.HasPrefix(dir, got+"/") {
		t.Errorf("closedTo = %q", got)
	}
	if got := (Files{Read: []string{"/dev/null"}}).closedTo(); got != "" {
		t.Errorf("closedTo = %q", got)
	}
}
