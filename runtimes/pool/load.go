package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"envoke/runtimes/fault"
	"envoke/runtimes/frame"
)

// load makes a claimed worker a slot's own, and answers those who wait there. It runs
// for all of them, so no single caller's context ends it.
func (p *Pool) load(s *slot, w *worker) {
	var form frame.Form
	var err error
	if s.key != (key{}) { // the checker loads nothing
		if err = p.limitMemory(w, s.key); err == nil {
			form, err = p.offer(context.Background(), w, frame.Load, Work{Script: s.script, Environment: s.values})
		}
	}
	if errors.Is(err, errGone) {
		err = fault.Unavailable("the worker ended before it had loaded the function")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && w.removed {
		err = fault.Unavailable("the worker ended as soon as it had loaded the function")
	}
	if p.closed {
		err = fault.Stopping
	}
	if err != nil {
		p.remove(w)
		w.kill(killLoad)
		p.giveUp(s, err)
		p.balance()
		return
	}
	s.coming, s.serial, s.workers = nothing, form.Serial, append(s.workers, w)
	w.loaded, w.since = true, time.Now()
	w.lastUsed = w.since
	w.open(form.Serial)
	s.queue.Restart() // they have waited for the code
	p.serveWaiters(s, w.since)
	p.settle(s) // more may wait than it takes
	p.balance()
}

// limitMemory gives a worker the limit of its function, which is no more than what it
// started with.
func (p *Pool) limitMemory(w *worker, k key) error {
	if k.memoryMB == p.opt.MemoryMB {
		return nil
	}
	if err := w.process.LimitMemory(p.opt.memory(k.memoryMB)); err != nil {
		e := fault.Unavailable("the worker's memory could not be limited")
		e.Err = err
		return e
	}
	return nil
}

// offer sends code to a worker, to check or to load. The error is errGone, errAbandoned
// or a *faas.Error.
func (p *Pool) offer(ctx context.Context, w *worker, kind frame.Type, work Work) (frame.Form, error) {
	code, err := json.Marshal(frame.Code{
		Filename:    work.Script.Language.Filename(),
		Source:      work.Script.Source,
		MaxResult:   p.opt.MaxResult,
		Packages:    w.packages,
		Environment: work.Environment.Values(),
	})
	if err != nil {
		return frame.Form{}, fmt.Errorf("encode code: %w", err)
	}
	now := time.Now()
	a, err := w.ask(ctx, question{kind: kind, sent: now, deadline: now.Add(p.opt.LoadTimeout)}, code)
	var end *ending
	switch {
	case errors.As(err, &end):
		return frame.Form{}, p.loadEnded(end)
	case err != nil:
		return frame.Form{}, err
	case a.Type == frame.Failed:
		return frame.Form{}, p.loadFailed(w, a.Payload)
	}
	var form frame.Form
	if err := json.Unmarshal(a.Payload, &form); err != nil {
		return frame.Form{}, p.broken(w, err)
	}
	return form, nil
}
