package endpoints

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"envoke/internal/faas"
)

const (
	// proofTimeout bounds what a host may take to show who it is, proofs how many do so at
	// once, and proofPause is when one is asked again.
	proofTimeout = 2 * time.Second
	proofs       = 64
	proofPause   = time.Second
	// failures are as many proofs as fail in a row of a host that is gone: one may do so on a
	// machine that is busy, and while Redis takes nothing the host could not come back.
	failures = 2
)

// ErrNotReady is what Prove tells of a host that is who it should be, and waits for something.
// It does not come into use, and stays there: it may yet run what needs nobody else.
var ErrNotReady = errors.New("it is not ready")

type proof struct {
	host faas.Host
	err  error
}

// ask has those show who they are that have not, and those in use that the directory does not
// have. It waits for none.
func (f *Follower) ask(ctx context.Context, now time.Time) {
	for _, known := range f.hosts {
		if f.asking >= proofs {
			return
		}
		lost := !known.missing.IsZero()
		if known.asked || known.host.Leaving || known.inUse != lost || now.Before(known.next) {
			continue
		}
		known.asked, known.next = true, now.Add(proofPause)
		f.asking++
		host := known.host
		f.running.Go(func() {
			limited, cancel := context.WithTimeout(ctx, proofTimeout)
			defer cancel()
			select {
			case f.proven <- proof{host, f.Prove(limited, host)}:
			case <-ctx.Done():
			}
		})
	}
}

// take notes what came of a proof.
func (f *Follower) take(p proof) {
	f.asking--
	known := f.hosts[identity(p.host)]
	if known == nil {
		return // it was forgotten meanwhile
	}
	known.asked = false
	switch {
	case p.err == nil:
		known.inUse, known.failed = true, 0
		return
	case known.inUse && errors.Is(p.err, ErrNotReady):
		known.failed = 0
		return
	case known.inUse:
		if !known.missing.IsZero() {
			known.failed++
		}
		return
	}
	f.metrics.refused.Inc()
	level := slog.LevelDebug
	if !known.refused {
		level = slog.LevelWarn
	}
	known.refused, known.next = true, time.Now().Add(proofPause)
	f.Logger.Log(context.Background(), level, "a host that says it is there did not show who it is",
		"host", p.host.Name, "address", p.host.Address, "language", string(p.host.Language), "error", p.err)
}
