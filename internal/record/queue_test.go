package record

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf takes records, or answers that it cannot.
type shelf struct {
	mu      sync.Mutex // guards what follows
	err     error
	records faas.Records
	largest int // batch
	asked   int
}

func (s *shelf) take(_ context.Context, r faas.Records) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return s.err
	}
	s.records.Failures = append(s.records.Failures, r.Failures...)
	s.records.Exchanges = append(s.records.Exchanges, r.Exchanges...)
	s.largest = max(s.largest, len(r.Failures)+len(r.Exchanges))
	return nil
}

func (s *shelf) answer(err error) { s.mu.Lock(); s.err = err; s.mu.Unlock() }

func (s *shelf) counts() (failures, exchanges int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records.Failures), len(s.records.Exchanges)
}

func newQueue(s *shelf) *Queue {
	return New(Options{Name: "nodejs", Send: s.take, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
}

func dropped(q *Queue, kind string) float64 {
	return testutil.ToFloat64(q.dropped.WithLabelValues(kind))
}

// TestRecordsWaitAndComeInOrder while the store is away, each once.
func TestRecordsWaitAndComeInOrder(t *testing.T) {
	s := &shelf{err: &faas.Error{Code: faas.Unavailable}}
	q := newQueue(s)
	testrig.Serve(t, q.Serve)
	const all = 3 * MaxBatch
	for i := range all {
		q.Failed(faas.Failure{RequestID: fmt.Sprint(i)})
		q.Exchanged(faas.Exchange{RequestID: fmt.Sprint(i)})
	}
	testrig.Eventually(t, "two attempts", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.asked > 1 })
	s.answer(nil)
	testrig.Eventually(t, "all records", func() bool { f, e := s.counts(); return f == all && e == all })
	testrig.Eventually(t, "the queue to be empty", func() bool { q.mu.Lock(); defer q.mu.Unlock(); return q.waiting.Len() == 0 && q.bytes == 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range all {
		if f, e := s.records.Failures[i].RequestID, s.records.Exchanges[i].RequestID; f != fmt.Sprint(i) || e != f {
			t.Fatalf("record %d is %s and %s", i, f, e)
		}
	}
	if s.largest > MaxBatch || dropped(q, "failure")+dropped(q, "exchange") != 0 {
		t.Errorf("the largest batch had %d, %v were dropped", s.largest, dropped(q, "failure"))
	}
}

// TestAQueueIsBounded, by records and by bytes, and says what it dropped.
func TestAQueueIsBounded(t *testing.T) {
	s := &shelf{}
	q := newQueue(s)
	for range MaxQueued + 7 {
		q.Failed(faas.Failure{})
	}
	if got := dropped(q, "failure"); got != 7 {
		t.Errorf("%v were dropped, want 7", got)
	}
	q = newQueue(s)
	const size = 100_000
	for range 2 * MaxQueuedBytes / size {
		q.Exchanged(faas.Exchange{Request: strings.Repeat("x", size)})
	}
	if got := dropped(q, "exchange"); q.bytes > MaxQueuedBytes || got < MaxQueuedBytes/size {
		t.Errorf("%d bytes are held, %v records were dropped", q.bytes, got)
	}
}

// TestRefusedRecordsAreDropped: they would hold up all others for ever.
func TestRefusedRecordsAreDropped(t *testing.T) {
	s := &shelf{err: &faas.Error{Code: faas.InvalidRequest}}
	q := newQueue(s)
	testrig.Serve(t, q.Serve)
	q.Failed(faas.Failure{})
	testrig.Eventually(t, "the record to be dropped", func() bool { return dropped(q, "failure") == 1 })
	s.answer(nil)
	q.Failed(faas.Failure{})
	testrig.Eventually(t, "the next to come", func() bool { f, _ := s.counts(); return f == 1 })
}

// TestWhatIsLeftIsSentAtTheEnd, or counted where that fails.
func TestWhatIsLeftIsSentAtTheEnd(t *testing.T) {
	for name, err := range map[string]error{"sent": nil, "dropped": &faas.Error{Code: faas.Unavailable}} {
		s := &shelf{err: err}
		q := newQueue(s)
		q.Failed(faas.Failure{})
		ended, end := context.WithCancel(t.Context())
		end()
		if err := q.Serve(ended); err != nil {
			t.Fatal(err)
		}
		sent, _ := s.counts()
		if want := map[string]int{"sent": 1}[name]; sent != want || int(dropped(q, "failure")) != 1-want {
			t.Errorf("%s: %d were sent, %v dropped", name, sent, dropped(q, "failure"))
		}
	}
}
