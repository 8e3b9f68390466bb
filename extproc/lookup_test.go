package extproc

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestLookup: who waits by the context waits for so long at most, and not for longer
// than the request lives.
func TestLookup(t *testing.T) {
	t.Run("ends by itself", func(t *testing.T) {
		l := &lookup{Context: t.Context()}
		defer l.end()
		if deadline, ok := l.Deadline(); !ok || time.Until(deadline) > lookupTimeout {
			t.Errorf("deadline %v, %t", deadline, ok)
		}
		<-l.Done()
		if !errors.Is(l.Err(), context.DeadlineExceeded) {
			t.Error(l.Err())
		}
	})
	t.Run("ends with the request", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &lookup{Context: ctx}
		defer l.end()
		cancel()
		<-l.Done()
		if !errors.Is(l.Err(), context.Canceled) {
			t.Error(l.Err())
		}
	})
	t.Run("costs nothing where nobody waits", func(t *testing.T) {
		ctx := t.Context()
		if n := testing.AllocsPerRun(100, func() {
			l := &lookup{Context: ctx}
			l.end()
		}); n > 1 {
			t.Errorf("%v allocations", n)
		}
	})
}
