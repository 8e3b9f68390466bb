package pool

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// Code is not to blame for a worker that never read it.
func TestWorkerThatIsStopped(t *testing.T) {
	p := serve(t, Options{Idle: 1, LoadTimeout: 300 * time.Millisecond})
	testrig.Eventually(t, "a ready worker", func() bool { return p.Stats().Ready == 1 })
	p.mu.Lock()
	stopped := p.kinds[0].ready[0].process.PID()
	p.mu.Unlock()
	if err := unix.Kill(stopped, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	checkError(t, p.Load(t.Context(), work("good")), wantError{
		faas.Unavailable, "the worker did not take the code within 300 ms: the machine is stalled or too busy; nothing was run, try again",
		map[string]any{"component": faas.InRuntime},
	})
	testrig.Succeeds(t, func() error { return p.Load(t.Context(), work("good")) })
	testrig.Succeeds(t, func() error { return gone(stopped) })
}
