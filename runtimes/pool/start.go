package pool

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"envoke/internal/rawio"
	"envoke/runtimes/frame"
	"envoke/runtimes/sandbox"
)

// runWorker is the whole life of one worker.
func (p *Pool) runWorker(k *kind) {
	w, frames, err := p.startWorker(k)
	p.mu.Lock()
	k.starting--
	if err != nil {
		p.size--
		p.startFailed(k, err)
	} else {
		k.ready = append(k.ready, w)
		p.metrics.coldStarts.Inc()
	}
	p.balance()
	p.mu.Unlock()
	if err != nil {
		return
	}
	err = w.read(frames)
	p.mu.Lock()
	p.remove(w)
	p.balance()
	p.mu.Unlock()
	w.end(err)
	w.strip()
	p.mu.Lock()
	delete(p.workers, w)
	p.mu.Unlock()
}

// startFailed answers those who have waited longest, so that a host without a working
// interpreter says so instead of trying for ever.
func (p *Pool) startFailed(k *kind, err error) {
	if p.closed {
		return
	}
	p.opt.Logger.Error("start a worker", "language", p.opt.Language, "error", err)
	k.refillAt = time.Now().Add(startBackoff)
	if len(k.claims) > 0 {
		p.giveUp(k.claims[0], errNoWorker(err))
	}
}

// startWorker starts a process and waits until it is ready.
func (p *Pool) startWorker(k *kind) (_ *worker, _ *bufio.Reader, err error) {
	w := &worker{pool: p, kind: k, calls: make(map[uint32]*call)}
	env, err := w.equip()
	if err != nil {
		return nil, nil, err
	}
	w.memory.Store(-1)
	defer func() {
		if err != nil {
			w.strip()
		}
	}()
	if err := w.spawn(env); err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	p.workers[w] = struct{}{}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		w.kill(killStop)
	}
	frames := bufio.NewReaderSize(w.stream, readBuffer)
	version, err := w.awaitReady(frames)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		delete(p.workers, w)
		return nil, nil, err
	}
	p.version = version
	return w, frames, nil
}

func (w *worker) awaitReady(frames *bufio.Reader) (version string, err error) {
	_ = w.conn.SetReadDeadline(time.Now().Add(startTimeout))
	defer func() { _ = w.conn.SetReadDeadline(time.Time{}) }()
	var ready struct {
		Version string `json:"version"`
	}
	f, err := frame.Read(frames, maxReport)
	switch {
	case err != nil:
	case f.Type != frame.Ready:
		err = fmt.Errorf("its first frame is of type %d, want %d", f.Type, frame.Ready)
	default:
		err = json.Unmarshal(f.Payload, &ready)
	}
	if err == nil {
		return ready.Version, nil
	}
	w.kill(killStart)
	how := w.reap()
	return "", fmt.Errorf("it was not ready: %w (%s): %s", err, how, w.log.tail)
}

// spawn starts the process with its descriptors.
func (w *worker) spawn(env []string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "worker frames")
	defer func() { _ = theirs.Close() }()
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return err
	}
	w.conn = os.NewFile(uintptr(pair[0]), "host frames") // non-blocking: it has deadlines
	if w.stream, err = rawio.NewStream(w.conn); err != nil {
		_ = w.conn.Close()
		return err
	}
	output, printed, err := os.Pipe()
	if err != nil {
		_ = w.conn.Close()
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer func() { _ = printed.Close() }()
	opt := &w.pool.opt
	w.process, err = w.pool.spawner.Start(sandbox.Program{
		Argv: opt.Argv, Env: env, Output: printed, Connects: w.kind.connects, Read: w.packages,
		Files: []*os.File{theirs}, // the first is descriptor 3
	})
	if err != nil {
		_ = w.conn.Close()
		_ = output.Close()
		return err
	}
	w.log = logReader{worker: w, pipe: output, done: make(chan struct{})}
	w.pool.tasks.Go(w.log.run)
	return nil
}
