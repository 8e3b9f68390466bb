package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"envoke/internal/testrig"
)

// probe is the argument that makes the test binary the process inside the walls: it
// makes each system call named after it and prints the answers as JSON.
const probe = "probe-system-calls"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == probe {
		makeCalls(os.Args[2:])
		return
	}
	goleak.VerifyTestMain(m)
}

// makeCalls calls with arguments that no call accepts.
func makeCalls(names []string) {
	native, _ := arch.GetInfo("")
	const bad = ^uintptr(0)
	answers := make(map[string]int)
	for _, name := range names {
		number := uintptr(native.SyscallNames[name])
		_, _, errno := unix.Syscall6(number, bad, bad, bad, bad, bad, bad)
		answers[name] = int(errno)
	}
	_ = json.NewEncoder(os.Stdout).Encode(answers)
}

// spawner serves until the test ends.
func spawner(t *testing.T, cfg Config) *Spawner {
	t.Helper()
	s := NewSpawner(cfg)
	testrig.Serve(t, s.Serve)
	return s
}

// output runs a command inside and returns what it printed.
func output(t *testing.T, s *Spawner, cmd *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := s.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return out.String()
}

// node makes a command that runs JavaScript.
func node(t *testing.T, source string, env ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is needed: ", err)
	}
	return Command([]string{path, "-e", source}, env)
}

// TestAsAnOrdinaryUser runs the other tests again as a host without privileges.
func TestAsAnOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user; the other tests just ran as an ordinary one")
	}
	cmd := exec.Command("/proc/self/exe", "-test.skip=TestAsAnOrdinaryUser", "-test.count=1", "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS: TestDeniedSystemCalls")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestDeniedSystemCalls(t *testing.T) {
	native, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"clone3": int(unix.ENOSYS), "prlimit64": int(unix.EPERM), "setpgid": int(unix.EPERM)}
	for _, name := range known(native, denied) {
		want[name] = int(unix.EPERM)
	}
	arguments := []string{"/proc/self/exe", probe}
	for name := range want {
		arguments = append(arguments, name)
	}
	var got map[string]int
	// Behind the answer, a binary built for coverage complains of its environment.
	answer := json.NewDecoder(strings.NewReader(output(t, spawner(t, Config{}), Command(arguments, nil))))
	if err := answer.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Without the filter's flag test this makes a user namespace, which any user may.
func TestCloneMakesNoNamespaces(t *testing.T) {
	cmd := Command([]string{"/proc/self/exe", "-test.run=^$"}, nil)
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
	if err := spawner(t, Config{}).Start(cmd); !errors.Is(err, unix.EPERM) {
		t.Fatalf("clone into a user namespace: %v, want EPERM", err)
	}
}

