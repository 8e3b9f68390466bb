package host

import (
	"context"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
	"envoke/runtimes/fault"
)

// HookCall is a request or a response of a declared route that a function is to look at.
type HookCall struct {
	Function  faas.Ref
	RequestID string
	UserID    string // who calls, verified; empty: nobody in particular
	Arrived   time.Time
	Deadline  time.Duration // for all of it, from Arrived on
	Params    []byte        // JSON
}

// Hook runs a registered function as a hook and returns its result, as it was written. The
// deadline is the function's own where that is sooner. Errors are those of an execute.
func (h *Host) Hook(ctx context.Context, call HookCall) ([]byte, error) {
	t, session := newTiming(call.Arrived), &bundle.Session{}
	session.Context = Caller{Caller: faas.Caller{UserID: call.UserID}}.in(nil)
	if err := h.useHook(ctx, session, call); err != nil {
		return nil, err
	}
	t.lap(h.stages.session)
	result, err := h.invoke(ctx, call.RequestID, invocation{timing: &t, session: session, params: call.Params})
	return result.JSON, err
}

// useHook finds the hook's function within the deadline: control may have to be asked.
func (h *Host) useHook(ctx context.Context, session *bundle.Session, call HookCall) error {
	if call.Function.Name.Language != h.Language {
		return h.otherLanguage()
	}
	within, cancel := context.WithDeadline(ctx, call.Arrived.Add(call.Deadline))
	defer cancel()
	err := h.useFunction(within, session, call.Function, call.RequestID)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return fault.Timeout(call.Deadline)
	}
	if session.Timeout == 0 || session.Timeout > call.Deadline {
		session.Timeout = call.Deadline
	}
	return err
}

// Response is what a function's result asks for by plain HTTP (E15).
type Response struct {
	Status  int
	Headers [][2]string // names and values, in the order in which the function has them
	Body    []byte
}

// ResponseOf reads a result that has a statusCode. The error says what is wrong with it. The
// body may be a part of the result.
func ResponseOf(result []byte) (Response, error) {
	r, err := newResponse(result)
	if err != nil {
		return Response{}, err
	}
	out := Response{Status: r.status, Body: r.body}
	if r.contentType != "" {
		out.Headers = append(out.Headers, [2]string{"content-type", r.contentType})
	}
	for _, h := range r.headers {
		out.Headers = append(out.Headers, [2]string{h.name, h.value})
	}
	return out, nil
}
