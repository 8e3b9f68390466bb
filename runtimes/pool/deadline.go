package pool

import "time"

// alarm fires at the deadline of one of a worker's calls, or before. Most calls are over
// long before their deadlines, so none has a timer of its own, to be set and stopped: the
// alarm is left as it is where it comes soon enough, and set anew when it came too soon.
type alarm struct {
	timer *time.Timer // nil: never set
	at    time.Time   // zero: not set
}

// ringBy sets the alarm unless it fires by then anyway.
func (w *worker) ringBy(deadline time.Time) {
	a := &w.alarm
	if !a.at.IsZero() && !deadline.Before(a.at) {
		return
	}
	a.at = deadline
	if left := time.Until(deadline); a.timer == nil {
		a.timer = time.AfterFunc(left, w.expire)
	} else {
		a.timer.Reset(left)
	}
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// expire kills the worker if a call is not over at its deadline.
func (w *worker) expire() {
	w.mu.Lock()
	w.alarm.at = time.Time{}
	var first *call
	for _, c := range w.calls {
		if first == nil || c.deadline.Before(first.deadline) {
			first = c
		}
	}
	late := first != nil && !time.Now().Before(first.deadline)
	switch {
	case late && w.culprit == 0:
		w.culprit, first.unread = first.id, w.hasUnread()
	case first != nil && !late:
		w.ringBy(first.deadline)
	}
	w.mu.Unlock()
	if late {
		w.pool.discard(w, killDeadline)
	}
}
