package pool

import (
	"testing"
	"time"

	"envoke/internal/testrig"
)

// alarms are when the alarms of workers with code fire.
func alarms(p *Pool) (all []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.workers {
		w.mu.Lock()
		if w.loaded {
			all = append(all, w.alarm.at)
		}
		w.mu.Unlock()
	}
	return all
}

// The alarm of a call that is over fires while others are under way.
func TestADeadlineIsItsOwnCalls(t *testing.T) {
	p := serve(t, Options{Idle: 1})
	before := pid(t, p, work("alarm"))
	short := within(300*time.Millisecond, do("echo"))
	if _, err := p.Invoke(t.Context(), work("alarm"), short); err != nil {
		t.Fatal(err)
	}
	long, release := hold(t)
	ended := make(chan error, 1)
	go func() {
		_, err := p.Invoke(t.Context(), work("alarm"), long)
		ended <- err
	}()
	testrig.Eventually(t, "the alarm is that of the call under way", func() bool {
		got := alarms(p)
		return len(got) == 1 && got[0].Equal(long.Deadline)
	})
	if time.Now().Before(short.Deadline) {
		t.Error("the alarm was set anew before it fired")
	}
	release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if after := pid(t, p, work("alarm")); after != before {
		t.Error("the worker was killed for a call that was over")
	}
}
