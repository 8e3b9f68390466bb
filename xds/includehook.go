package xds

import (
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"envoke/internal/faas"
	"envoke/internal/routing"
)

// hook has a route ask the rule's hooks.
func (in *included) hook(rule routing.Rule, r *routev3.Route) (*routev3.Route, error) {
	asked := 0
	for _, h := range []*routing.Hook{rule.Hooks.Request, rule.Hooks.Response} {
		if h == nil {
			continue
		}
		if err := in.checkHook(h); err != nil {
			return nil, fmt.Errorf("hook %q: %w", h.Function, err)
		}
		asked++
	}
	r = hooked(in.state, rule, r)
	if asked == 0 {
		return r, nil
	}
	in.hooks = true
	return r, nil
}

// checkHook refuses a hook that no host could answer, or of which it is not said what becomes of
// requests without it.
func (in *included) checkHook(h *routing.Hook) error {
	ref, err := faas.ParseRef(h.Function)
	if err == nil {
		err = in.call(ref)
	}
	switch {
	case err != nil:
		return err
	case h.Deadline <= 0 || h.Deadline.Time() > faas.MaxHookDeadline:
		return fmt.Errorf("its deadline must be more than 0 and at most %v", faas.MaxHookDeadline)
	case !faas.Namespace(h.Namespace).Valid():
		return fmt.Errorf("%q is no namespace", h.Namespace)
	case h.FailureMode != routing.FailOpen && h.FailureMode != routing.FailClosed:
		return fmt.Errorf("its failureMode must be %s or %s", routing.FailOpen, routing.FailClosed)
	}
	return nil
}
