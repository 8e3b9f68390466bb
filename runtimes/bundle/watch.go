package bundle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
)

const (
	// silence is how long control may be quiet before what is held is no longer
	// trusted. Control sends a sign of life every 200 ms.
	silence    = 800 * time.Millisecond
	minBackoff = 50 * time.Millisecond
	maxBackoff = 500 * time.Millisecond
)

// trust says for how long what control vouched for may be served unasked: while
// the watch on which every revocation since would have come is alive.
type trust struct {
	started    time.Time
	generation atomic.Uint64 // counts the watches
	heard      atomic.Int64  // when control was last heard, since started
	restUntil  atomic.Int64  // when control may be asked again, since started
}

func (t *trust) start() {
	t.started = time.Now()
	t.heard.Store(-int64(silence))
}

// covers tells whether a session vouched for in the given generation needs no
// question.
func (t *trust) covers(generation uint64, now time.Time) bool {
	return generation == t.generation.Load() && t.alive(now)
}

func (t *trust) alive(now time.Time) bool {
	return now.Sub(t.started)-time.Duration(t.heard.Load()) < silence
}

func (t *trust) hear(now time.Time) { t.heard.Store(int64(now.Sub(t.started))) }

func (t *trust) rest(now time.Time) { t.restUntil.Store(int64(now.Sub(t.started) + respite)) }

func (t *trust) resting(now time.Time) bool {
	return int64(now.Sub(t.started)) < t.restUntil.Load()
}

// Serve watches control until ctx ends, and connects again as often as needed.
func (b *Bundles) Serve(ctx context.Context) error {
	backoff := minBackoff
	for {
		generation := b.trust.generation.Load()
		err := b.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if b.trust.generation.Load() != generation { // it was connected
			backoff = minBackoff
			b.logger.WarnContext(ctx, "lost control; connecting again", "error", err)
		} else {
			b.logger.DebugContext(ctx, "connect to control", "error", err)
			if errors.Is(err, errSilent) && b.anew != nil { // twice: it was not just busy
				b.anew()
			}
		}
		if !pause(ctx, backoff/2+rand.N(backoff/2)) { //nolint:gosec // jitter is no secret
			return nil
		}
		backoff = min(2*backoff, maxBackoff)
		b.conn.ResetConnectBackoff() // ours is meant, not gRPC's of a second and more
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var errSilent = errors.New("control was silent for too long")

// watch is one connection. It ends when control goes away or falls silent.
func (b *Bundles) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	stream, err := b.control.Watch(ctx, largeMessages...)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	hello := &controlpb.WatchRequest{Host: b.host, Language: string(b.language)}
	if err := stream.Send(hello); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	err = b.follow(stream, watchdog)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return err
}

// follow applies what control says, acknowledges it, and feeds the watchdog.
func (b *Bundles) follow(stream grpc.BidiStreamingClient[controlpb.WatchRequest, controlpb.WatchResponse], watchdog *time.Timer) error {
	first, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if len(first.GetSessionKey()) == 0 {
		return errors.New("watch: control did not say its key")
	}
	// Whatever is held may have been revoked between two watches, so a new one
	// begins a new generation even under the same epoch. The key comes last: with it
	// the host is ready, and what it finds from then on is of this generation.
	b.trust.generation.Add(1)
	b.apply(first)
	b.setKey(first.GetSessionKey())
	b.logger.Info("watching control", "epoch", first.GetEpoch(), "revision", first.GetRevision())
	for message, acked := first, first.GetRevision(); ; {
		watchdog.Reset(silence)
		if message.GetRevision() > acked {
			acked = message.GetRevision()
			if err := stream.Send(&controlpb.WatchRequest{AckedRevision: acked}); err != nil {
				return fmt.Errorf("watch: %w", err)
			}
		}
		if message, err = stream.Recv(); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		b.apply(message)
	}
}

// apply forgets what a message says is old.
func (b *Bundles) apply(message *controlpb.WatchResponse) {
	for _, id := range message.GetRevokedSessions() {
		b.sessions.Drop(faas.SessionID(id))
		b.metrics.revoked.Inc()
	}
	for _, name := range message.GetChangedFunctions() {
		b.forget(name)
	}
	if message.GetChangedSecrets() {
		b.secretChanges.Add(1)
		b.functions.Unshare() // the old values may be on their way
		b.sessions.Unshare()
		b.metrics.changedSecrets.Inc()
	}
	b.trust.hear(time.Now())
}
