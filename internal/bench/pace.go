package bench

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// schedule is the arrivals of an open loop: evenly spaced, the first at start.
type schedule struct {
	start time.Time
	rate  float64 // arrivals a second
}

// at is when the arrival of that number (from 0) is due.
func (s schedule) at(arrival int) time.Time {
	return s.start.Add(time.Duration(float64(arrival) / s.rate * float64(time.Second)))
}

// arrivals is how many are due before the duration is over.
func (s schedule) arrivals(duration time.Duration) int {
	return int(s.rate * duration.Seconds())
}

// pace sends the number of each arrival to due when it is due, and closes due.
func pace(ctx context.Context, s schedule, duration time.Duration, due chan<- int) error {
	defer close(due)
	alarm, err := newAlarm(ctx)
	if err != nil {
		return err
	}
	defer alarm.close()
	for arrival := range s.arrivals(duration) {
		if err := alarm.wait(s.at(arrival)); err != nil {
			return fmt.Errorf("wait for arrival %d: %w", arrival, err)
		}
		due <- arrival
	}
	return nil
}

// alarm is a kernel timer that wakes its reader as a socket would. Go's own timers
// are late by up to a millisecond on an idle machine, since the runtime rounds its
// wait for events up: more than most latencies measured here.
type alarm struct {
	fd   int
	file *os.File // of fd, registered with the runtime's poller
	stop func() bool
}

// newAlarm makes an alarm whose waits fail when the context ends.
func newAlarm(ctx context.Context) (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	a := &alarm{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}
	a.stop = context.AfterFunc(ctx, func() { _ = a.file.SetDeadline(time.Unix(1, 0)) })
	return a, nil
}

func (a *alarm) close() {
	a.stop()
	_ = a.file.Close()
}

// wait returns at the given time, or at once when that is past.
func (a *alarm) wait(t time.Time) error {
	left := time.Until(t)
	if left <= 0 {
		return nil
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}
	if err := unix.TimerfdSettime(a.fd, 0, &spec, nil); err != nil {
		return fmt.Errorf("set a timer: %w", err)
	}
	var expirations [8]byte
	_, err := a.file.Read(expirations[:])
	return err
}
