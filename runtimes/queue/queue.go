// Package queue orders the calls that wait for a turn of a function, and says which of them
// wait in vain when more come than it can serve.
//
// As a rule calls get their turns in the order in which they came, and wait for as long as
// their deadlines let them: a burst is worked off, and callers that wait for each other find
// their places. A function is overloaded when for a while each call that got its turn had
// waited longer than it should, and meanwhile more came than got one: its queue does not
// drain, and serving the oldest would have all of them wait as long as a queue is. Then the
// newest get the turns, which have hardly waited, and those that have waited too long are
// refused; until for as long nobody had to be. (CoDel's standing queue, RFC 8289, with the
// order that Facebook's servers have under load: Ben Maurer, "Fail at Scale", 2015.)
package queue

import (
	"slices"
	"time"
)

const (
	// Interval is how long a queue has to stand for an overload, and after how long one is over.
	Interval = 500 * time.Millisecond
	// turns is how many times as long as a call takes another may wait for it in any case.
	turns = 2
	// smooth is how many calls tell what a call takes.
	smooth = 8
	// Of those that came, as many more than got their turns are chance, and a share of 1/most.
	fewMore, mostMore = 4, 50
)

// Queue is the calls that wait for one function. It is not safe for concurrent use.
type Queue[T comparable] struct {
	// Patience is how long a call should wait at most, or twice what a call takes if that is
	// more. 0: for ever, so that there is no overload.
	Patience time.Duration

	waiting []place[T]    // oldest first
	took    time.Duration // that calls take of late
	over    bool          // it is overloaded
	emptied time.Time     // when it was empty last
	window
}

type place[T comparable] struct {
	call T
	came time.Time
}

// window is a time in which is counted.
type window struct {
	began           time.Time // zero: none
	came, got, lost int       // calls: that came, got their turn, and were refused
}

// Len is how many calls wait.
func (q *Queue[T]) Len() int { return len(q.waiting) }

// Overloaded tells whether more calls come than are served.
func (q *Queue[T]) Overloaded() bool { return q.over }

// Took says what a call took that has got its turn.
func (q *Queue[T]) Took(time time.Duration) {
	switch {
	case time <= 0:
	case q.took == 0:
		q.took = time
	default:
		q.took += (time - q.took) / smooth
	}
}

func (q *Queue[T]) patience() time.Duration { return max(q.Patience, turns*q.took) }
func (q *Queue[T]) interval() time.Duration { return max(Interval, turns*q.patience()) }

// Push has a call wait where fewer than most do. Who is refused is returned: where it is full
// the call itself, or in an overload the oldest in its place, and those that wait in vain.
func (q *Queue[T]) Push(call T, now time.Time, most int) (refused []T) {
	if q.over && len(q.waiting) == 0 && now.Sub(q.emptied) >= q.interval() {
		q.calm()
	}
	q.came++
	q.waiting = append(q.waiting, place[T]{call, now})
	refused = q.Late(now)
	for len(q.waiting) > most {
		at := len(q.waiting) - 1
		if q.over {
			at = 0
		}
		refused = append(refused, q.refuse(at))
	}
	return refused
}

// Pop is the call whose turn it is. Late is to be called before.
func (q *Queue[T]) Pop(now time.Time) (call T, ok bool) {
	if len(q.waiting) == 0 {
		return call, false
	}
	at := 0
	if q.over {
		at = len(q.waiting) - 1
	}
	waited := now.Sub(q.waiting[at].came)
	call = q.remove(at, now)
	q.got++
	switch {
	case q.over:
	case waited <= q.patience() || len(q.waiting) == 0 || q.Patience == 0:
		q.window = window{}
	case q.began.IsZero():
		q.window = window{began: now}
	}
	return call, true
}

// Late is who waits in vain, and waits no more.
func (q *Queue[T]) Late(now time.Time) (refused []T) {
	q.judge(now)
	for q.over && len(q.waiting) > 0 && now.Sub(q.waiting[0].came) > q.patience() {
		refused = append(refused, q.refuse(0))
	}
	if len(refused) > 0 && len(q.waiting) == 0 {
		q.emptied = now
	}
	return refused
}

// judge tells at the end of a window whether there is an overload.
func (q *Queue[T]) judge(now time.Time) {
	if q.began.IsZero() || now.Sub(q.began) < q.interval() {
		return
	}
	if q.over {
		q.over = q.lost > q.got/mostMore
	} else {
		q.over = q.came > q.got+max(fewMore, q.got/mostMore)
	}
	q.window = window{began: now}
}

func (q *Queue[T]) calm() { q.over, q.window = false, window{} }

// Restart has what was before count for nothing, as when the function was not there yet.
func (q *Queue[T]) Restart() { q.calm() }

// Oldest takes out who has waited for longest, to be refused.
func (q *Queue[T]) Oldest(now time.Time) (call T, ok bool) {
	if len(q.waiting) == 0 {
		return call, false
	}
	q.lost++
	return q.remove(0, now), true
}

func (q *Queue[T]) refuse(at int) T {
	q.lost++
	return q.remove(at, time.Time{})
}

func (q *Queue[T]) remove(at int, now time.Time) T {
	call := q.waiting[at].call
	switch at {
	case 0:
		q.waiting[0] = place[T]{} // for the garbage collector
		q.waiting = q.waiting[1:]
	default:
		q.waiting = slices.Delete(q.waiting, at, at+1)
	}
	if len(q.waiting) == 0 {
		q.emptied = now
	}
	return call
}

// Remove takes a call out that waits no more. It is false if it does not wait.
func (q *Queue[T]) Remove(call T, now time.Time) bool {
	at := slices.IndexFunc(q.waiting, func(p place[T]) bool { return p.call == call })
	if at < 0 {
		return false
	}
	q.remove(at, now)
	if len(q.waiting) == 0 && !q.over {
		q.window = window{}
	}
	return true
}

// Drain takes all out.
func (q *Queue[T]) Drain() (calls []T) {
	for _, p := range q.waiting {
		calls = append(calls, p.call)
	}
	q.waiting = nil
	q.calm()
	return calls
}
