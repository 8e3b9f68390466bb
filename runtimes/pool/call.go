package pool

import (
	"context"
	"errors"
	"sync"
	"time"

	"envoke/runtimes/frame"
)

// question is what a call asks of a worker.
type question struct {
	kind      frame.Type
	requestID string
	sent      time.Time
	deadline  time.Time     // when the worker is killed for it
	timeout   time.Duration // what a stream has from one part to the next
	retain    bool          // the context comes before the result
}

// answer is what came back. Without a frame, its times are those of a call that ended
// otherwise.
type answer struct {
	frame.Frame
	began time.Time // when its turn in the worker came: as a rule when it was sent
	ended time.Time

	stream  *Stream // nil: the frame is all of it
	context []byte  // that the function left, of a call that retains it
}

// call is a question under way. Calls are reused: a caller that is done with one puts
// it back.
type call struct {
	question
	done chan struct{} // of capacity 1
	id   uint32

	// Set before done.
	answer answer
	err    error

	logged int // bytes; the reader's
	// Guarded by the worker's mutex.
	abandoned bool
	unread    bool // at its deadline, the worker had not read all that it was sent
	cancelled bool // the worker was told, or will be, that nobody wants the rest
	stream    *Stream
	context   []byte // that the function left
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

// errGone says that a worker ended before it took the call, so that none of it was run.
var errGone = errors.New("the worker takes no more calls")

// errAbandoned says that the caller has gone away; the call keeps its turn.
var errAbandoned = errors.New("the caller has gone away")

// ask sends a question and waits for its answer. The error is errGone, errAbandoned or
// an *ending.
func (w *worker) ask(ctx context.Context, q question, payload ...[]byte) (answer, error) {
	c := calls.Get().(*call)
	c.question = q
	if !w.send(c, payload) {
		calls.Put(c)
		return answer{began: q.sent, ended: q.sent}, errGone
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if w.abandon(c) {
			return answer{}, errAbandoned
		}
		<-c.done
	}
	a, err := c.answer, c.err
	if c.stream != nil { // the call goes on
		a.stream = c.stream
		return a, nil
	}
	*c = call{done: c.done}
	calls.Put(c)
	return a, err
}

// takes tells whether a frame of this type answers the question.
func (c *call) takes(t frame.Type) bool {
	if c.kind == frame.Invoke {
		return t == frame.Result || t == frame.Failed
	}
	return t == frame.Loaded || t == frame.Failed
}
