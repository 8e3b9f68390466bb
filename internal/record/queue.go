// Package record is how what hosts and controls know of requests, beside Envoy's access log,
// comes to the store: why they failed and, where an operator wants it, what they held.
package record

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"envoke/internal/faas"
)

// Bounds of a queue and of a batch, as Envoke's own processes send and take them.
const (
	MaxQueued      = 10_000
	MaxQueuedBytes = 16 << 20
	MaxBatch       = 500
	MaxBatchBytes  = 2 << 20
)

const (
	sendEvery   = 50 * time.Millisecond
	sendTimeout = 5 * time.Second
	retryFirst  = 100 * time.Millisecond
	retryMost   = 2 * time.Second
	drainTime   = 2 * time.Second
)

// Options make a Queue. Send, Logger and Registerer are required.
type Options struct {
	Name string // of the part whose records they are, for metrics
	// Send stores records. What fails is sent again, unless it can never be stored:
	// a *faas.Error that is no UNAVAILABLE.
	Send       func(context.Context, faas.Records) error
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Queue holds records until they are sent. What has no room is dropped and counted: no request
// waits for its record.
type Queue struct {
	Options
	dropped *prometheus.CounterVec
	sent    *prometheus.CounterVec
	wake    chan struct{} // there is something to send
	failed  int           // attempts in a row; of Serve alone

	mu      sync.Mutex // guards what follows
	waiting faas.Records
	bytes   int
}

// New makes a queue. Of those that share a Registerer each has another name.
func New(o Options) *Queue {
	with := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"part": o.Name}, o.Registerer))
	q := &Queue{
		Options: o,
		wake:    make(chan struct{}, 1),
		dropped: with.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_records_dropped_total",
			Help: "Records of failed requests (failure), of payloads (exchange) and of metrics (sample) that were dropped: there was no room for them while the store was away, or it refused them.",
		}, []string{"kind"}),
		sent: with.NewCounterVec(prometheus.CounterOpts{
			Name: "envoke_records_sent_total",
			Help: "Records of failed requests (failure), of payloads (exchange) and of metrics (sample) that are stored.",
		}, []string{"kind"}),
	}
	count(q.dropped, &faas.Records{})
	count(q.sent, &faas.Records{})
	return q
}

func count(c *prometheus.CounterVec, r *faas.Records) {
	c.WithLabelValues("failure").Add(float64(len(r.Failures)))
	c.WithLabelValues("exchange").Add(float64(len(r.Exchanges)))
	c.WithLabelValues("sample").Add(float64(len(r.Samples) + len(r.Caches)))
}

// Failed takes why a request failed.
func (q *Queue) Failed(f faas.Failure) { q.Add(faas.Records{Failures: []faas.Failure{f}}) }

// Exchanged takes what a request and its answer held.
func (q *Queue) Exchanged(e faas.Exchange) { q.Add(faas.Records{Exchanges: []faas.Exchange{e}}) }

// Add takes records, all of them or none.
func (q *Queue) Add(r faas.Records) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := sizeOf(&r)
	if q.waiting.Len()+r.Len() > MaxQueued || q.bytes+size > MaxQueuedBytes {
		count(q.dropped, &r)
		return
	}
	q.waiting, q.bytes = join(q.waiting, r), q.bytes+size
	q.signal()
}

func join(a, b faas.Records) faas.Records {
	return faas.Records{
		Failures: append(a.Failures, b.Failures...), Exchanges: append(a.Exchanges, b.Exchanges...),
		Samples: append(a.Samples, b.Samples...), Caches: append(a.Caches, b.Caches...),
	}
}

// overhead is what a record takes beside its texts, about.
const overhead = 200

func sizeOf(r *faas.Records) int {
	size := 0
	for i := range r.Failures {
		size += sizeOfFailure(&r.Failures[i])
	}
	for i := range r.Exchanges {
		size += sizeOfExchange(&r.Exchanges[i])
	}
	return size + overhead*(len(r.Samples)+len(r.Caches))
}

