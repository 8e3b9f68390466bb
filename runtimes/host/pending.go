package host

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"time"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/runtimes/bundle"
)

// DefaultBuildWait is how long an initialize waits for its code where the operator does not
// say (api.md).
const DefaultBuildWait = 10 * time.Second

// noteTimeout bounds the telling of control how a build went.
const noteTimeout = 5 * time.Second

// What a build does, as callers are told.
const (
	installing = "installing dependencies"
	compiling  = "compiling"
	loading    = "loading"
)

// stepOf is what takes the time of making a session's code ready.
func stepOf(session *bundle.Session) string {
	switch {
	case session.Script.Dependencies != nil:
		return installing
	case session.Script.Language == faas.Rust:
		return compiling
	}
	return loading
}

// buildWait is how long an initialize waits for its code. Envoy gives up on a request soon
// after the operator's limit of an execute.
func (h *Host) buildWait() time.Duration {
	wait := h.BuildWait
	if wait <= 0 {
		wait = DefaultBuildWait
	}
	return min(wait, h.MaxTimeout)
}

// pend lets a session be kept although its code is not ready yet.
func (h *Host) pend(ctx context.Context, session *bundle.Session, b *build) error {
	if err := h.builds.detach(ctx, session.ID, b); err != nil {
		return err
	}
	session.CompileStatus = faas.CompilePending
	session.Build = faas.Build{Step: stepOf(session), Since: session.CreatedAt}
	return nil
}

// built waits within the call's deadline until the session's code is ready.
func (h *Host) built(ctx context.Context, in invocation, timeout time.Duration) error {
	session := in.session
	switch session.CompileStatus {
	case faas.CompilePending:
	case faas.CompileError:
		return failureOf(session.Build.Error)
	default:
		return nil
	}
	w := work(session)
	b, err := h.builds.join(session.ID, func(ctx context.Context) error { return h.load(ctx, w) }, h.settled(session.ID))
	if err != nil {
		return err
	}
	late, err := b.wait(ctx, in.timing.arrived.Add(timeout))
	if late {
		err = faas.StillBuilding(timeout)
	}
	in.timing.loaded(h.stages.load)
	return err
}

// settled tells control how a pending build went. One that could not be tried stays pending:
// the next execute tries again.
func (h *Host) settled(id faas.SessionID) func(error) {
	return func(err error) {
		status, build := faas.CompileSuccess, faas.Build{}
		if err != nil {
			h.Logger.Debug("a build failed", slog.String("session", string(id)), slog.Any("error", err))
			if !isFinal(err) {
				return
			}
			status, build.Error = faas.CompileError, appendFailure(faas.AsError(err))
		}
		ctx, cancel := context.WithTimeout(h.builds.ctx, noteTimeout)
		defer cancel()
		if err := h.Bundles.SetBuild(ctx, id, status, build); err != nil && !faas.IsNotFound(err) {
			h.Logger.Warn("control does not know how a build went: the next execute builds again",
				slog.String("session", string(id)), slog.Any("error", err))
		}
	}
}

// isFinal tells errors that are the code's own from those of the moment.
func isFinal(err error) bool {
	switch faas.AsError(err).Code { //nolint:exhaustive // all others are the code's
	case faas.Unavailable, faas.RateLimited, faas.InternalError:
		return false
	}
	return true
}

// keptFailure is an error as it is kept with a session.
type keptFailure struct {
	Code    faas.Code      `json:"code"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`
}

// appendFailure is the JSON of an error, without its details where they are too large.
func appendFailure(e *faas.Error) []byte {
	kept := keptFailure{Code: e.Code, Message: e.Message, Details: map[string]any{"component": faas.InRuntime}}
	maps.Copy(kept.Details, e.Details)
	raw, err := json.Marshal(kept)
	if err != nil || len(raw) > controlpb.MaxBuildError {
		kept.Details = map[string]any{"component": e.Details["component"]}
		raw, _ = json.Marshal(kept) // strings only: it cannot fail
	}
	return raw
}

// failureOf is the inverse.
func failureOf(raw []byte) error {
	var kept keptFailure
	if json.Unmarshal(raw, &kept) != nil || kept.Code == "" {
		return &faas.Error{Code: faas.InitializationError, Message: "the code could not be built: call initialize again to learn why"}
	}
	return &faas.Error{Code: kept.Code, Message: kept.Message, Details: kept.Details}
}
