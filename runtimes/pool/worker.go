package pool

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"envoke/internal/rawio"
	"envoke/runtimes/frame"
	"envoke/runtimes/sandbox"
)

const (
	maxReport   = 1 << 20   // bytes of a frame that is no result
	readBuffer  = 16 << 10  // bytes
	maxKept     = 256 << 10 // bytes of a write buffer that is kept for the next calls
	exitGrace   = 100 * time.Millisecond
	memoryEvery = 100 * time.Millisecond // between two samples of a worker's memory
)

// worker is a process and the host's end of its socketpair. The goroutine of runWorker
// owns it: only that reads frames, reaps the process and closes descriptors for good.
type worker struct {
	pool    *Pool
	process *sandbox.Process
	conn    *os.File      // frames
	stream  *rawio.Stream // of conn
	log     logReader
	kind    *kind
	// strip takes back what its kind has, when it has ended; packages is the folder of them.
	strip    func()
	packages string

	// Guarded by the pool's mutex.
	home     *slot     // where it belongs; nil while generic
	loaded   bool      // one of its home's workers
	active   int       // calls that have a turn
	uses     int       // turns ever
	since    time.Time // it has its code
	lastUsed time.Time
	removed  bool // gets no more calls

	mu       sync.Mutex // guards what follows
	calls    map[uint32]*call
	last     uint32 // number of the newest call
	out      []byte // frames to write
	spare    []byte // the buffer that the next out takes
	flushing bool
	ended    bool       // takes no more calls
	killed   killReason // empty: it was not
	culprit  uint32     // number of the call whose deadline it was killed for; 0: none
	reaped   bool

	pipe  pipe  // guarded by mu
	alarm alarm // guarded by mu; runs expire

	turns     atomic.Int32           // calls that it takes at once
	belongs   atomic.Pointer[key]    // nil while generic
	memory    atomic.Int64           // bytes, -1: unknown
	sampledAt atomic.Int64           // Unix time in nanoseconds
	excess    atomic.Pointer[excess] // what it was ended for; nil: nothing
	headless  atomic.Bool            // its first thread had ended when it was last looked at
}

// read hands answers to the calls that wait for them, until the frames end or the
// worker breaks the protocol.
func (w *worker) read(frames *bufio.Reader) error {
	var unattributed budget
	limit := max(w.pool.opt.MaxResult, maxReport)
	for {
		f, err := frame.Read(frames, limit)
		switch {
		case err != nil:
			return readError(err)
		case f.Type == frame.Log:
			err = w.logFrame(f, &unattributed)
		case f.Type == frame.Stream:
			err = w.startStream(f)
		case f.Type == frame.Part:
			err = w.part(f)
		case f.Type == frame.Context:
			err = w.keepContext(f)
		default:
			err = w.answer(f)
		}
		if err != nil {
			return err
		}
	}
}

// answer ends the call that a frame answers.
func (w *worker) answer(f frame.Frame) error {
	now := time.Now()
	w.mu.Lock()
	c := w.calls[f.Call]
	if c == nil || !c.takes(f.Type) {
		w.mu.Unlock()
		return fmt.Errorf("%w: a frame of type %d that answers no question", errProtocol, f.Type)
	}
	if f.Type == frame.Result && len(f.Payload) > w.pool.opt.MaxResult {
		w.mu.Unlock()
		return fmt.Errorf("%w: a result of %d bytes", errProtocol, len(f.Payload))
	}
	if c.retain && f.Type == frame.Result && c.context == nil {
		w.mu.Unlock()
		return fmt.Errorf("%w: a result without its context", errProtocol)
	}
	delete(w.calls, f.Call)
	if c.stream != nil {
		w.pace(now.Sub(c.answer.began), now)
		w.mu.Unlock()
		w.endStream(c, streamEnd{Frame: f, context: c.context, at: now})
		return nil
	}
	c.answer = answer{Frame: f, began: w.began(c), ended: now, context: c.context}
	w.pace(now.Sub(c.answer.began), now)
	abandoned := c.abandoned
	w.mu.Unlock()
	w.finish(c, abandoned)
	return nil
}

// keepContext takes a Context frame, which comes before the call's answer.
func (w *worker) keepContext(f frame.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	size := len(f.Payload)
	c := w.calls[f.Call]
	switch {
	case c == nil || !c.retain || c.context != nil:
		return fmt.Errorf("%w: a context that nobody asked for", errProtocol)
	case size < len(jsonEmpty) || size > MaxContext || f.Payload[0] != '{' || f.Payload[size-1] != '}':
		return fmt.Errorf("%w: a context of %d bytes that is no object, or too large a one", errProtocol, size)
	}
	c.context = f.Payload
	return nil
}

// finish wakes the caller of a call that is over. Where the caller has gone, the call
// held its turn until now.
func (w *worker) finish(c *call, abandoned bool) {
	if !abandoned {
		c.done <- struct{}{}
		return
	}
	w.pool.release(w, c.answer.ended, c.answer.ended.Sub(c.answer.began))
}

// send begins a call: it numbers it, minds its deadline and writes its question. It is
// false, with nothing done, if the worker takes no more calls.
//
// Of callers that come together, the first writes what all of them have appended.
func (w *worker) send(c *call, payload [][]byte) bool {
	size := 0
	for _, part := range payload {
		size += len(part)
	}
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return false
	}
	w.register(c)
	w.out = slices.Grow(w.out, frame.HeaderSize+size)
	w.out = frame.AppendHeader(w.out, c.kind, c.id, size)
	for _, part := range payload {
		w.out = append(w.out, part...)
	}
	w.flush()
	w.mu.Unlock()
	return true
}

