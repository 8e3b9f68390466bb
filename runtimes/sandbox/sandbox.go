// Package sandbox starts processes inside walls that the kernel keeps: a seccomp
// filter, Landlock, no new privileges, no capabilities, resource limits, a process
// group of their own and a clean environment; and a user of their own where this
// process may give them one.
//
// The walls need no helper program. seccomp filters, Landlock's domains, no_new_privs
// and securebits belong to a thread and are inherited by what it starts. So each process
// is started from a cell: an OS thread of this process that is behind the walls, with a
// scratch folder, and a user. A cell has one process at a time, and the next one when
// that is gone and the scratch folder is empty again: entering costs a start nothing.
// The Go runtime never clones its own threads from a locked one, so nothing else of this
// process is touched. This saves each start an exec of our own binary (and the
// initialisation of everything linked into it), and main has nothing to call first.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Config says what a process may see and take. A zero limit means its default.
type Config struct {
	Files Files
	// Scratch is an empty folder of this process's, under which each process gets one of
	// its own that it may write to. Empty: processes can write nothing.
	Scratch string
	// Users is the first of the user ids that processes get, one for each at once; 0: they
	// run as this process's user does. It takes CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_KILL.
	Users int
	// Connect is the TCP port of this machine to which processes may connect that are
	// started so (Program.Connects); 0: none may. It takes what NoConnect tells of.
	Connect uint16
	// Rights lets processes change rights and times of files that are this user's, where
	// they have no users of their own: they run programs of ours, and nobody else's code.
	Rights bool

	OpenFiles uint64 // descriptors open at once; 0: 256
	FileSize  uint64 // bytes of the largest file that it may write; 0: 64 MiB
	// Memory bounds the bytes of its private writable memory (RLIMIT_DATA); 0: no
	// bound. Address space that is only reserved does not count.
	Memory uint64
	// Reserved are bytes of such memory that a program maps when it starts and hardly uses: it
	// may have them over Memory, in RLIMIT_DATA, which counts what is mapped.
	Reserved uint64
	// Groups gives each process a control group, in which Memory and Tasks bound all that it
	// starts too; nil: none. Beside are the bytes that it may have in its group over Memory:
	// files that it reads or writes, and what the kernel keeps for it.
	Groups *Groups
	Beside uint64
	// AddressSpace bounds what it may reserve (RLIMIT_AS), and with that the page tables
	// that the kernel keeps for it; 0: no bound.
	AddressSpace uint64
	// Tasks bounds its threads and processes where it has a user or a group of its own; 0: 256.
	Tasks uint64
	// CPU bounds the seconds that it may compute, on all cores together; 0: no bound.
	CPU uint64
	// Children lets it start those programs that it may run, each under the same limits. Only
	// Tasks bounds their number, so it is for programs that run nobody's code.
	Children bool
}

const (
	defaultOpenFiles = 256
	defaultFileSize  = 64 << 20
	defaultTasks     = 256
)

// ErrStopped is returned by Start when the Spawner no longer serves.
var ErrStopped = errors.New("the spawner has stopped")

// MaxUsers is how many users processes get, from Config.Users on.
const MaxUsers = 1024

var errNoUser = errors.New("no user is left for another process: scratch folders that could not be emptied keep theirs")

// Spawner starts processes, each from a cell of its own. The cells must outlive what they
// start: the kernel kills a process when the thread that started it is gone.
type Spawner struct {
	config Config
	limits []limit

	mu      sync.Mutex
	stopped bool
	free    map[bool][]*cell // by whether they connect
	numbers []int            // of cells that have ended, for others
	cells   int
	threads sync.WaitGroup
	entered chan struct{} // closed when Serve has the first cell, or has failed
	ended   chan struct{} // closed when Serve ends: so do the threads
}

type limit struct {
	resource int
	value    uint64
}

// NewSpawner makes a Spawner. Serve must run for Start to return.
func NewSpawner(c Config) *Spawner {
	for _, d := range []struct {
		value *uint64
		unset uint64
	}{{&c.OpenFiles, defaultOpenFiles}, {&c.FileSize, defaultFileSize}, {&c.Tasks, defaultTasks}} {
		if *d.value == 0 {
			*d.value = d.unset
		}
	}
	s := &Spawner{config: c, free: make(map[bool][]*cell), entered: make(chan struct{}), ended: make(chan struct{}), limits: []limit{
		{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_NOFILE, c.OpenFiles}, {unix.RLIMIT_FSIZE, c.FileSize},
	}}
	if c.Memory > 0 {
		s.limits = append(s.limits, limit{unix.RLIMIT_DATA, c.Memory + c.Reserved})
	}
	if c.AddressSpace > 0 {
		s.limits = append(s.limits, limit{unix.RLIMIT_AS, c.AddressSpace})
	}
	if c.CPU > 0 {
		s.limits = append(s.limits, limit{unix.RLIMIT_CPU, c.CPU})
	}
	if c.Users > 0 {
		s.limits = append(s.limits, limit{unix.RLIMIT_NPROC, c.Tasks})
	}
	return s
}

