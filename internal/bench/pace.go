package bench

import (
	"context"
	"runtime"
	"syscall"
	"time"
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

// pace sends the number of each arrival to due when it is due. It keeps a thread
// of its own and sleeps in the kernel, since the Go scheduler's timers are late
// by up to a millisecond on an idle machine: more than most latencies measured.
func pace(ctx context.Context, s schedule, duration time.Duration, due chan<- int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sharpenTimers()
	for arrival := range s.arrivals(duration) {
		if err := sleepUntil(ctx, s.at(arrival)); err != nil {
			return err
		}
		due <- arrival
	}
	return nil
}

func sleepUntil(ctx context.Context, t time.Time) error {
	for {
		left := time.Until(t)
		if left <= 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		// A sleep that a signal cut short is taken up again by the loop.
		wait := syscall.NsecToTimespec(int64(min(left, 100*time.Millisecond)))
		_ = syscall.Nanosleep(&wait, nil)
	}
}

// sharpenTimers takes the kernel's slack of 50 µs from this thread's sleeps.
func sharpenTimers() {
	const prSetTimerSlack = 29
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0)
}
