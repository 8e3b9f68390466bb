package host

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"envoke/internal/faas"
	"envoke/internal/strict"
	"envoke/runtimes/bundle"
	"envoke/runtimes/pool"
)

const (
	// putWithin bounds how long control is asked to take a context back, and so how long it
	// is kept from others beyond a call's deadline.
	putWithin = 5 * time.Second
	moment    = time.Second // between the deadline and its error
)

// retained runs the function of a session that keeps its context from call to call. Such
// calls are run one at a time, on all hosts, and to their ends: also where the caller has
// gone.
func (h *Host) retained(ctx context.Context, session *bundle.Session, inv pool.Invocation) (pool.Result, error) {
	arrived := time.Now()
	leave, err := h.gates.enter(ctx, gateKey{session: session.ID}, 1, inv)
	if err != nil {
		return pool.Result{Queue: time.Since(arrived)}, err
	}
	defer leave()
	ctx = context.WithoutCancel(ctx)
	inv.Context, err = h.Bundles.TakeContext(ctx, session.ID, inv.Deadline.Add(moment+putWithin))
	waited := time.Since(arrived)
	if err != nil {
		return pool.Result{Queue: waited}, notTaken(err)
	}
	inv.Retain = true
	result, err := h.limited(ctx, session, inv)
	result.Queue += waited
	if err == nil && !isJSON(result.Context) {
		err = &faas.Error{
			Code: faas.RuntimeError, Message: "what the function left in its context is no JSON",
			Details: map[string]any{"component": faas.InFunction},
		}
	}
	return result, h.putBack(ctx, session.ID, result.Context, err)
}

// putBack ends a call of a retained session: with what it left, or without where it failed.
func (h *Host) putBack(ctx context.Context, id faas.SessionID, left json.RawMessage, failed error) error {
	ctx, cancel := context.WithTimeout(ctx, putWithin)
	defer cancel()
	if failed != nil {
		left = nil
	}
	err := h.Bundles.PutContext(ctx, id, left)
	switch {
	case failed != nil && err != nil:
		h.Logger.Warn("a session's context is not given back before the call's time is over",
			slog.String("session", string(id)), slog.Any("error", err))
		return failed
	case failed != nil:
		return failed
	case err != nil:
		return notKept(err)
	}
	return nil
}

// notTaken is told of a call that was not run.
func notTaken(err error) error {
	if faas.AsError(err).Code != faas.Conflict {
		return err
	}
	return &faas.Error{
		Code:    faas.Conflict,
		Message: "another host runs a call of this session, which runs one at a time: this one was not run; try again",
		Details: map[string]any{"retry_after_seconds": 1}, Err: err,
	}
}

// notKept is told of a call that was run, and whose context is lost.
func notKept(err error) error {
	e := faas.AsError(err)
	return &faas.Error{
		Code: e.Code, Message: "the function has run, but what it left in its context is not kept: " + e.Message,
		Details: map[string]any{"component": faas.InControl}, Err: err,
	}
}

// single refuses what a call without a session cannot have.
func (p *post) single() error {
	if p.retain {
		return strict.BadMember("context.retain_session", "needs a session: send it to initialize, and execute that")
	}
	return nil
}
