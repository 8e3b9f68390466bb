// Package sandbox starts processes inside walls that the kernel keeps: a seccomp
// filter, no new privileges, no capabilities, resource limits, a process group of
// their own and a clean environment.
//
// The walls need no helper program. seccomp filters, no_new_privs and securebits
// belong to a thread and are inherited by what it starts, so a Spawner puts one OS
// thread of this process behind them and starts every process from there. The Go
// runtime never clones its own threads from a locked one, so nothing else of this
// process is touched. This saves each start an exec of our own binary (and the
// initialisation of everything linked into it), and main has nothing to call first.
//
// What the walls hold so far: no network, no other namespaces, no debugging of or
// signals to other processes, no kernel administration. The file system is that of
// the user who runs the host.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Config bounds what a process may take. The zero value means the defaults.
type Config struct {
	OpenFiles uint64 // descriptors open at once; 0: 256
	FileSize  uint64 // bytes of the largest file that it may write; 0: 64 MiB
	// Memory bounds the bytes of its private writable memory (RLIMIT_DATA); 0: no
	// bound. Address space that is only reserved does not count.
	Memory uint64
}

const (
	defaultOpenFiles = 256
	defaultFileSize  = 64 << 20
)

// ErrStopped is returned by Start when the Spawner no longer serves.
var ErrStopped = errors.New("the spawner has stopped")

// Spawner starts processes from one OS thread that is behind the walls. The thread
// must outlive what it starts: the kernel kills a process of Command when the thread
// that started it is gone.
type Spawner struct {
	limits  []limit
	starts  chan start
	stopped chan struct{}
}

type limit struct {
	resource int
	value    uint64
}

type start struct {
	cmd  *exec.Cmd
	done chan error
}

// NewSpawner makes a Spawner. Serve must run for Start to return.
func NewSpawner(cfg Config) *Spawner {
	if cfg.OpenFiles == 0 {
		cfg.OpenFiles = defaultOpenFiles
	}
	if cfg.FileSize == 0 {
		cfg.FileSize = defaultFileSize
	}
	s := &Spawner{
		limits: []limit{
			{unix.RLIMIT_CORE, 0},
			{unix.RLIMIT_NOFILE, cfg.OpenFiles},
			{unix.RLIMIT_FSIZE, cfg.FileSize},
		},
		starts:  make(chan start),
		stopped: make(chan struct{}),
	}
	if cfg.Memory > 0 {
		s.limits = append(s.limits, limit{unix.RLIMIT_DATA, cfg.Memory})
	}
	return s
}

// Serve starts what Start asks for until the context ends. Every process that it
// started is killed by the kernel when it returns. It fails at once where the kernel
// cannot build the walls: nothing ever runs without them.
func (s *Spawner) Serve(ctx context.Context) error {
	defer close(s.stopped)
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread dies with this goroutine.
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- s.serve(ctx)
			return
		}
		// The main thread does not die with its goroutine. While it waits here,
		// locked, the next goroutine gets another.
		defer runtime.UnlockOSThread()
		other := make(chan error)
		go func() {
			runtime.LockOSThread()
			other <- s.serve(ctx)
		}()
		done <- <-other
	}()
	return <-done
}

func (s *Spawner) serve(ctx context.Context) error {
	if err := enter(); err != nil {
		return fmt.Errorf("build the sandbox: %w", err)
	}
	for {
		select {
		case start := <-s.starts:
			start.done <- start.cmd.Start()
		case <-ctx.Done():
			return nil
		}
	}
}

// Start starts a command that Command built, with its limits set; it waits for Serve
// to run. The process must not run anybody's code before Start has returned.
func (s *Spawner) Start(cmd *exec.Cmd) error {
	start := start{cmd: cmd, done: make(chan error, 1)}
	select {
	case s.starts <- start:
		if err := <-start.done; err != nil {
			return err
		}
		return s.limit(cmd)
	case <-s.stopped:
		return ErrStopped
	}
}

// limit sets the limits of a process from the caller's thread: the thread that
// started it may not.
func (s *Spawner) limit(cmd *exec.Cmd) error {
	// Where memory runs out, a worker ends before the host does.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", cmd.Process.Pid), []byte("1000"), 0)
	for _, l := range s.limits {
		value := unix.Rlimit{Cur: l.value, Max: l.value}
		if err := unix.Prlimit(cmd.Process.Pid, l.resource, &value, nil); err != nil {
			_ = Kill(cmd.Process.Pid)
			_ = cmd.Wait()
			return fmt.Errorf("limit process %d: %w", cmd.Process.Pid, err)
		}
	}
	return nil
}

// Command makes the command of a process for Start: argv with absolute paths, in a
// process group of its own, with exactly the given environment and no descriptor
// but 0 (empty), 1 and 2 (discarded, unless the caller sets them) and ExtraFiles.
// argv must not be empty.
func Command(argv, env []string) *exec.Cmd {
	//nolint:noctx // it outlives the call that starts it; Kill ends it
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append([]string{}, env...) // nil would mean the host's
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Kill kills a process of Command and all that it started. The process must not have
// been waited for yet: after that its number may be another's.
func Kill(pid int) error { return unix.Kill(-pid, unix.SIGKILL) }
