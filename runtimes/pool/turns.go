package pool

import "time"

// A worker that takes many calls at once does so for those that wait for something else. Where
// they compute, its one thread runs them one after the other, and what it was sent waits in
// it, where nobody can refuse it any more. So while the thread is busy all the time the worker
// is given fewer calls at once, and more again when it is not: how long calls take would not
// tell, since they may wait for anything.
const (
	// turnsFor is the time in which a worker answers what it has: short calls it keeps all.
	turnsFor   = 20 * time.Millisecond
	leastTurns = 4   // so that its thread never waits for the next call
	manyTurns  = 16  // which are halved at once: what is in the worker already takes its time
	busy       = 0.9 // share of the time, above which there are fewer turns
	hardlyBusy = 0.5 // below which there are many more
	notBusy    = 0.8 // below which there are more
)

// loadMark is what a worker had done when it was looked at: for how long its first thread had
// had something to do, and how many calls it had answered.
type loadMark struct {
	ran      time.Duration
	answered int
	at       time.Time
}

// adjustTurns looks at the workers that take several calls at once and have many, or may have
// fewer than others.
func (p *Pool) adjustTurns(before map[*worker]loadMark) map[*worker]loadMark {
	most := int32(p.opt.Concurrency)
	turning := p.turning(most)
	if len(turning) == 0 {
		return nil
	}
	marks := make(map[*worker]loadMark, len(turning))
	for w, answered := range turning {
		ran, ok := w.process.Ran()
		if !ok {
			continue
		}
		mark := loadMark{ran, answered, time.Now()}
		marks[w] = mark
		if last, known := before[w]; known && mark.at.After(last.at) {
			p.setTurns(w, nextTurns(w.turns.Load(), most, mark.since(last)))
		}
	}
	return marks
}

// turning are those workers, with how many calls each has answered.
func (p *Pool) turning(most int32) (workers map[*worker]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.workers {
		if w.loaded && !w.home.serial && (w.active > leastTurns || w.turns.Load() < most) {
			if workers == nil { // as a rule there are none
				workers = make(map[*worker]int)
			}
			workers[w] = w.uses - w.active
		}
	}
	return workers
}

// pastLoad is what a worker has done in a while.
type pastLoad struct {
	busy float64 // share of the time
	rate float64 // calls answered a second
}

func (m loadMark) since(last loadMark) pastLoad {
	seconds := m.at.Sub(last.at).Seconds()
	return pastLoad{busy: (m.ran - last.ran).Seconds() / seconds, rate: float64(m.answered-last.answered) / seconds}
}

// nextTurns is how many turns a worker has, of so many at most, after such a load.
func nextTurns(turns, most int32, load pastLoad) int32 {
	least := max(leastTurns, int32(load.rate*turnsFor.Seconds()))
	switch {
	case load.busy > busy && turns <= least:
	case load.busy > busy && turns > manyTurns:
		turns = max(turns/2, least)
	case load.busy > busy:
		turns = max(turns-turns/4, least)
	case load.busy < hardlyBusy:
		turns *= 2
	case load.busy < notBusy:
		turns += max(1, turns/4)
	}
	return min(max(turns, leastTurns), most)
}

func (p *Pool) setTurns(w *worker, turns int32) {
	if w.turns.Swap(turns) >= turns {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.loaded {
		p.serveWaiters(w.home, time.Now())
	}
}
