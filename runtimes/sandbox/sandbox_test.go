package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"envoke/internal/testrig"
)

// itself is the test's binary, whoever may see its folder.
const itself = "/proc/self/exe"

// Arguments that make it start a child, or guess how.
const (
	parent = "start-a-child"
	guess  = "guess-the-secret"
)

// probe is the argument that makes the test binary the process inside the walls: it
// makes each system call named after it and prints the answers as JSON.
const probe = "probe-system-calls"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == probe {
		makeCalls(os.Args[2:])
		return
	}
	if len(os.Args) == 2 && os.Args[1] == parent {
		startChild()
		return
	}
	if len(os.Args) == 2 && os.Args[1] == guess {
		makeGuess()
		return
	}
	goleak.VerifyTestMain(m)
}

// newerCall is one that the filter's table lacks, on all architectures the same.
const newerCall = "file_setattr"

// startChild starts this binary once more and prints how that went.
func startChild() {
	child := exec.Command(itself, "-test.run=^$") // which does nothing
	_, _ = fmt.Fprintln(os.Stdout, child.Start())
}

// makeGuess makes the call with a secret of its own.
func makeGuess() {
	_, withPidfd := startFlags(1)
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(withPidfd), 0, 0)
	_, _ = fmt.Fprintln(os.Stdout, errno)
}

// makeCalls calls with arguments that no call accepts.
func makeCalls(names []string) {
	native, _ := arch.GetInfo("")
	const bad = ^uintptr(0)
	answers := make(map[string]int)
	for _, name := range names {
		number := uintptr(native.SyscallNames[name])
		if name == newerCall {
			number = 469
		}
		_, _, errno := unix.Syscall6(number, bad, bad, bad, bad, bad, bad)
		answers[name] = int(errno)
	}
	_ = json.NewEncoder(os.Stdout).Encode(answers)
}

// spawner serves until the test ends.
func spawner(t *testing.T, c Config) *Spawner {
	t.Helper()
	s := NewSpawner(c)
	testrig.Serve(t, s.Serve)
	return s
}

// spawnerOf serves for programs that may see their own files and have a scratch folder.
func spawnerOf(t *testing.T, c Config, programs ...string) *Spawner {
	t.Helper()
	c.Files.Programs = append(c.Files.Programs, programs...)
	c.Scratch = t.TempDir()
	return spawner(t, c)
}

// output runs a program inside and returns what it printed.
func output(t *testing.T, s *Spawner, program Program) string {
	t.Helper()
	out, state := run(t, s, program)
	if !state.Success() {
		t.Fatalf("%v: %s", state, out)
	}
	return out
}

func run(t *testing.T, s *Spawner, program Program) (string, *os.ProcessState) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	program.Output = w
	p, err := s.Start(program)
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	state, err := p.Wait()
	if err != nil {
		t.Error(err)
	}
	return string(out), state
}

// node makes a program that runs JavaScript, and a spawner for it.
func node(t *testing.T, source string, env ...string) Program {
	t.Helper()
	return Program{Argv: []string{nodePath(t), "-e", source}, Env: env}
}

