package pool

import (
	"syscall"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// A crash is the function's memory only where that was nearly full.
func TestCrashes(t *testing.T) {
	node := testRuntime(t)
	node.OwnMemory = 64 << 20
	p := serve(t, Options{Runtime: node, MemoryMB: 64})
	full := wantError{faas.ResourceExhausted, "the function ran out of memory: its limit is 64 MiB", map[string]any{
		"component": faas.InFunction, "limit": "memory", "limit_mb": 64,
	}}
	for mb, want := range map[int]wantError{1: exited("signal SIGSEGV"), 48: full} {
		process := pid(t, p, work("return 1"))
		ended := make(chan error, 1)
		go func() {
			_, err := p.Invoke(t.Context(), work("return 1"), do("fill", "mb", mb))
			ended <- err
		}()
		testrig.Eventually(t, "it has taken its memory", func() bool { return p.taken() > int64(mb+20)<<20 })
		if err := syscall.Kill(process, syscall.SIGSEGV); err != nil {
			t.Fatal(err)
		}
		checkError(t, <-ended, want)
	}
}

// taken is the memory of the one worker with code, as of its last sample.
func (p *Pool) taken() (bytes int64) {
	for _, w := range p.watched(func(*worker) bool { return true }) {
		bytes += w.memory.Load()
	}
	return bytes
}
