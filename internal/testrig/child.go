package testrig

import (
	"os/exec"
	"runtime"
)

// startChild starts a command that the kernel is to end with the thread that started it
// (Pdeathsig), and so keeps that thread. The channel is closed when the command has ended.
func startChild(command *exec.Cmd) (ended <-chan struct{}, err error) {
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
	return over, <-started
}
