package bench

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, test := range []struct {
		name     string
		rate     float64
		duration time.Duration
		arrivals int
		arrival  int
		at       time.Duration // after start
	}{
		{"first is due at once", 100, time.Second, 100, 0, 0},
		{"evenly spaced", 2000, time.Second, 2000, 3, 1500 * time.Microsecond},
		{"slower than one a second", 0.5, 4 * time.Second, 2, 1, 2 * time.Second},
		{"too short for one", 1, 500 * time.Millisecond, 0, 0, 0},
		{"does not drift", 3, 1000 * time.Second, 3000, 2999, 999_666_666_666},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := schedule{start: start, rate: test.rate}
			if got := s.arrivals(test.duration); got != test.arrivals {
				t.Errorf("%d arrivals, want %d", got, test.arrivals)
			}
			if got := s.at(test.arrival).Sub(start); (got - test.at).Abs() > time.Microsecond {
				t.Errorf("arrival %d is due after %v, want %v", test.arrival, got, test.at)
			}
		})
	}
}

func TestPaceSendsEachArrivalWhenItIsDue(t *testing.T) {
	s := schedule{start: time.Now(), rate: 1000}
	due := make(chan int)
	done := make(chan error, 1)
	go func() { done <- pace(t.Context(), s, 100*time.Millisecond, due) }()
	next := 0
	for arrival := range due {
		if early := time.Until(s.at(arrival)); early > 0 {
			t.Errorf("arrival %d came %v early", arrival, early)
		}
		if arrival != next {
			t.Fatalf("arrival %d in place of %d", arrival, next)
		}
		next++
	}
	if err := <-done; err != nil || next != 100 {
		t.Errorf("%d arrivals, error %v", next, err)
	}
}

func TestPaceEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	due := make(chan int, 10)
	s := schedule{start: time.Now().Add(time.Hour), rate: 10}
	if err := pace(ctx, s, time.Second, due); err == nil {
		t.Error("no error")
	}
	if _, open := <-due; open {
		t.Error("an arrival came an hour early")
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Error("pace gave up before the context ended")
	}
}
