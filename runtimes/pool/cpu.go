package pool

import "time"

// cpuLimit names the limit of CPU time; what is allowed and taken is in nanoseconds.
const cpuLimit = "cpu"

// cpuMark is how much CPU time a worker had taken when it was looked at after its last
// answer.
type cpuMark struct {
	answered int // calls
	taken    time.Duration
}

// watchCPU ends workers that have taken more CPU time since their last answer than one call
// may. A worker runs its calls on one thread: while one of them computes, no other is
// answered. So what it takes between two answers is one call's, all but what the others
// take in between.
func (p *Pool) watchCPU(before map[*worker]cpuMark) map[*worker]cpuMark {
	marks := make(map[*worker]cpuMark, len(before))
	for w, limit := range p.limited() {
		taken, ok := w.process.CPU()
		if !ok {
			continue
		}
		mark, known := before[w]
		if !known || mark.answered != limit.answered || limit.idle {
			mark = cpuMark{limit.answered, taken}
		}
		marks[w] = mark
		if spent := taken - mark.taken; spent > limit.cpu {
			p.exceeded(w, excess{limit: cpuLimit, allowed: int64(limit.cpu), taken: int64(spent)})
		}
	}
	return marks
}

type limitedWorker struct {
	cpu      time.Duration
	answered int
	idle     bool
}

// limited are the workers whose function has a limit of CPU time.
func (p *Pool) limited() map[*worker]limitedWorker {
	p.mu.Lock()
	defer p.mu.Unlock()
	workers := map[*worker]limitedWorker{}
	for w := range p.workers {
		if w.loaded && w.home.cpu > 0 {
			workers[w] = limitedWorker{w.home.cpu, w.uses - w.active, w.active == 0}
		}
	}
	return workers
}
