package xds

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	chainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"envoke/internal/faas"
	"envoke/internal/routing"
)

const (
	// hookFilter is what a route has its hooks in, and marks those that have some.
	hookFilter = "envoke.hook"
	// hookMargin is how much longer than a hook's deadline Envoy waits: it is the host that
	// answers where the function does not, and can say why.
	hookMargin = 250 * time.Millisecond
)

// hooksOf are the hooks of a rule, by phase.
func hooksOf(rule routing.Rule) iter.Seq2[faas.Phase, *routing.Hook] {
	return func(yield func(faas.Phase, *routing.Hook) bool) {
		if h := rule.Hooks.Request; h != nil && !yield(faas.RequestPhase, h) {
			return
		}
		if h := rule.Hooks.Response; h != nil {
			yield(faas.ResponsePhase, h)
		}
	}
}

func refOf(h *routing.Hook) (faas.Ref, error) {
	ref, err := faas.ParseRef(h.Function)
	return ref.In(namespaceOf(h.Namespace)), err
}

// checkHooks names the route of each hook that no host could answer.
func (s State) checkHooks() error {
	var faults []error
	for _, route := range s.Routing.Routes {
		for _, rule := range route.Rules {
			for phase, h := range hooksOf(rule) {
				if err := s.checkHook(h); err != nil {
					faults = append(faults, fmt.Errorf("route %q: its %s hook: %w", route.Name, phase, err))
				}
			}
		}
	}
	return errors.Join(faults...)
}

func (s State) checkHook(h *routing.Hook) error {
	ref, err := refOf(h)
	switch {
	case err != nil:
		return err
	case !ref.Name.Namespace.Valid():
		return fmt.Errorf("%q is no namespace", h.Namespace)
	case h.Deadline <= 0 || h.Deadline.Time() > faas.MaxHookDeadline:
		return fmt.Errorf("its deadline must be more than 0 and at most %v", faas.MaxHookDeadline)
	case h.FailureMode != routing.FailOpen && h.FailureMode != routing.FailClosed:
		return fmt.Errorf("its failureMode must be %s or %s", routing.FailOpen, routing.FailClosed)
	}
	for _, r := range s.Runtimes {
		if r.Language == ref.Name.Language && s.hasGRPC(r) {
			return nil
		}
	}
	return fmt.Errorf("no runtime host of %s answers gRPC here, by which hooks are asked", ref.Name.Language)
}

// hooked has a declared rule's requests and responses pass its hooks: a chain of filters of the
// route's own. Hosts answer them themselves, so what Envoy says of each is whose hook it is, and
// how long that may take.
func hooked(s State, rule routing.Rule, r *routev3.Route) *routev3.Route {
	chain := &chainv3.FilterChain{}
	for phase, h := range hooksOf(rule) {
		ref, err := refOf(h)
		if err != nil { // it was checked: were it not, the route must not be without its guard
			return refuse(r.GetName(), r.GetMatch(), http.StatusServiceUnavailable)
		}
		chain.Filters = append(chain.Filters, extension(hookFilter+"."+string(phase), hookConfig(s, hookOf{phase, ref, r.GetName(), h})))
	}
	if len(chain.GetFilters()) == 0 {
		return r
	}
	if r.TypedPerFilterConfig == nil {
		r.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	r.TypedPerFilterConfig[hookFilter] = pack(&chainv3.FilterChainConfigPerRoute{FilterChain: chain})
	if r.Metadata == nil {
		r.Metadata = &corev3.Metadata{}
	}
	if r.Metadata.FilterMetadata == nil {
		r.Metadata.FilterMetadata = map[string]*structpb.Struct{}
	}
	r.Metadata.FilterMetadata[hookFilter] = &structpb.Struct{}
	return r
}

// hookOf is a hook at its place.
type hookOf struct {
	phase    faas.Phase
	function faas.Ref
	route    string
	*routing.Hook
}

// call is what a host is told of a hook. Envoy takes values for formats.
func (h hookOf) call() []*corev3.HeaderValue {
	of := func(name, value string) *corev3.HeaderValue { return &corev3.HeaderValue{Key: name, Value: value} }
	call := []*corev3.HeaderValue{
		of(faas.HookFunction, h.function.Key()), of(faas.HookRoute, strings.ReplaceAll(url.PathEscape(h.route), "%", "%%")),
		of(faas.HookPhase, string(h.phase)), of(faas.HookDeadline, strconv.FormatInt(h.Deadline.Time().Microseconds(), 10)),
	}
	if h.FailureMode == routing.FailOpen {
		call = append(call, of(faas.HookFailure, faas.HookOpen))
	}
	return call
}

// service is the hosts of the hook's language. What none has seen is asked of another, where
// there may be one: a hook never runs twice.
func (h hookOf) service(s State) *corev3.GrpcService {
	service := &corev3.GrpcService{
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
			ClusterName:      grpcCluster(h.function.Name.Language),
			SkipEnvoyHeaders: true,
		}},
		InitialMetadata: h.call(),
	}
	if s.Auth != nil {
		service.InitialMetadata = append(service.InitialMetadata, &corev3.HeaderValue{Key: faas.HookChecked, Value: "1"})
	}
	if s.remote() {
		service.RetryPolicy = elsewhere("connect-failure,refused-stream,reset-before-request", retries)
	}
	return service
}

// hookChain is in the chain but disabled, as extProc is: a route that has hooks enables it and
// says what is in it, all others pay nothing, and neither a first hook nor the end of the last
// one changes the listener. It comes last: a hook of requests sees who calls as that was
// verified, one of responses what the upstream has said.
func hookChain() *hcmv3.HttpFilter {
	f := filterOf(hookFilter, &chainv3.FilterChainConfig{})
	f.Disabled = true
	return f
}

// hookConfig sends one message of a request or its response, and nothing else of it.
func hookConfig(s State, h hookOf) *extprocv3.ExternalProcessor {
	config := &extprocv3.ExternalProcessor{
		GrpcService:      h.service(s),
		ProcessingMode:   onlyHeaders(h.phase),
		MessageTimeout:   duration(h.Deadline.Time() + hookMargin),
		FailureModeAllow: h.FailureMode == routing.FailOpen,
		StatusOnError:    &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		StatPrefix:       "hook_" + string(h.phase),
		RouteCacheAction: extprocv3.ExternalProcessor_RETAIN, // a hook does not choose another route
		MutationRules: &mutationv3.HeaderMutationRules{
			DisallowSystem:  yes(), // :path and its like stay as the route has them
			DisallowIsError: yes(),
		},
	}
	if h.phase == faas.ResponsePhase {
		config.ResponseAttributes = []string{faas.HookRequestID, faas.HookUser}
	}
	return config
}

func onlyHeaders(phase faas.Phase) *extprocv3.ProcessingMode {
	mode := &extprocv3.ProcessingMode{
		RequestHeaderMode: extprocv3.ProcessingMode_SKIP, ResponseHeaderMode: extprocv3.ProcessingMode_SKIP,
		RequestTrailerMode: extprocv3.ProcessingMode_SKIP, ResponseTrailerMode: extprocv3.ProcessingMode_SKIP,
	}
	if phase == faas.RequestPhase {
		mode.RequestHeaderMode = extprocv3.ProcessingMode_SEND
	} else {
		mode.ResponseHeaderMode = extprocv3.ProcessingMode_SEND
	}
	return mode
}
