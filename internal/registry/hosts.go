package registry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
)

const (
	maxHosts = 1000
	// maxBehind is how many events a host may be behind, unsent or unacknowledged,
	// before its watch is ended. When it comes back it trusts nothing it holds.
	maxBehind = 256
)

// hosts are the runtime hosts that watch, each through a bounded queue.
type hosts struct {
	epoch      string
	fellBehind prometheus.Counter

	mu       sync.Mutex
	watching map[*watch]struct{}
	revision uint64 // of the last event
	closed   bool
}

// A watch is one host's stream, as events go out to it.
type watch struct {
	events  chan *controlpb.WatchResponse // closed when the watch is to end
	joined  uint64                        // the revision at which it began
	pending []pendingAck                  // oldest first; guarded by hosts.mu
}

type pendingAck struct {
	revision uint64
	told     chan<- bool
}

func newHosts(epoch string, fellBehind prometheus.Counter) *hosts {
	return &hosts{epoch: epoch, fellBehind: fellBehind, watching: make(map[*watch]struct{})}
}

// join begins a watch: every event published from now on is queued for it.
func (h *hosts) join() (*watch, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, &faas.Error{Code: faas.Unavailable, Message: "control is shutting down"}
	}
	if len(h.watching) >= maxHosts {
		return nil, &faas.Error{Code: faas.Unavailable, Message: "too many hosts watch"}
	}
	w := &watch{events: make(chan *controlpb.WatchResponse, maxBehind), joined: h.revision}
	h.watching[w] = struct{}{}
	return w, nil
}

func (h *hosts) leave(w *watch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(w)
}

// end is called with the lock held, as often as one likes.
func (h *hosts) end(w *watch) {
	if _, ok := h.watching[w]; !ok {
		return
	}
	delete(h.watching, w)
	close(w.events)
	for _, p := range w.pending {
		p.told <- false
	}
	w.pending = nil
}

// publish gives the event the next revision and queues it for every host. A host
// that does not keep up is let go rather than waited for.
func (h *hosts) publish(event *controlpb.WatchResponse) told {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revision++
	event.Epoch, event.Revision = h.epoch, h.revision
	acks := make(chan bool, len(h.watching))
	t := told{hosts: len(h.watching), acks: acks}
	for w := range h.watching {
		w.pending = append(w.pending, pendingAck{revision: h.revision, told: acks})
		if len(w.pending) > maxBehind || !queue(w.events, event) {
			h.fellBehind.Inc()
			h.end(w)
		}
	}
	return t
}

func queue(events chan<- *controlpb.WatchResponse, event *controlpb.WatchResponse) bool {
	select {
	case events <- event:
		return true
	default:
		return false
	}
}

// acknowledge notes that the host has applied every event up to revision.
func (h *hosts) acknowledge(w *watch, revision uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	done := 0
	for done < len(w.pending) && w.pending[done].revision <= revision {
		w.pending[done].told <- true
		done++
	}
	w.pending = w.pending[done:]
}

// close ends all watches and refuses new ones.
func (h *hosts) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.endAll()
}

// anew ends all watches: hosts begin new ones, and trust nothing that they held before.
func (h *hosts) anew() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endAll()
}

// endAll is called with the lock held.
func (h *hosts) endAll() {
	for w := range h.watching {
		h.end(w)
	}
}

func (h *hosts) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watching)
}

// told is a published event on its way: each host answers once, true when it has
// applied the event and false when its watch ended before.
type told struct {
	hosts int
	acks  <-chan bool
}

// wait returns how many hosts have not applied the event when all have answered,
// the timeout has passed or ctx has ended.
func (t told) wait(ctx context.Context, timeout time.Duration) (missed int) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	missed = t.hosts
	for range t.hosts {
		select {
		case applied := <-t.acks:
			if applied {
				missed--
			}
		case <-timer.C:
			return missed
		case <-ctx.Done():
			return missed
		}
	}
	return missed
}
