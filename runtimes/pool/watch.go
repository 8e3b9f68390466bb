package pool

import (
	"context"
	"time"

	"envoke/runtimes/sandbox"
)

const (
	tasksEvery   = 100 * time.Millisecond
	scratchEvery = time.Second
	// manyTasks is by how many more the machine's threads draw a closer look.
	manyTasks = 64
	// maxTasks bounds the threads and processes of one worker that has no user of its
	// own, for which the kernel would count them.
	maxTasks = 256
	// sharedMemory is what a worker may have resident beside its own memory: the
	// interpreter's program and libraries, which all workers share.
	sharedMemory = 96 << 20
	// maxFiles bounds the files of one scratch folder.
	maxFiles = 4096
)

// watch ends workers that take more than their part of what no limit of the kernel's
// bounds for one process: shared memory, space in the scratch folder, processes.
func (p *Pool) watch(ctx context.Context) {
	tasks, memory, scratch := time.NewTicker(tasksEvery), time.NewTicker(memoryEvery), time.NewTicker(scratchEvery)
	defer tasks.Stop()
	defer memory.Stop()
	defer scratch.Stop()
	before, _ := sandbox.Tasks()
	for {
		select {
		case <-tasks.C:
			before = p.watchTasks(before)
		case <-memory.C:
			p.watchMemory()
		case <-scratch.C:
			p.watchScratch()
		case <-ctx.Done():
			return
		}
	}
}

// watchTasks counts each worker's threads and processes where there are many more on the
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
	for _, w := range p.watched(anyWorker) {
		if n := groups[w.process.PID()]; n > maxTasks {
			p.exceeded(w, excess{limit: "processes", allowed: maxTasks, taken: int64(n)})
		}
	}
	return now
}

// watchMemory looks at the resident memory of those that have calls. Pages that a process
// shares with others count in it, of which RLIMIT_DATA knows nothing.
func (p *Pool) watchMemory() {
	for _, w := range p.watched(func(w *worker) bool { return w.active > 0 }) {
		most := int64(p.opt.memory(w.belongsTo().memoryMB))
		if taken := w.memoryBytes(time.Now()); most > 0 && taken > most+sharedMemory {
			p.exceeded(w, excess{limit: "memory", allowed: most + sharedMemory, taken: taken})
		}
	}
}

func (p *Pool) watchScratch() {
	for _, w := range p.watched(anyWorker) {
		usage, err := w.process.Scratch()
		switch {
		case err != nil:
			p.opt.Logger.Error("watch workers", "error", err)
		case usage.Bytes > p.opt.MaxScratch:
			p.exceeded(w, excess{limit: "scratch", allowed: p.opt.MaxScratch, taken: usage.Bytes})
		case usage.Files > maxFiles:
			p.exceeded(w, excess{limit: "scratch files", allowed: maxFiles, taken: int64(usage.Files)})
		}
	}
}

func anyWorker(*worker) bool { return true }

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
