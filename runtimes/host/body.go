package host

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"golang.org/x/sync/semaphore"

	"envoke/internal/faas"
)

// buffer is a pooled byte slice. Large ones are not kept.
type buffer struct {
	bytes []byte
	held  int64   // bytes of the budget
	owner *bodies // where held is given back
}

const (
	bufferSize = 4 << 10
	keepBuffer = 256 << 10

	// largeBodies bounds the bytes of large bodies that are held at once. What is
	// made of them takes some five times that: the copy for the worker, what is
	// read of its answer, the reply.
	largeBodies = 64 << 20
	// bodyWait is how long a large body waits for its place in that.
	bodyWait = 5 * time.Second
	// bodyTimeout is how long a large body may take to come.
	bodyTimeout = 30 * time.Second
)

var buffers = sync.Pool{New: func() any { return &buffer{bytes: make([]byte, 0, bufferSize)} }}

func (b *buffer) release() {
	b.holdOnly(0)
	if cap(b.bytes) <= keepBuffer {
		b.bytes = b.bytes[:0]
		buffers.Put(b)
	}
}

// holdOnly gives back what is held of the budget over n bytes.
func (b *buffer) holdOnly(n int64) {
	if b.held > n {
		b.owner.budget.Release(b.held - n)
		b.held = n
	}
}

// bodies bounds what large bodies take of memory. Small ones are bounded by the
// number of Envoy's connections.
type bodies struct {
	budget  *semaphore.Weighted
	refused prometheus.Counter
}

func newBodies(registerer prometheus.Registerer, language faas.Language) bodies {
	refused := prometheus.NewCounter(prometheus.CounterOpts{
		Name:        "envoke_host_refused_bodies_total",
		Help:        "Large request bodies that found no room in memory in time and were answered 429.",
		ConstLabels: prometheus.Labels{"language": string(language)},
	})
	registerer.MustRegister(refused)
	return bodies{budget: semaphore.NewWeighted(largeBodies), refused: refused}
}

// hold takes n bytes of the budget for the buffer.
func (b *bodies) hold(ctx context.Context, buffer *buffer, n int64) error {
	n = min(n, largeBodies)
	ctx, cancel := context.WithTimeout(ctx, bodyWait)
	defer cancel()
	if b.budget.Acquire(ctx, n) != nil {
		b.refused.Inc()
		return &faas.Error{
			Code: faas.RateLimited, Message: "too many large bodies are under way",
			Details: map[string]any{"retry_after_seconds": 1},
		}
	}
	buffer.held, buffer.owner = n, b
	return nil
}

// readBody reads the request's body into a pooled buffer. More than limit bytes are
// 413, before they are read where the length is announced.
func (h *Host) readBody(ctx context.Context, c *fasthttp.RequestCtx, limit int) (*buffer, error) {
	announced := c.Request.Header.ContentLength() // negative: unknown
	if announced > limit {
		return nil, tooLarge("the request's body", limit)
	}
	b, stream := buffers.Get().(*buffer), c.RequestBodyStream()
	if stream == nil {
		return b, nil // there is no body
	}
	var err error
	if announced < 0 || announced > keepBuffer {
		err = h.expectLarge(ctx, c, b, limit)
	}
	if err == nil {
		err = b.fill(stream, announced, limit)
	}
	if err != nil {
		b.release()
		return nil, err
	}
	b.holdOnly(int64(len(b.bytes)))
	return b, nil
}

// fill reads the stream to its end. The buffer grows with what comes, not with what
// is announced.
func (b *buffer) fill(stream io.Reader, announced, limit int) error {
	b.bytes = slices.Grow(b.bytes, min(max(announced, 0)+1, keepBuffer)) // room to see the end
	for {
		if len(b.bytes) == cap(b.bytes) {
			b.bytes = slices.Grow(b.bytes, len(b.bytes)) // twice as large
		}
		n, err := stream.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		switch {
		case len(b.bytes) > limit:
			return tooLarge("the request's body", limit)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return unreadable(err)
		}
	}
}

// expectLarge makes room for a body that is large, or may be.
func (h *Host) expectLarge(ctx context.Context, c *fasthttp.RequestCtx, b *buffer, limit int) error {
	n := c.Request.Header.ContentLength()
	if n < 0 {
		n = limit
	}
	if err := h.bodies.hold(ctx, b, int64(n)); err != nil {
		return err
	}
	return c.SetReadDeadline(time.Now().Add(bodyTimeout))
}

func unreadable(err error) error {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &faas.Error{
			Code: faas.Timeout, Status: http.StatusRequestTimeout,
			Message: "the request's body did not come in time", Err: err,
		}
	}
	return &faas.Error{Code: faas.InvalidRequest, Message: "the request's body could not be read", Err: err}
}