// flush writes what was appended, unless somebody does already.
func (w *worker) flush() {
	if w.flushing {
		return
	}
	w.write()
	if w.flushing = len(w.out) > 0; w.flushing {
		w.pool.tasks.Go(w.writeRest) // no caller works for the others for long
	}
}

func (w *worker) register(c *call) {
	w.last++
	for w.last == 0 || w.calls[w.last] != nil {
		w.last++
	}
	c.id = w.last
	w.calls[c.id] = c
	w.ringBy(c.deadline)
}

func (w *worker) writeRest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.out) > 0 {
		w.write()
	}
	w.flushing = false
}

// write writes what was appended so far, with the lock held but for the write itself.
// A write that blocks ends with the worker, which some deadline brings.
func (w *worker) write() {
	batch := w.out
	w.out, w.spare, w.flushing = w.spare[:0], nil, true
	w.mu.Unlock()
	_, err := w.stream.Write(batch) // if this fails, the reader's end comes too
	w.mu.Lock()
	if cap(batch) <= maxKept {
		w.spare = batch
	}
	if err != nil {
		w.out = nil
	}
}

// hasUnread tells whether the worker has left something unread of what it was sent: its
// process is stopped or gets no CPU time, since a worker reads whatever else it does
// not, until it runs a function's code.
func (w *worker) hasUnread() (unread bool) {
	raw, err := w.conn.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { // fails for a worker that has just ended
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) // SIOCOUTQ: bytes that the peer has not read
		unread = err == nil && n > 0
	})
	return unread
}

// abandon makes a call one that nobody waits for: its late answer is dropped, its
// deadline stays. It is false if the call is over already.
func (w *worker) abandon(c *call) bool {
	w.mu.Lock()
	if w.calls[c.id] != c {
		w.mu.Unlock()
		return false
	}
	c.abandoned = true
	streaming := c.stream != nil
	w.mu.Unlock()
	if streaming {
		w.cancel(c)
	}
	return true
}

// kill ends the process, and all that it started, and makes its reader end: that does
// the rest. The first reason stands.
func (w *worker) kill(reason killReason) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reaped {
		return
	}
	w.ended = true
	if w.killed == "" {
		w.killed = reason
		w.pool.metrics.kills.WithLabelValues(string(reason)).Inc()
		w.stopReading()
	}
	_ = w.process.Kill()
}

// end ends a worker whose frames have ended with the given error, and its calls.
func (w *worker) end(err error) {
	w.mu.Lock()
	w.ended = true
	killed := w.killed
	w.mu.Unlock()
	drained := hasEnded(err)
	if killed != "" { // the callers need not wait for the process
		w.failCalls(ending{drained: drained})
		w.reap()
		return
	}
	var how string
	if errors.Is(err, errProtocol) {
		w.kill(killProtocol)
		w.reap()
		how = err.Error()
	} else {
		how = w.reap()
	}
	end := ending{how: how, drained: drained, outOfMemory: ranOutOfMemory(w.log.tail) || w.process.OutOfMemory() || w.crashedFull(how)}
	w.failCalls(end)
	k := w.belongsTo()
	w.pool.opt.Logger.Warn("a worker ended by itself", "language", w.pool.opt.Language,
		"owner", k.owner, "digest", k.digest, "reason", how, "stderr", string(w.log.tail))
}

// failCalls ends every call that is under way.
func (w *worker) failCalls(end ending) {
	w.mu.Lock()
	running := w.oldest()
	calls := w.calls
	w.calls = nil
	w.alarm.stop()
	end.reason, end.memoryMB = w.killed, w.belongsTo().memoryMB
	if end.reason == killExceeded {
		end.excess = w.excess.Load()
	}
	now := time.Now()
	failed := make([]*call, 0, len(calls))
	abandoned := make([]*call, 0)
	var streams []func()
	for _, c := range calls {
		own := end
		own.unread = c.unread
		own.late = c.id == w.culprit || end.reason == killDeadline && !now.Before(c.deadline)
		if c.stream != nil {
			streams = append(streams, func() { w.endStream(c, streamEnd{err: &own, at: now}) })
			continue
		}
		c.err, c.answer = &own, answer{began: w.began(c), ended: now}
		if w.pipe.serial && end.drained && c != running && !own.late {
			c.err, c.answer.began = errGone, now
		}
		if c.abandoned {
			abandoned = append(abandoned, c)
		} else {
			failed = append(failed, c)
		}
	}
	w.mu.Unlock()
	for _, c := range failed {
		w.finish(c, false)
	}
	for _, c := range abandoned {
		w.finish(c, true)
	}
	for _, end := range streams {
		end()
	}
}

// reap waits for the process, kills what is left of its group and says how it ended.
// A process that lives on without its frames is given a moment to end by itself.
func (w *worker) reap() string {
	grace := time.AfterFunc(exitGrace, func() { w.kill(killClosed) })
	w.process.Exited()
	grace.Stop()
	w.mu.Lock()
	_ = w.process.Kill() // what it has left
	w.reaped = true
	killed := w.killed
	w.mu.Unlock()
	state, err := w.process.Wait()
	if err != nil {
		w.pool.opt.Logger.Error("a scratch folder is lost", "language", w.pool.opt.Language, "error", err)
	}
	_ = w.conn.Close()
	w.log.finish()
	if killed == killClosed {
		return "it closed its frame descriptor"
	}
	return describe(state)
}
