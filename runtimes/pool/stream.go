package pool

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"envoke/runtimes/fault"
	"envoke/runtimes/frame"
)

// maxStreamHead bounds what a function may say beside the parts of a stream, in bytes.
const maxStreamHead = 64 << 10

// Part is one item that a function has made.
type Part struct {
	Kind frame.PartKind
	Data []byte // JSON, or the bytes as they are
}

// Stream is a result that comes in parts. Its call has its turn in the worker until the
// function has ended. One goroutine at a time may use it, and must close it.
type Stream struct {
	// Head is JSON: null, or an object of what goes with the parts (statusCode, headers).
	Head []byte
	// AfterClose is called by the first Close. It may be nil.
	AfterClose func()

	worker  *worker
	call    *call
	timeout time.Duration // from one part to the next
	ends    time.Time     // when it is cut off

	mu     sync.Mutex // guards what follows
	parts  []Part
	waits  int           // bytes that the function has sent and nobody has taken
	ended  *streamEnd    // nil: it has not
	change chan struct{} // of capacity 1: there is something new
}

// streamEnd is how a stream ended: by the worker's last frame, or with its worker.
type streamEnd struct {
	frame.Frame
	err     error
	context []byte // that the function left
	took    time.Duration
	at      time.Time
}

// Next waits for parts and returns all that have come. The error is io.EOF at the end of
// the stream, or one of Invoke's; TIMEOUT also where the stream lasted for too long.
func (s *Stream) Next(ctx context.Context) ([]Part, error) {
	for {
		parts, end := s.take()
		if len(parts) > 0 {
			return parts, nil
		}
		if end != nil {
			return nil, s.outcome(end)
		}
		if err := s.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// take empties the stream of what has come, and tells its worker.
func (s *Stream) take() ([]Part, *streamEnd) {
	s.mu.Lock()
	parts, taken, end := s.parts, s.waits, s.ended
	s.parts, s.waits = nil, 0
	s.mu.Unlock()
	if taken > 0 && end == nil {
		s.worker.more(s.call, taken)
	}
	return parts, end
}

func (s *Stream) wait(ctx context.Context) error {
	left := time.NewTimer(time.Until(s.ends))
	defer left.Stop()
	select {
	case <-s.change:
		return nil
	case <-left.C:
		return fault.StreamTimeout(s.worker.pool.opt.StreamTimeout)
	case <-ctx.Done():
		return fault.GoneAway(ctx)
	}
}

// outcome is the end of a stream for its reader.
func (s *Stream) outcome(end *streamEnd) error {
	switch p := s.worker.pool; {
	case end.err != nil:
		return p.invokeEnded(end.err, s.timeout)
	case end.Type == frame.Failed:
		return p.invokeFailed(s.worker, end.Payload)
	}
	return io.EOF
}

// Measures are what is known of the call when the stream has ended.
func (s *Stream) Measures() Result {
	s.mu.Lock()
	end := s.ended
	s.mu.Unlock()
	if end == nil {
		return Result{MemoryBytes: -1}
	}
	return Result{Context: end.context, Duration: end.took, MemoryBytes: s.worker.memoryBytes(end.at)}
}

// Close tells the function, if it has not ended, that nobody wants more.
func (s *Stream) Close() {
	s.worker.cancel(s.call)
	if after := s.AfterClose; after != nil {
		s.AfterClose = nil
		after()
	}
}

// collect reads a whole stream into one JSON value: the list of its parts, or the response
// with that list as its body.
func (s *Stream) collect(ctx context.Context, limit int) ([]byte, error) {
	defer s.Close()
	list := []byte{'['}
	for {
		parts, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return s.whole(append(list, ']')), nil
		}
		if err != nil {
			return nil, err
		}
		for _, part := range parts {
			if len(list) > 1 {
				list = append(list, ',')
			}
			if list = part.AppendJSON(list); len(list) >= limit {
				return nil, fault.Output(limit)
			}
		}
	}
}

func (s *Stream) whole(list []byte) []byte {
	if s.Head[0] != '{' {
		return list
	}
	return slices.Concat(s.Head[:len(s.Head)-1], []byte(`,"body":`), list, []byte("}"))
}

// AppendJSON appends the part as a JSON value: bytes are a string of base64.
func (p Part) AppendJSON(b []byte) []byte {
	if p.Kind == frame.JSONPart {
		return append(b, p.Data...)
	}
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), p.Data), '"')
}

