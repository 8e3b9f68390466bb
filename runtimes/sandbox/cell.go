package sandbox

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// cell is a thread behind the walls, with what belongs to the one process that it has at
// a time.
type cell struct {
	number   int
	connects bool
	rights   bool
	read     string // a folder that it sees beside what all see; empty: none
	scratch  string // empty: none
	user     *syscall.Credential
	secret   uint32 // of the system call that starts processes
	starts   chan start
	over     chan struct{} // closed when it gets no more to start
	ended    <-chan struct{}
}

type start struct {
	cmd  *exec.Cmd
	done chan error
}

// run makes the cell and starts what comes until ended is closed. Its thread dies then,
// and with it the process that was started.
func (c *cell) run(ended <-chan struct{}, config Config, entered chan<- error) {
	c.ended = ended
	if err := c.furnish(config); err != nil {
		entered <- err
		return
	}
	done := make(chan struct{})
	go onThread(func() {
		defer close(done)
		err := c.enter(config)
		entered <- err
		for err == nil {
			select {
			case start := <-c.starts:
				start.done <- start.cmd.Start()
			case <-c.over:
				return
			case <-ended:
				return
			}
		}
	})
	<-done
}

// onThread runs f on a thread that ends with it. The main thread does not end with its
// goroutine: while it waits here, locked, f gets another.
func onThread(f func()) {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// furnish makes the scratch folder and names the user.
func (c *cell) furnish(config Config) error {
	var secret [4]byte
	_, _ = rand.Read(secret[:])                              // never fails
	c.secret = binary.NativeEndian.Uint32(secret[:]) | 1<<31 // never 0
	if config.Users > 0 {
		id := uint32(config.Users + c.number)
		c.user = &syscall.Credential{Uid: id, Gid: id}
	}
	if config.Scratch == "" {
		return nil
	}
	c.scratch = filepath.Join(config.Scratch, strconv.Itoa(c.number))
	return makeScratch(c.scratch, c.user)
}

// enter puts the calling thread, and all that it starts from now on, behind the walls.
func (c *cell) enter(config Config) error {
	if err := dropCapabilities(); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("allow no new privileges: %w", err)
	}
	files := config.Files
	if c.connects {
		files.Read = slices.Concat(files.Read, certificates)
	}
	if c.read != "" {
		files.Read = slices.Concat(files.Read, []string{c.read})
	}
	rules, err := files.rules(c.scratch)
	if err != nil {
		return fmt.Errorf("find what may be seen of the files: %w", err)
	}
	if c.connects {
		rules = append(rules, landlock.ConnectTCP(config.Connect))
	}
	if err := restrict(rules); err != nil {
		return err
	}
	return denySystemCalls(exemptions{
		secret: c.secret, rights: c.user != nil || c.rights, children: config.Children, connects: c.connects,
	})
}

// asUser runs f as the cell's user, if it has one, on a thread that ends with it: the user
// may set limits of its own processes without any privilege. Go's own setresuid would
// change all threads.
func (c *cell) asUser(f func() error) error {
	if c.user == nil {
		return f()
	}
	done := make(chan error, 1)
	go onThread(func() {
		for _, call := range []struct{ number, id uintptr }{
			{unix.SYS_SETRESGID, uintptr(c.user.Gid)}, {unix.SYS_SETRESUID, uintptr(c.user.Uid)},
		} {
			if _, _, errno := unix.RawSyscall(call.number, call.id, call.id, call.id); errno != 0 {
				done <- fmt.Errorf("become user %d: %w", c.user.Uid, errno)
				return
			}
		}
		done <- f()
	})
	return <-done
}

// start has the cell's thread start a program.
func (c *cell) start(program Program) (*exec.Cmd, error) {
	//nolint:noctx // it outlives the call that starts it; Process.Kill ends it
	cmd := exec.Command(program.Argv[0], program.Argv[1:]...)
	cmd.Env = append([]string{}, program.Env...) // nil would mean the host's
	cmd.Dir = "/"
	if c.scratch != "" {
		cmd.Dir = c.scratch
		cmd.Env = append(cmd.Env, "HOME="+c.scratch, "TMPDIR="+c.scratch)
	}
	if program.Output != nil {
		cmd.Stdout, cmd.Stderr = program.Output, program.Output
	}
	cmd.ExtraFiles = program.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: c.user,
		Cloneflags: uintptr(c.secret) << 32, // see startFlags
	}
	start := start{cmd: cmd, done: make(chan error, 1)}
	select {
	case c.starts <- start:
		return cmd, <-start.done
	case <-c.ended:
		return nil, ErrStopped
	}
}

// Process is a program that was started.
type Process struct {
	spawner *Spawner
	cell    *cell
	cmd     *exec.Cmd
	group   *group
	starved bool // its group's bound of memory has ended it
}

// PID is the process's number, which is also its group's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// LimitMemory lowers the bytes of private writable memory that the process may have.
func (p *Process) LimitMemory(bytes uint64) error {
	err := p.cell.asUser(func() error { return setLimit(p.PID(), limit{unix.RLIMIT_DATA, bytes + p.spawner.config.Reserved}) })
	return errors.Join(err, p.group.setMemory(bytes))
}

// Kill kills the process and all that it started. It must not have been waited for yet:
// after that its number may be another's.
func (p *Process) Kill() error { return unix.Kill(-p.PID(), unix.SIGKILL) }

// Exited waits until the process has ended. Its number, and its group's, are still its own.
func (p *Process) Exited() {
	for {
		err := unix.Waitid(unix.P_PID, p.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// OutOfMemory tells, of a process that was waited for, whether the kernel has ended it at the
// bound of its group's memory.
func (p *Process) OutOfMemory() bool { return p.starved }

// Wait waits until the process has ended, ends what is left of its group, empties its scratch
// folder and gives its place to others. Where that cannot be done, which is the error, nobody
// gets it again.
func (p *Process) Wait() (*os.ProcessState, error) {
	_ = p.cmd.Wait() // the state tells how it ended
	p.starved = p.group.outOfMemory()
	err := p.group.remove() // first: what lives in it may write
	if err == nil {
		err = emptyScratch(p.cell.scratch)
	}
	if err == nil {
		p.spawner.leave(p.cell)
	}
	return p.cmd.ProcessState, err
}
