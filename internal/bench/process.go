package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 60 * time.Second // Envoke may have to fetch Envoy first
	stopTimeout  = 10 * time.Second
	pollInterval = 10 * time.Millisecond
	keptOutput   = 8 << 10 // bytes of a process's output that an error shows
)

// process is a child that plays a role. It leads a process group of its own, so
// that an interrupt from the terminal reaches it through us alone.
type process struct {
	role   Role
	cmd    *exec.Cmd
	output output
	ended  chan struct{}
	err    error // why it ended; set before ended is closed
}

func startProcess(role Role, argv []string, env ...string) (*process, error) {
	p := &process{role: role, cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	p.cmd.Env = append(p.cmd.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.cmd.WaitDelay = stopTimeout
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop asks the process to end, then makes it, and waits until it has.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

// waitFor polls until ready gives no error. It gives up when the process ends,
// when the context does, or after startTimeout.
func (p *process) waitFor(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("start %s: it ended (%v); its last output: %s", p.role, p.err, p.output.String())
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w; its last output: %s", p.role, errors.Join(ctx.Err(), err), p.output.String())
		case <-poll.C:
		}
	}
}

// accepts is a condition for waitFor: something listens there.
func accepts(network, address string) func() error {
	return func() error {
		conn, err := net.Dial(network, address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// output keeps the last of what a process prints.
type output struct {
	mu   sync.Mutex
	kept []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, p...)
	if excess := len(o.kept) - keptOutput; excess > 0 {
		o.kept = append(o.kept[:0], o.kept[excess:]...)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(bytes.TrimSpace(o.kept))
}