func TestNamesAreSystemCalls(t *testing.T) {
	for _, name := range append([]string{"clone3"}, denied...) {
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

func TestProcessState(t *testing.T) {
	const show = `
		const status = require("fs").readFileSync("/proc/self/status", "utf8");
		const limits = require("fs").readFileSync("/proc/self/limits", "utf8");
		const field = (name) => status.match(new RegExp(name + ":\\s*(\\S+)"))[1];
		const limit = (name) => limits.match(new RegExp(name + "\\s+(\\S+)\\s+(\\S+)")).slice(1).join(" ");
		console.log(JSON.stringify({
			NoNewPrivs: field("NoNewPrivs"), Seccomp: field("Seccomp"), CapEff: field("CapEff"), CapPrm: field("CapPrm"),
			Files: limit("Max open files"), FileSize: limit("Max file size"), Core: limit("Max core file size"),
			Env: process.env, Dir: process.cwd(),
			OOM: require("fs").readFileSync("/proc/self/oom_score_adj", "utf8").trim(),
		}))`
	want := map[string]any{
		"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0000000000000000", "CapPrm": "0000000000000000",
		"Files": "100 100", "FileSize": "1048576 1048576", "Core": "0 0",
		"Env": map[string]any{"ONLY": "this"}, "Dir": "/", "OOM": "1000",
	}
	t.Setenv("SECRET", "of the host")
	s := spawner(t, Config{OpenFiles: 100, FileSize: 1 << 20})
	// The limits arrive a moment after the start: the program waits for its input.
	cmd := node(t, `process.stdin.on("data", () => {`+show+`; process.exit(0) })`, "ONLY=this")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd.Stdin = r
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := s.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatJavaScriptSees(t *testing.T) {
	tests := []struct {
		name, source, want string
	}{
		{"no TCP", `require("net").connect(9, "127.0.0.1").on("error", (e) => console.log(e.code))`, "EPERM"},
		{"no Unix sockets", `require("net").connect("/run/x").on("error", (e) => console.log(e.code))`, "EPERM"},
		{"no server", `require("net").createServer().on("error", (e) => console.log(e.code)).listen(0)`, "EPERM"},
		{"no UDP", `try { require("dgram").createSocket("udp4").bind(0).on("error", (e) => console.log(e.code)) } catch (e) { console.log(e.code) }`, "EPERM"},
		{"no signal to the host", `try { process.kill(process.ppid, 0) } catch (e) { console.log(e.code) }`, "EPERM"},
		{"no priority for the host", `try { os.setPriority(process.ppid, 19) } catch (e) { console.log(e.info.code) }`, "EPERM"},
		{"child processes", `console.log(child_process.execFileSync("/bin/echo", ["works"]).toString().trim())`, "works"},
		{"worker threads", `new worker_threads.Worker("console.log('works')", {eval: true})`, "works"},
		{"no memory of the host", `try { fs.openSync("/proc/" + process.ppid + "/mem", "r"); console.log("open") } catch (e) { console.log(e.code) }`, "EACCES"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if strings.Contains(test.name, "memory") && os.Getuid() != 0 {
				t.Skip("capabilities are what separates a root host from its workers")
			}
			if got := strings.TrimSpace(output(t, spawner(t, Config{}), node(t, test.source))); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTheHostIsLeftAlone(t *testing.T) {
	spawner(t, Config{}).Start(node(t, "0")) //nolint:errcheck // only the thread's entering matters
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatalf("this process lost its sockets: %v", err)
	}
	_ = unix.Close(fd)
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	inside := 0
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err == nil && strings.Contains(string(status), "Seccomp:\t2") {
			inside++
		}
	}
	if inside > 2 { // ours, and the main thread where an earlier Spawner had that one
		t.Errorf("%d threads are behind the filter, want only the spawner's", inside)
	}
}

func TestKillTakesTheWholeGroup(t *testing.T) {
	s := spawner(t, Config{})
	cmd := node(t, `
		const child = child_process.spawn("/bin/sleep", ["1000"], {detached: true});
		console.log(child.pid)`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := s.Start(cmd); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var line [32]byte
	n, err := r.Read(line[:])
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if err := Kill(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	testrig.Succeeds(t, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			return fmt.Errorf("the child lives: %s", stat)
		}
		return nil
	})
}

func TestProcessesEndWithTheSpawner(t *testing.T) {
	s := NewSpawner(Config{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	cmd := node(t, `setInterval(() => {}, 1000)`)
	if err := s.Start(cmd); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the process ended with %v, want signal: killed", err)
	}
	if err := s.Start(node(t, "0")); !errors.Is(err, ErrStopped) {
		t.Errorf("a start after the end: %v, want ErrStopped", err)
	}
}

func TestStartFails(t *testing.T) {
	s := spawner(t, Config{})
	if err := s.Start(Command([]string{"/no/such/program"}, nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not found", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const take = `import sys
try: print(len(bytearray(int(sys.stdin.readline()))))
except MemoryError: print("MemoryError")`
	s := spawner(t, Config{Memory: 64 << 20})
	for size, want := range map[string]string{"16000000": "16000000", "100000000": "MemoryError"} {
		python, err := exec.LookPath("python3")
		if err != nil {
			t.Fatal("python3 is needed: ", err)
		}
		cmd := Command([]string{python, "-I", "-c", take}, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")})
		cmd.Stdin = strings.NewReader(size + "\n")
		if got := strings.TrimSpace(output(t, s, cmd)); got != want {
			t.Errorf("%s bytes: got %q, want %q", size, got, want)
		}
	}
}
