package extproc

import (
	"context"
	"sync"
	"time"
)

// lookup is a context that bounds what is asked about one request. Its clock runs from the
// first wait on: most answers are in memory, and a timer for each would be a twentieth of
// what ext_proc takes.
type lookup struct {
	context.Context //nolint:containedctx // it is one

	once    sync.Once
	limited context.Context //nolint:containedctx // of waits
	cancel  context.CancelFunc
}

func (l *lookup) wait() context.Context {
	l.once.Do(func() { l.limited, l.cancel = context.WithTimeout(l.Context, lookupTimeout) })
	return l.limited
}

// end frees what a wait took.
func (l *lookup) end() {
	l.once.Do(func() { l.limited, l.cancel = l.Context, func() {} })
	l.cancel()
}

// Deadline implements context.Context.
func (l *lookup) Deadline() (time.Time, bool) { return l.wait().Deadline() }

// Done implements context.Context.
func (l *lookup) Done() <-chan struct{} { return l.wait().Done() }

// Err implements context.Context.
func (l *lookup) Err() error { return l.wait().Err() }
