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

// process is a child that is accounted with its descendants. It leads a process group of its own, so
// that an interrupt from the terminal reaches it through us alone.
type process struct {
	group
	cmd    *exec.Cmd
	output output
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // why it ended; set before ended is closed
}

// startProcess starts a child that ends with the context, or before by stop: it is
// asked to first, and killed after stopTimeout.
func startProcess(ctx context.Context, of group, argv []string) (*process, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &process{group: of, cancel: cancel, ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopTimeout
	if err := p.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", of.of, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the process and waits until it has.
func (p *process) stop() {
	p.cancel()
	<-p.ended
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
			return fmt.Errorf("start %s: it ended (%w); its last output: %s", p.of, p.err, p.output.String())
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w; its last output: %s", p.of, errors.Join(ctx.Err(), err), p.output.String())
		case <-poll.C:
		}
	}
}

// accepts is a condition for waitFor: something listens at the address.
func accepts(ctx context.Context, address string) func() error {
	return func() error {
		conn, err := new(net.Dialer).DialContext(ctx, network(address), address)
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