func sizeOfFailure(f *faas.Failure) int {
	return overhead + len(f.RequestID) + len(f.LanguageTitle) + len(f.Message) + len(f.StackTrace) + len(f.Details)
}

func sizeOfExchange(e *faas.Exchange) int {
	return overhead + len(e.RequestID) + len(e.Headers) + len(e.Request) + len(e.Response) + len(e.Metrics)
}

// Serve sends records until ctx ends, and what there is then for two seconds more.
func (q *Queue) Serve(ctx context.Context) error {
	wait := sendEvery
	for {
		select {
		case <-ctx.Done():
		case <-q.wake:
		}
		if !pause(ctx, wait) { // others come along meanwhile, or what is away comes back
			q.end(ctx)
			return nil
		}
		wait = q.next(ctx, q.sendAll(ctx))
	}
}

// next is how long to wait after an attempt.
func (q *Queue) next(ctx context.Context, err error) time.Duration {
	if err == nil || ctx.Err() != nil {
		q.failed = 0
		return sendEvery
	}
	if q.failed == 0 {
		q.Logger.WarnContext(ctx, "cannot store records of requests; they wait", "part", q.Name, "error", err)
	}
	wait := min(retryFirst<<q.failed, retryMost)
	q.failed = min(q.failed+1, 10)
	q.signal()
	return wait
}

// end sends what is left.
func (q *Queue) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	_ = q.sendAll(ctx) // what could not be sent is counted
	q.dropAll()
}

// signal wakes Serve.
func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // it is awake
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// sendAll sends batches until there are none, or one fails that can be sent again.
func (q *Queue) sendAll(ctx context.Context) error {
	for {
		batch := q.take()
		if batch.Len() == 0 {
			return nil
		}
		err := q.send(ctx, batch)
		switch {
		case err == nil:
			count(q.sent, &batch)
		case faas.AsError(err).Code == faas.Unavailable || ctx.Err() != nil:
			q.giveBack(batch)
			return err
		default:
			q.Logger.WarnContext(ctx, "records of requests are refused, and dropped", "part", q.Name, "error", err)
			count(q.dropped, &batch)
		}
	}
}

func (q *Queue) send(ctx context.Context, batch faas.Records) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return q.Send(ctx, batch)
}

// take takes a batch off the queue, the oldest first.
func (q *Queue) take() (batch faas.Records) {
	q.mu.Lock()
	defer q.mu.Unlock()
	room, most := MaxBatch, MaxBatchBytes
	fits := func(size int) bool {
		if room == 0 || size > most {
			return false
		}
		room, most = room-1, most-size
		return true
	}
	w := &q.waiting
	batch.Failures, w.Failures = cut(w.Failures, func(f *faas.Failure) bool { return fits(sizeOfFailure(f)) })
	batch.Exchanges, w.Exchanges = cut(w.Exchanges, func(e *faas.Exchange) bool { return fits(sizeOfExchange(e)) })
	batch.Samples, w.Samples = cut(w.Samples, func(*faas.Sample) bool { return fits(overhead) })
	batch.Caches, w.Caches = cut(w.Caches, func(*faas.CacheSample) bool { return fits(overhead) })
	q.bytes -= sizeOf(&batch)
	return batch
}

// cut cuts those that fit off the front. What is left of nothing has no memory.
func cut[T any](all []T, fits func(*T) bool) (front, rest []T) {
	n := 0
	for n < len(all) && fits(&all[n]) {
		n++
	}
	if n == len(all) {
		return all, nil
	}
	return all[:n:n], all[n:]
}

// giveBack puts a batch that was not sent before all others. It may be more than there is room
// for, by one batch.
func (q *Queue) giveBack(batch faas.Records) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes += sizeOf(&batch)
	q.waiting = join(batch, q.waiting)
}

func (q *Queue) dropAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	count(q.dropped, &q.waiting)
	q.waiting, q.bytes = faas.Records{}, 0
}
