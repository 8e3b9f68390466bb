package pool

import (
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// A worker whose code runs one call at a time is sent one at a time, as a rule: whatever
// waits for it may go to another worker, or be answered at its deadline. But a round trip
// per call costs several times as much as a short call itself, in switches between
// processes. So while calls are short, some are sent ahead.
//
// Such a worker begins a call only when it has written the answer before. Of the calls
// that a worker leaves unanswered when it ends, the oldest may have begun; the others
// have not, if all that it wrote was read. They go to another worker.
const (
	maxAhead  = 16               // turns of a serial worker, at most
	shortCall = time.Millisecond // longer ones are not queued behind
	paceEvery = 4                // short calls in a row that earn one more turn
)

// pipe is how a worker takes its calls.
type pipe struct {
	serial   bool // one at a time, in the order that they were sent in
	short    int  // calls in a row that were
	answered time.Time
}

// open lets a worker that has loaded its code take calls.
func (w *worker) open(serial bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pipe.serial = serial
	w.turns.Store(int32(w.pool.opt.Concurrency))
	if serial {
		w.turns.Store(1)
	}
}

// began is when the worker began a call that has just been answered.
func (w *worker) began(c *call) time.Time {
	if w.pipe.serial && w.pipe.answered.After(c.sent) {
		return w.pipe.answered
	}
	return c.sent
}

// pace opens a serial worker's pipe by and by while its calls are short, and closes it
// at the first that is not.
func (w *worker) pace(took time.Duration, now time.Time) {
	if !w.pipe.serial {
		return
	}
	w.pipe.answered = now
	if took > shortCall {
		w.pipe.short = 0
	} else if w.pipe.short < maxAhead*paceEvery {
		w.pipe.short++
	}
	w.turns.Store(int32(max(1, min(maxAhead, w.pipe.short/paceEvery))))
}

// stopReading ends the reader of a worker that is being killed: at once, or where calls
// were sent ahead, when it has read what the process wrote before it died.
func (w *worker) stopReading() {
	if w.pipe.serial && len(w.calls) > 1 {
		_ = w.conn.SetDeadline(time.Now().Add(drainTimeout))
		return
	}
	_ = w.conn.Close()
}

// hasEnded tells whether a reader's error means that the worker can write no more, and
// that all it wrote was read. The reset is of a worker that had not read all of ours.
func hasEnded(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET)
}

// oldest is the call that was sent before all others that are under way.
func (w *worker) oldest() *call {
	var oldest *call
	for _, c := range w.calls {
		// Numbers wrap around: what counts is how far they are from the newest.
		if oldest == nil || w.last-c.id > w.last-oldest.id {
			oldest = c
		}
	}
	return oldest
}