// startStream takes a Stream frame: whoever asked gets the stream at once, and its parts as
// they come.
func (w *worker) startStream(f frame.Frame) error {
	now := time.Now()
	w.mu.Lock()
	c := w.calls[f.Call]
	if c == nil || c.kind != frame.Invoke || c.stream != nil || !isStreamHead(f.Payload) {
		w.mu.Unlock()
		return fmt.Errorf("%w: a stream that answers no question", errProtocol)
	}
	began := w.began(c)
	c.stream = &Stream{
		Head: f.Payload, worker: w, call: c, timeout: c.timeout,
		ends: now.Add(w.pool.opt.StreamTimeout), change: make(chan struct{}, 1),
	}
	c.answer, c.deadline = answer{Frame: f, began: began, ended: now}, now.Add(c.timeout)
	if w.pipe.serial { // what was sent ahead waits; nothing else is to
		w.pipe.short = 0
		w.turns.Store(1)
	}
	abandoned := c.abandoned
	w.mu.Unlock()
	w.pool.metrics.streams.Inc()
	if abandoned {
		w.cancel(c)
		return nil
	}
	c.done <- struct{}{}
	return nil
}

func isStreamHead(b []byte) bool {
	object := len(b) > 2 && len(b) <= maxStreamHead && b[0] == '{' && b[len(b)-1] == '}'
	return object || string(b) == "null"
}

// part takes a Part frame. The function has until its timeout for the next one, unless it
// is to wait for its reader first.
func (w *worker) part(f frame.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.calls[f.Call]
	switch {
	case c == nil || c.stream == nil:
		return fmt.Errorf("%w: a part of no stream", errProtocol)
	case len(f.Payload) == 0 || len(f.Payload)-1 > w.pool.opt.MaxResult:
		return fmt.Errorf("%w: a part of %d bytes", errProtocol, len(f.Payload))
	case c.cancelled:
		return nil
	}
	waits := c.stream.add(Part{Kind: frame.PartKind(f.Payload[0]), Data: f.Payload[1:]})
	switch {
	case waits > frame.StreamWindow+w.pool.opt.MaxResult+frame.PartCost:
		return fmt.Errorf("%w: parts that it was to keep", errProtocol)
	case waits >= frame.StreamWindow:
		c.deadline = c.stream.ends.Add(c.timeout)
	default:
		c.deadline = time.Now().Add(c.timeout)
	}
	return nil
}

func (s *Stream) add(p Part) (waits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts = append(s.parts, p)
	s.waits += len(p.Data) + frame.PartCost
	s.signal()
	return s.waits
}

// endStream ends a stream, and its call's turn.
func (w *worker) endStream(c *call, end streamEnd) {
	end.took = end.at.Sub(c.answer.began)
	w.pool.release(w, end.at, end.took)
	s := c.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = &end
	s.signal()
}

func (s *Stream) signal() {
	select {
	case s.change <- struct{}{}:
	default:
	}
}

// more tells the worker that bytes of its parts were taken.
func (w *worker) more(c *call, bytes int) {
	var digits [20]byte
	w.tell(c, frame.More, strconv.AppendInt(digits[:0], int64(bytes), 10))
}

// cancel tells the worker that nobody waits for the rest of a stream.
func (w *worker) cancel(c *call) {
	w.mu.Lock()
	wanted := !c.cancelled && w.calls[c.id] == c
	c.cancelled = true
	w.mu.Unlock()
	if wanted {
		w.pool.metrics.cancelled.Inc()
		w.tell(c, frame.Cancel, nil)
	}
}

// tell sends what needs no answer about a stream that is under way. The function has its
// timeout from now on.
func (w *worker) tell(c *call, kind frame.Type, payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.calls[c.id] != c {
		return
	}
	c.deadline = time.Now().Add(c.timeout)
	w.ringBy(c.deadline)
	w.out = append(frame.AppendHeader(w.out, kind, c.id, len(payload)), payload...)
	w.flush()
}

// stream makes the result of an invocation whose function returned a stream.
func (p *Pool) stream(ctx context.Context, s *Stream, inv Invocation, r *Result) error {
	if inv.Stream && !inv.Retain {
		r.Stream = s
		return nil
	}
	list, err := s.collect(ctx, p.opt.MaxResult)
	measures := s.Measures()
	r.JSON, r.Context, r.Duration, r.MemoryBytes = list, measures.Context, measures.Duration, measures.MemoryBytes
	return err
}
