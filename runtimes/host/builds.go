package host

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
)

// maxBuilds bounds the builds that go on without their initialize. What builds bounds how
// many are under way at once; the others wait for that.
const maxBuilds = 128

// builds make sessions' code ready to run. One that is pending goes on when its initialize
// has been answered; all others end with the request that wants them.
type builds struct {
	ctx  context.Context //nolint:containedctx // the life of what the host has begun
	stop context.CancelFunc

	tasks sync.WaitGroup

	mu      sync.Mutex
	ended   bool
	pending map[faas.SessionID]*build
}

// build is that of one session.
type build struct {
	cancel  context.CancelFunc
	release func() bool // from the request that wants it
	done    chan struct{}
	err     error // once done is closed
}

func newBuilds() *builds {
	ctx, stop := context.WithCancel(context.Background())
	return &builds{ctx: ctx, stop: stop, pending: make(map[faas.SessionID]*build)}
}

// begin starts a build, which ends with ctx.
func (b *builds) begin(ctx context.Context, load func(context.Context) error) (*build, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.start(ctx, load)
}

// start is begin with the lock held.
func (b *builds) start(ctx context.Context, load func(context.Context) error) (*build, error) {
	if b.ended {
		return nil, fault.Stopping
	}
	own, cancel := context.WithCancel(b.ctx)
	one := &build{cancel: cancel, release: context.AfterFunc(ctx, cancel), done: make(chan struct{})}
	b.tasks.Go(func() {
		defer close(one.done)
		defer cancel()
		one.err = guarded(own, load)
		if one.err != nil && b.ctx.Err() != nil {
			one.err = fault.Stopping
		}
	})
	return one, nil
}

// guarded makes an error of a panic: one build's fault must not end the others.
func guarded(ctx context.Context, load func(context.Context) error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	return load(ctx)
}

// detach makes a build pending: its request does not end it any more. The error is
// RATE_LIMITED where too many are, or that the caller has gone.
func (b *builds) detach(ctx context.Context, id faas.SessionID, one *build) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) >= maxBuilds {
		return fault.Busy("too many functions are being built")
	}
	if !one.release() {
		return fault.GoneAway(ctx)
	}
	b.pending[id] = one
	return nil
}

// follow calls settled when a pending build has ended, and then forgets it. A host that ends
// leaves it to the next one.
func (b *builds) follow(id faas.SessionID, one *build, settled func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.settle(id, one, settled)
	}
}

// settle is follow with the lock held.
func (b *builds) settle(id faas.SessionID, one *build, settled func(error)) {
	b.tasks.Go(func() {
		defer b.forget(id)
		<-one.done
		one.release()
		settled(one.err)
	})
}

// join finds the pending build of a session. Where there is none, since its host has ended
// or did not get to say how it went, it begins one.
func (b *builds) join(id faas.SessionID, load func(context.Context) error, settled func(error)) (*build, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one := b.pending[id]; one != nil {
		return one, nil
	}
	if len(b.pending) >= maxBuilds {
		return nil, fault.Busy("too many functions are being built")
	}
	one, err := b.start(b.ctx, load)
	if err != nil {
		return nil, err
	}
	b.pending[id] = one
	b.settle(id, one, settled)
	return one, nil
}

func (b *builds) forget(id faas.SessionID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pending, id)
}

// count is how many are pending.
func (b *builds) count() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return float64(len(b.pending))
}

// end ends all builds and waits for them.
func (b *builds) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	b.stop()
	b.tasks.Wait()
}

// wait waits for a build until the time comes, and then says that it is late. A zero time
// never comes.
func (b *build) wait(ctx context.Context, until time.Time) (late bool, err error) {
	var timeout <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-b.done:
		return false, b.err
	case <-timeout:
		return true, nil
	case <-ctx.Done():
		return false, fault.GoneAway(ctx)
	}
}