// Serve lets Start start processes until the context ends. Every process that was
// started is killed by the kernel when it returns. It fails at once where the kernel
// cannot build the walls: nothing ever runs without them.
func (s *Spawner) Serve(ctx context.Context) error {
	first, err := s.newCell(false, "")
	if err == nil {
		s.leave(first)
		close(s.entered)
		<-ctx.Done()
	}
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	if err != nil {
		close(s.entered)
	}
	close(s.ended)
	s.threads.Wait()
	return err
}

// enter finds a free cell, or makes one.
func (s *Spawner) enter(program Program) (*cell, error) {
	<-s.entered
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil, ErrStopped
	}
	free := s.free[program.Connects]
	if last := len(free) - 1; last >= 0 && program.Read == "" {
		c := free[last]
		s.free[program.Connects] = free[:last]
		s.mu.Unlock()
		return c, nil
	}
	s.mu.Unlock()
	return s.newCell(program.Connects, program.Read)
}

// leave gives a cell back whose process is gone. One that sees more than others ends: who
// needs the same may never come.
func (s *Spawner) leave(c *cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.read != "" {
		close(c.over)
		s.numbers = append(s.numbers, c.number)
		return
	}
	s.free[c.connects] = append(s.free[c.connects], c)
}

// newCell makes a cell, with its thread and its folder.
func (s *Spawner) newCell(connects bool, read string) (*cell, error) {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil, ErrStopped
	}
	number := s.cells
	if last := len(s.numbers) - 1; last >= 0 {
		number, s.numbers = s.numbers[last], s.numbers[:last]
	} else if s.cells++; s.config.Users > 0 && s.cells > MaxUsers {
		s.cells--
		s.mu.Unlock()
		return nil, errNoUser
	}
	c := &cell{
		number: number, connects: connects, read: read, rights: s.config.Rights,
		starts: make(chan start), over: make(chan struct{}),
	}
	s.threads.Add(1)
	s.mu.Unlock()
	entered := make(chan error, 1)
	go func() {
		defer s.threads.Done()
		c.run(s.ended, s.config, entered)
	}()
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("build the sandbox: %w", err)
	}
	return c, nil
}

// Program is what Start starts: argv with absolute paths, not empty, and exactly the given
// environment, beside HOME and TMPDIR, which are the scratch folder. It has no descriptor
// but 0 (empty), 1 and 2 (Output, nil: discarded), and Files from 3 on. Input are files
// that it finds in its scratch folder, by their names.
type Program struct {
	Argv, Env []string
	Output    *os.File
	Files     []*os.File
	Input     map[string][]byte
	// Connects lets it open sockets for TCP, connect them to Config.Connect, and read which
	// certificates the system trusts.
	Connects bool
	// Read is a folder that it reads beside Config.Files; empty: none.
	Read string
}

var errNoPort = errors.New("no program may connect to anything here")

// Start starts a program, with its limits set; it waits for Serve to run. The limits are set
// when it runs already, so that it must not run anybody's code before Start has returned. A
// program that only reads such code may: it is loaded for longer than setting them takes,
// and what it has by then counts too.
func (s *Spawner) Start(program Program) (*Process, error) {
	if program.Connects && s.config.Connect == 0 {
		return nil, errNoPort
	}
	c, err := s.enter(program)
	if err != nil {
		return nil, err
	}
	if err := putFiles(c.scratch, program.Input); err != nil {
		s.leave(c)
		return nil, err
	}
	group, err := s.config.Groups.make(s.config)
	if err != nil {
		s.leave(c)
		return nil, err
	}
	cmd, err := c.start(program)
	if err != nil {
		_ = group.remove() // it is empty
		if !errors.Is(err, ErrStopped) {
			s.leave(c)
		}
		return nil, err
	}
	p := &Process{spawner: s, cell: c, cmd: cmd, group: group}
	err = c.asUser(func() error { return s.limit(p.PID()) })
	if err == nil {
		err = group.add(p.PID()) // for milliseconds, in which the program is loaded
	}
	if err != nil {
		_ = p.Kill()
		_, emptied := p.Wait()
		return nil, errors.Join(err, emptied)
	}
	return p, nil
}

// limit sets the limits of a process. Its cell may not.
func (s *Spawner) limit(pid int) error {
	// Where memory runs out, a worker ends before the host does.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0)
	for _, l := range s.limits {
		if err := setLimit(pid, l); err != nil {
			return err
		}
	}
	return nil
}

func setLimit(pid int, l limit) error {
	value := unix.Rlimit{Cur: l.value, Max: l.value}
	if err := unix.Prlimit(pid, l.resource, &value, nil); err != nil {
		return fmt.Errorf("limit process %d: %w", pid, err)
	}
	return nil
}
