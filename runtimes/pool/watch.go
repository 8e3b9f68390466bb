package pool

import (
	"context"
	"time"

	"envoke/runtimes/sandbox"
)

const (
	watchOftenEvery = 100 * time.Millisecond
	watchAllEvery   = time.Second
	// idleTurns is in how many seconds each worker that nobody calls is looked at.
	idleTurns = 15
	// manyTasks is by how many more the machine's threads draw a closer look.
	manyTasks = 64
	// maxTasks bounds the threads of one worker that has no user of its own, for which the
	// kernel would count them.
	maxTasks = 256
	// sharedMemory is what a worker may have resident beside its own memory: the
	// interpreter's program and libraries, which all workers share.
	sharedMemory = 96 << 20
	// maxFiles bounds the files of one scratch folder.
	maxFiles = 4096
)

// watchOften ends workers that take more than their part of what no limit of the kernel's
// bounds for one process, and what can be gone in a moment: memory that they share with
// others, while they have calls, and threads.
func (p *Pool) watchOften(ctx context.Context) {
	tick := time.NewTicker(watchOftenEvery)
	defer tick.Stop()
	before, _ := sandbox.Tasks()
	marks, loads := map[*worker]cpuMark{}, map[*worker]loadMark(nil)
	for {
		select {
		case <-tick.C:
			before = p.watchTasks(before)
			for _, w := range p.watched(func(w *worker) bool { return w.active > 0 }) {
				p.checkMemory(w, w.memoryBytes(time.Now()))
			}
			marks, loads = p.watchCPU(marks), p.adjustTurns(loads)
		case <-ctx.Done():
			return
		}
	}
}

// watchAll ends those that do so slowly, or between calls, or in their scratch folder.
func (p *Pool) watchAll(ctx context.Context) {
	tick := time.NewTicker(watchAllEvery)
	defer tick.Stop()
	for round := 0; ; round++ {
		select {
		case now := <-tick.C:
			// Of a thousand that nobody calls, looking at each would be most of what they
			// cost: they take turns.
			due := func(w *worker) bool {
				return w.active > 0 || now.Sub(w.lastUsed) < 2*watchAllEvery || w.process.PID()%idleTurns == round%idleTurns
			}
			for _, w := range p.watched(due) {
				p.inspect(w)
			}
		case <-ctx.Done():
			return
		}
	}
}

// watchTasks counts each worker's threads where there are many more on the
// machine than before, and returns how many there are.
func (p *Pool) watchTasks(before int) int {
	now, err := sandbox.Tasks()
	if err != nil || p.opt.Sandbox.Users > 0 {
		return now
	}
	if now < before+manyTasks {
		return min(before, now)
	}
	groups, err := sandbox.TasksByGroup()
	if err != nil {
		p.opt.Logger.Error("watch workers", "error", err)
		return now
	}
	for _, w := range p.watched(func(*worker) bool { return true }) {
		if n := groups[w.process.PID()]; n > maxTasks {
			p.exceeded(w, excess{limit: "threads", allowed: maxTasks, taken: int64(n)})
		}
	}
	return now
}

// inspect looks at one worker's memory, page tables included, and at its scratch folder.
func (p *Pool) inspect(w *worker) {
	memory, headless := w.process.Memory()
	if headless { // a process that ends is so for a moment
		if w.headless.Swap(true) {
			p.discard(w, killClosed)
		}
		return
	}
	p.checkMemory(w, memory)
	usage, err := w.process.Scratch()
	switch {
	case err != nil:
		p.opt.Logger.Error("watch workers", "error", err)
	case usage.Bytes > p.opt.MaxScratch:
		p.exceeded(w, excess{limit: "scratch", allowed: p.opt.MaxScratch, taken: usage.Bytes})
	case usage.Files > maxFiles:
		p.exceeded(w, excess{limit: "scratch files", allowed: maxFiles, taken: int64(usage.Files)})
	case usage.Depth > sandbox.MaxDepth:
		p.exceeded(w, excess{limit: "scratch depth", allowed: sandbox.MaxDepth, taken: int64(usage.Depth)})
	}
}

func (p *Pool) checkMemory(w *worker, taken int64) {
	most := int64(p.opt.memory(w.belongsTo().memoryMB))
	if most > 0 && taken > most+sharedMemory {
		p.exceeded(w, excess{limit: "memory", allowed: most + sharedMemory, taken: taken})
	}
}

// watched are the workers with somebody's code that match, with the lock held.
func (p *Pool) watched(match func(*worker) bool) []*worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	workers := make([]*worker, 0, len(p.workers))
	for w := range p.workers {
		if w.home != nil && match(w) {
			workers = append(workers, w)
		}
	}
	return workers
}

// excess is by how much a worker went over a limit.
type excess struct {
	limit          string
	allowed, taken int64
}

// exceeded ends a worker for what it took. It is never used again, and its scratch
// folder is emptied.
func (p *Pool) exceeded(w *worker, by excess) {
	w.excess.CompareAndSwap(nil, &by)
	p.opt.Logger.Warn("a worker took too much", "language", p.opt.Language, "owner", w.belongsTo().owner,
		"digest", w.belongsTo().digest, "limit", by.limit, "allowed", by.allowed, "taken", by.taken)
	p.discard(w, killExceeded)
}