// running starts JavaScript that goes on until the test ends.
func running(t *testing.T, source string) *Process {
	t.Helper()
	p, err := spawnerOf(t, Config{}, nodePath(t)).Start(node(t, source+"; setInterval(() => {}, 1000)"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Kill()
		if _, err := p.Wait(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func nodePath(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is needed: ", err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		t.Fatal(err)
	}
	return path
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

// await is how a JavaScript program waits until its limits are set: Start has returned.
const await = `require("fs").readSync(3, Buffer.alloc(1));`

// startAwaiting starts a program that waits on descriptor 3 until its limits are set.
func startAwaiting(t *testing.T, s *Spawner, program Program) (string, *os.ProcessState) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	program.Files = []*os.File{r}
	go func() { _ = w.Close() }() // end of file wakes it; run waits for its end
	return run(t, s, program)
}

func TestProcessState(t *testing.T) {
	want := map[string]any{
		"env": map[string]any{"ONLY": "this"}, "uid": float64(os.Getuid()), "files": "EMFILE", "size": "EFBIG",
	}
	t.Setenv("SECRET", "of the host")
	s := spawnerOf(t, Config{OpenFiles: 100, FileSize: 1 << 20}, nodePath(t))
	out, state := startAwaiting(t, s, node(t, await+`
		process.on("SIGXFSZ", () => {});
		const code = (f) => { try { return f() } catch (e) { return e.code } };
		const { HOME, TMPDIR, ...env } = process.env;
		if (HOME !== process.cwd() || TMPDIR !== HOME) throw HOME;
		console.log(JSON.stringify({
			env, uid: process.getuid(),
			files: code(() => { for (;;) fs.openSync("/dev/null") }),
		}).slice(0, -1));`, "ONLY=this"))
	if !state.Success() {
		t.Fatalf("%v: %s", state, out)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(strings.TrimSpace(out)+`,"size":"EFBIG"}`), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheHostIsLeftAlone(t *testing.T) {
	output(t, spawnerOf(t, Config{}, nodePath(t)), node(t, "0"))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatalf("this process lost its sockets: %v", err)
	}
	_ = unix.Close(fd)
	if _, err := os.ReadFile("/etc/passwd"); err != nil {
		t.Errorf("this process lost its files: %v", err)
	}
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

// A Go program starts its child by the very call that the filter must let through for the
// program itself, but for the secret. Who tries to guess that is killed.
func TestNoProcesses(t *testing.T) {
	s := spawnerOf(t, Config{}, itself)
	if got := output(t, s, Program{Argv: []string{itself, parent}}); !strings.Contains(got, "operation not permitted") {
		t.Errorf("got %q", got)
	}
	if out, state := run(t, s, Program{Argv: []string{itself, guess}}); state.String() != "signal: bad system call" {
		t.Errorf("a guess: %v %s", state, out)
	}
}

func TestTasksByGroup(t *testing.T) {
	p := running(t, "")
	testrig.Succeeds(t, func() error {
		if groups, err := TasksByGroup(); err != nil || groups[p.PID()] < 5 {
			return fmt.Errorf("%d threads, %w", groups[p.PID()], err)
		}
		return nil
	})
	if n, err := Tasks(); err != nil || n < 5 {
		t.Errorf("%d tasks, %v", n, err)
	}
}

func TestProcessesEndWithTheSpawner(t *testing.T) {
	s := NewSpawner(Config{Files: Files{Programs: []string{nodePath(t)}}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	p, err := s.Start(node(t, `setInterval(() => {}, 1000)`))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if state, err := p.Wait(); err != nil || state.String() != "signal: killed" {
		t.Errorf("the process ended with %v, want signal: killed", state)
	}
	if _, err := s.Start(node(t, "0")); !errors.Is(err, ErrStopped) {
		t.Errorf("a start after the end: %v, want ErrStopped", err)
	}
}

func TestStartFails(t *testing.T) {
	s := spawner(t, Config{})
	for range 3 { // its cell is free again
		if _, err := s.Start(Program{Argv: []string{"/no/such/program"}}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want not found", err)
		}
	}
	if s.cells != 1 {
		t.Errorf("%d cells", s.cells)
	}
	needFiles(t)
	if _, err := s.Start(node(t, "0")); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a program that is not its own: %v, want permission denied", err)
	}
}

func TestServeFails(t *testing.T) {
	s := NewSpawner(Config{Scratch: "/no/such/folder"})
	if err := s.Serve(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Serve = %v", err)
	}
	if _, err := s.Start(Program{Argv: []string{itself}}); !errors.Is(err, ErrStopped) {
		t.Errorf("Start = %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const take = await + `
		try { console.log(Buffer.alloc(+process.argv[1], 1).length) } catch (e) { console.log(e.message) }`
	s := spawnerOf(t, Config{Memory: 200 << 20}, nodePath(t))
	for size, want := range map[string]string{"16000000": "16000000\n", "400000000": "Array buffer allocation failed\n"} {
		program := node(t, take)
		program.Argv = append(program.Argv, size)
		if got, state := startAwaiting(t, s, program); got != want && !strings.Contains(got, "out of memory") {
			t.Errorf("%s bytes: got %q (%v), want %q", size, got, state, want)
		}
	}
}

// What a program reserves it may have beside its memory, and keeps when that is lowered.
func TestReservedMemory(t *testing.T) {
	p, err := spawnerOf(t, Config{Memory: 200 << 20, Reserved: 512 << 20}, nodePath(t)).Start(node(t, "setInterval(() => {}, 1000)"))
	if err != nil {
		t.Fatal(err)
	}
	wantLimit := func(want uint64) {
		t.Helper()
		var got unix.Rlimit
		if err := unix.Prlimit(p.PID(), unix.RLIMIT_DATA, nil, &got); err != nil || got.Cur != want || got.Max != want {
			t.Errorf("the limit is %+v, %v, want %d", got, err, want)
		}
	}
	wantLimit(712 << 20)
	if err := p.LimitMemory(100 << 20); err != nil {
		t.Error(err)
	}
	wantLimit(612 << 20)
	_ = p.Kill()
	if _, err := p.Wait(); err != nil {
		t.Error(err)
	}
}

func TestMemoryAvailable(t *testing.T) {
	const meminfo = "MemTotal:       24684152 kB\nMemFree:         1 kB\nMemAvailable:   23000000 kB\n"
	for name, want := range map[string]int64{"MemTotal:": 24684152 << 10, "MemAvailable:": 23000000 << 10, "MemLost:": 0} {
		if got := kibOf([]byte(meminfo), name); got != want {
			t.Errorf("%s %d, want %d", name, got, want)
		}
	}
	if share, ok := MemoryAvailable(); !ok || share <= 0 || share > 1 {
		t.Errorf("%f of this machine's memory is available, %v", share, ok)
	}
}
