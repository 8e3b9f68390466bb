package xds

import (
	"errors"
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	chainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

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
	if len(r.GetTypedPerFilterConfig()) == 0 {
		return nil, errors.New("this version has no hooks")
	}
	for name := range r.GetTypedPerFilterConfig() {
		in.hooks = name
	}
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
	case h.Deadline <= 0:
		return errors.New("its deadline must be more than 0")
	case h.FailureMode != routing.FailOpen && h.FailureMode != routing.FailClosed:
		return fmt.Errorf("its failureMode must be %s or %s", routing.FailOpen, routing.FailClosed)
	}
	return nil
}

// hookPlace is the filter in which routes have their hooks: off, but where one is.
func hookPlace(name string) *hcmv3.HttpFilter {
	f := filterOf(name, &chainv3.FilterChainConfig{})
	f.Disabled = true
	return f
}
