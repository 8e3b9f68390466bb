package accesslog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"google.golang.org/grpc"

	"envoke/internal/faas"
)

const (
	// maxWaiting bounds the rows that wait for the store, of all Envoys together: 10 to 50 MB.
	maxWaiting = 50_000
	// streamInterval is how often they are stored, and retryMost the longest pause after a failure.
	streamInterval = 100 * time.Millisecond
	retryMost      = 2 * time.Second
)

// Receiver takes the access log of Envoys that cannot write our file, as they send it by gRPC
// (envoy.service.accesslog.v3.AccessLogService). Entries become rows, counts and metrics as
// lines of the file do, with one difference: Envoy sends each once and asks for no receipt, so
// what is sent while nobody listens, or has no room, is lost.
type Receiver struct {
	accesslogv3.UnimplementedAccessLogServiceServer

	store     Store
	countOnly bool
	most      int // rows that wait
	logger    *slog.Logger
	tell      func(rows []faas.RequestLog)
	metrics   metrics
	received  prometheus.Counter
	dropped   prometheus.Counter

	mu      sync.Mutex // guards waiting
	waiting []faas.RequestLog

	// Of Serve alone. The rows of each transaction move a position, as a file's offset moves,
	// so that rows whose transaction ended without an answer are not stored twice.
	name     string
	position int64
	trying   []faas.RequestLog
	doubt    bool // whether those are stored
}

// NewReceiver makes a receiver whose rows go where the tail's go.
func (t *Tail) NewReceiver() *Receiver {
	with := promauto.With(t.Registerer)
	r := &Receiver{
		store: t.Store, countOnly: t.CountOnly, most: maxWaiting, logger: t.Logger, metrics: t.metrics,
		tell: func(rows []faas.RequestLog) { tellOfFilter(rows, t.metrics, t.FilterFailed) },
		name: "stream." + randomName(),
		received: with.NewCounter(prometheus.CounterOpts{
			Name: "envoke_accesslog_stream_received_total",
			Help: "Entries of access logs that Envoys sent by gRPC. What Envoys wrote (access_logs.grpc_access_log.logs_written) and this is less than that was lost on the way.",
		}),
		dropped: with.NewCounter(prometheus.CounterOpts{
			Name: "envoke_accesslog_stream_dropped_total",
			Help: "Entries of access logs that Envoys sent by gRPC and that were dropped: there was no room for them while the store was away.",
		}),
	}
	return r
}

func randomName() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return hex.EncodeToString(random[:])
}

// Register offers the receiver to Envoys.
func (r *Receiver) Register(server grpc.ServiceRegistrar) {
	accesslogv3.RegisterAccessLogServiceServer(server, r)
}

// StreamAccessLogs takes one Envoy's entries for as long as it sends any.
func (r *Receiver) StreamAccessLogs(stream accesslogv3.AccessLogService_StreamAccessLogsServer) error {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&accesslogv3.StreamAccessLogsResponse{})
		}
		if err != nil {
			return err
		}
		r.take(message)
	}
}

// take queues the entries of one message, as far as there is room.
func (r *Receiver) take(message *accesslogv3.StreamAccessLogsMessage) {
	entries := message.GetHttpLogs().GetLogEntry()
	r.received.Add(float64(len(entries)))
	rows := make([]faas.RequestLog, 0, len(entries))
	for _, entry := range entries {
		switch entry.GetCommonProperties().GetAccessLogType() {
		case datav3.AccessLogType_NotSet, datav3.AccessLogType_DownstreamEnd:
		default:
			continue // the request goes on: another comes at its end
		}
		row, ok := rowOf(entry)
		if !ok {
			r.metrics.malformed.Inc()
			continue
		}
		rows = append(rows, row)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	room := min(len(rows), r.most-len(r.waiting))
	r.waiting = append(r.waiting, rows[:room]...)
	r.dropped.Add(float64(len(rows) - room))
}

// Serve stores what is taken until ctx ends, and what there is then.
func (r *Receiver) Serve(ctx context.Context) error {
	wait := streamInterval
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			r.end(ctx)
			return nil
		case <-timer.C:
		}
		err := r.storeAll(ctx)
		switch {
		case err == nil:
			wait = streamInterval
		case ctx.Err() == nil:
			if wait == streamInterval {
				r.logger.WarnContext(ctx, "cannot store what Envoys send of their access logs; it waits", "error", err)
			}
			wait = min(2*wait, retryMost)
		}
	}
}

func (r *Receiver) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := r.storeAll(ctx)
	if err == nil && r.position > 0 {
		err = r.store.ForgetLogFile(ctx, r.name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	left := len(r.waiting) + len(r.trying)
	r.dropped.Add(float64(left))
	if err != nil {
		r.logger.WarnContext(ctx, "what Envoys sent of their access logs is lost", "rows", left, "error", err)
	}
}

// storeAll stores the rows that wait, the oldest first.
func (r *Receiver) storeAll(ctx context.Context) error {
	for {
		if len(r.trying) == 0 {
			r.trying = r.next()
		}
		if len(r.trying) == 0 {
			return nil
		}
		if err := r.storeOnce(ctx); err != nil {
			return err
		}
		r.metrics.count(r.trying, 0)
		r.tell(r.trying)
		r.trying = nil
	}
}

// next takes rows off those that wait.
func (r *Receiver) next() []faas.RequestLog {
	r.mu.Lock()
	defer r.mu.Unlock()
	rows := r.waiting[:min(len(r.waiting), maxRows)]
	if r.waiting = r.waiting[len(rows):]; len(r.waiting) == 0 {
		r.waiting = nil // its memory is free at once
	}
	return rows
}

// storeOnce stores the rows of this attempt, unless the one before, which ended in doubt, has.
func (r *Receiver) storeOnce(ctx context.Context) error {
	after := r.position + int64(len(r.trying))
	if r.doubt {
		stored, err := r.store.LogOffset(ctx, r.name)
		if err != nil {
			return err
		}
		if r.doubt = false; stored == after {
			r.position = after
			return nil
		}
	}
	store := r.store.AppendRequestLogs
	if r.countOnly {
		store = r.store.CountRequests
	}
	if err := store(ctx, r.name, after, stored(r.trying)); err != nil {
		r.doubt = true
		return err
	}
	r.position = after
	return nil
}
