package queue

import (
	"slices"
	"testing"
	"time"
)

const patience = 100 * time.Millisecond

// server takes one call at a time, each of which takes as long; calls come evenly.
type server struct {
	Queue[int]
	t       *testing.T
	now     time.Time
	next    int
	took    time.Duration
	free    time.Time
	came    map[int]time.Time
	waits   []time.Duration // of the served, in the order in which they were
	served  []int
	refused []int
	most    int
}

func newServer(t *testing.T, took time.Duration) *server {
	return &server{
		Queue: Queue[int]{Patience: patience}, t: t, now: time.Unix(1, 0), took: took, came: map[int]time.Time{}, most: 512,
	}
}

// arrive has n calls come, one every so often; the server works meanwhile.
func (s *server) arrive(n int, every time.Duration) *server {
	for range n {
		s.work(s.now)
		s.came[s.next] = s.now
		s.refused = append(s.refused, s.Push(s.next, s.now, s.most)...)
		s.next++
		s.now = s.now.Add(every)
	}
	return s
}

// work gives turns until that time.
func (s *server) work(until time.Time) {
	for s.Len() > 0 && !s.free.After(until) {
		at := s.free
		if first := s.waiting[0].came; first.After(at) {
			at = first
		}
		s.refused = append(s.refused, s.Late(at)...)
		call, ok := s.Pop(at)
		if !ok {
			continue
		}
		s.Took(s.took)
		s.served = append(s.served, call)
		s.waits = append(s.waits, at.Sub(s.came[call]))
		s.free = at.Add(s.took)
	}
}

// finish works until nobody waits.
func (s *server) finish() *server {
	s.work(s.now.Add(time.Hour))
	return s
}

func (s *server) percentile(p float64) time.Duration {
	sorted := slices.Sorted(slices.Values(s.waits))
	return sorted[int(p*float64(len(sorted)-1))]
}

func TestQueue(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name    string
		load    func(*server) *server
		took    time.Duration
		refused int // -1: some
		worst   time.Duration
	}{
		{"below capacity", func(s *server) *server { return s.arrive(1000, 10*ms) }, 5 * ms, 0, 0},
		{"a burst", func(s *server) *server { return s.arrive(500, 0).finish() }, 5 * ms, 0, 2500 * ms},
		{"bursts, again and again", func(s *server) *server {
			for range 20 {
				s.arrive(300, 0)
				s.now = s.now.Add(2 * time.Second)
			}
			return s.finish()
		}, 5 * ms, 0, 1500 * ms},
		{"a burst of slow calls", func(s *server) *server { return s.arrive(20, 0).finish() }, time.Second, 0, 19 * time.Second},
		{"a burst, and a few calls behind it", func(s *server) *server { return s.arrive(400, 0).arrive(100, 20*ms).finish() }, 5 * ms, 0, 2500 * ms},
		{"a little too much", func(s *server) *server { return s.arrive(20_000, 4*ms) }, 5 * ms, -1, 500 * ms},
		{"five times too much", func(s *server) *server { return s.arrive(20_000, ms) }, 5 * ms, -1, 700 * ms},
		{"five times too many slow calls", func(s *server) *server { return s.arrive(500, 200*ms) }, time.Second, -1, 12 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.load(newServer(t, tt.took))
			if n := len(s.refused); tt.refused >= 0 && n != tt.refused || tt.refused < 0 && n == 0 {
				t.Errorf("%d of %d calls were refused", n, s.next)
			}
			if worst := slices.Max(s.waits); worst > tt.worst {
				t.Errorf("a call waited %s for its turn", worst)
			}
		})
	}
}

// In a flood a call that is taken has hardly waited, as many are taken as ever, and when it
// is over nobody is refused any more.
func TestQueueInFlood(t *testing.T) {
	s := newServer(t, 5*time.Millisecond).arrive(2000, time.Millisecond)
	if !s.Overloaded() {
		t.Fatal("five times too much for two seconds is no overload")
	}
	s.waits = nil
	before := s.now
	s.arrive(10_000, time.Millisecond)
	if p99 := s.percentile(0.99); p99 > 2*s.took {
		t.Errorf("of the calls that got a turn one in a hundred waited %s", p99)
	}
	if got, want := len(s.waits), int(s.now.Sub(before)/s.took); got < want-1 {
		t.Errorf("%d calls got their turns, want %d", got, want)
	}
	if s.Len() > 110 {
		t.Errorf("%d calls wait", s.Len())
	}
	refused := len(s.refused)
	s.waits = nil
	s.arrive(1000, 10*time.Millisecond)
	if n := len(s.refused) - refused; n > 100 {
		t.Errorf("%d calls were refused after the flood, more than waited", n)
	}
	if s.Overloaded() {
		t.Error("it is overloaded for ever")
	}
	if p50 := s.percentile(0.5); p50 != 0 {
		t.Errorf("half of the calls after the flood waited %s", p50)
	}
}

// A pause ends an overload: what comes then is a burst like any other.
func TestQueueAfterAPause(t *testing.T) {
	s := newServer(t, 5*time.Millisecond).arrive(3000, time.Millisecond).finish()
	refused := len(s.refused)
	s.now = s.now.Add(2 * Interval)
	s.arrive(300, 0).finish()
	if n := len(s.refused) - refused; n > 0 {
		t.Errorf("%d calls of a burst after the flood were refused", n)
	}
}

// Callers who wait for their answers find their places, however many they are: each that got
// its turn brings the next.
func TestQueueOfClosedLoop(t *testing.T) {
	s := newServer(t, 5*time.Millisecond).arrive(300, 0)
	for range 10_000 {
		s.work(s.free)
		s.now = s.free
		s.arrive(1, 0)
	}
	if len(s.refused) > 0 || s.Overloaded() {
		t.Errorf("%d calls were refused", len(s.refused))
	}
}

func TestQueueOfNoPatience(t *testing.T) {
	s := newServer(t, 5*time.Millisecond)
	s.Patience = 0
	s.arrive(5000, time.Millisecond)
	if s.Overloaded() || len(s.refused) != s.next-len(s.served)-s.Len() || s.Len() != s.most {
		t.Errorf("%d refused, %d served, %d wait of %d", len(s.refused), len(s.served), s.Len(), s.next)
	}
	if !slices.IsSorted(s.served) {
		t.Error("calls were not served in the order in which they came")
	}
}

// Who is in overload and finds the queue full takes the place of the oldest.
func TestQueueThatIsFull(t *testing.T) {
	var q Queue[string]
	now := time.Unix(1, 0)
	if got := q.Push("a", now, 1); got != nil {
		t.Fatalf("an empty queue refused %v", got)
	}
	if got := q.Push("b", now, 1); !slices.Equal(got, []string{"b"}) {
		t.Errorf("a full queue refused %v, want the newest", got)
	}
	q.Patience, q.over = time.Minute, true
	if got := q.Push("c", now, 1); !slices.Equal(got, []string{"a"}) {
		t.Errorf("a full queue in an overload refused %v, want the oldest", got)
	}
	if call, ok := q.Oldest(now); !ok || call != "c" || q.Len() != 0 {
		t.Errorf("the oldest is %q, %v", call, ok)
	}
	if q.Remove("c", now) {
		t.Error("a call that waits no more was removed")
	}
	if got := q.Push("d", now, 0); !slices.Equal(got, []string{"d"}) {
		t.Errorf("a queue without places refused %v", got)
	}
}
