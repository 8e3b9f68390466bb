package localdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	patience = 30 * time.Second // a server starts in less, on a busy machine too
	pause    = 5 * time.Millisecond
)

// child is the process of a server, which prints to a file.
type child struct {
	command *exec.Cmd
	log     string          // the file
	ended   <-chan struct{} // closed when the process has ended
}

// start starts a command that the kernel is to end with the thread that started it
// (Pdeathsig), and so keeps that thread. It prints to the file from its start.
func start(command *exec.Cmd, log string) (*child, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	defer func() { _ = file.Close() }() // the process has its own
	command.Stdout, command.Stderr = file, file
	over, started := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(over)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // how it ends is in its log
		}
	}()
	return &child{command: command, log: log, ended: over}, <-started
}

// await waits until ready gives no error.
func (c *child) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.ended:
			printed, _ := os.ReadFile(c.log)
			return fmt.Errorf("it ended:\n%s", printed)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", errors.Join(ctx.Err(), err))
		}
	}
}

func (c *child) signal(s syscall.Signal) error {
	if c == nil {
		return nil
	}
	if err := c.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// end has the process end, and waits until it has.
func (c *child) end(s syscall.Signal) error {
	if err := c.signal(s); err != nil || c == nil {
		return err
	}
	<-c.ended
	return nil
}
