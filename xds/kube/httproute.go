package kube

import (
	"cmp"
	"fmt"

	"envoke/internal/routing"
)

// gatewayGroup is that of the Gateway API.
const gatewayGroup = "gateway.networking.k8s.io"

// httpRoute is what is read of an HTTPRoute. Its rules are written as ours are.
type httpRoute struct {
	Spec struct {
		ParentRefs []parentRef `json:"parentRefs"`
		Hostnames  []string    `json:"hostnames"`
		Rules      []httpRule  `json:"rules"`
	} `json:"spec"`
	Status map[string]any `json:"status"`
}

type parentRef struct {
	Group       *string `json:"group"`
	Kind        *string `json:"kind"`
	Namespace   *string `json:"namespace"`
	Name        string  `json:"name"`
	SectionName *string `json:"sectionName"`
	Port        *int32  `json:"port"`
}

type httpRule struct {
	Name        string           `json:"name"`
	Matches     []routing.Match  `json:"matches"`
	Filters     []httpFilter     `json:"filters"`
	BackendRefs []backendRef     `json:"backendRefs"`
	Timeouts    routing.Timeouts `json:"timeouts"`
}

type httpFilter struct {
	Type                   routing.FilterType `json:"type"`
	RequestHeaderModifier  *routing.Headers   `json:"requestHeaderModifier"`
	ResponseHeaderModifier *routing.Headers   `json:"responseHeaderModifier"`
	RequestRedirect        *routing.Redirect  `json:"requestRedirect"`
	URLRewrite             *routing.Rewrite   `json:"urlRewrite"`
	RequestMirror          *struct {
		BackendRef backendRef `json:"backendRef"`
		Percent    *int       `json:"percent"`
		Fraction   any        `json:"fraction"`
	} `json:"requestMirror"`
}

type backendRef struct {
	Group     *string      `json:"group"`
	Kind      *string      `json:"kind"`
	Name      string       `json:"name"`
	Namespace *string      `json:"namespace"`
	Port      *int32       `json:"port"`
	Weight    *int         `json:"weight"`
	Filters   []httpFilter `json:"filters"`
}

// verdict is what becomes of a route, as conditions of the Gateway API say it.
type verdict struct {
	accepted, acceptedMessage string // the reason; Accepted where it is
	resolved, resolvedMessage string // the reason; ResolvedRefs where they are
}

// translation makes a route of ours of an HTTPRoute.
type translation struct {
	namespace string
	// port tells whether the namespace has the Service, with that port.
	port func(service string, port int32) bool
	// function is the language-title of a Function object; empty: there is none.
	function func(name string) string
	verdict  verdict
	needs    map[string]serviceOf // upstreams that the route needs, by their names
}

// serviceOf is a Service's port.
type serviceOf struct {
	service string
	port    int32
}

// route is the route, unless it was not accepted.
func (t *translation) route(name string, r httpRoute) (made routing.Route) {
	t.verdict = verdict{accepted: "Accepted", resolved: "ResolvedRefs"}
	made = routing.Route{Name: t.namespace + "/" + name, Hostnames: r.Spec.Hostnames}
	for _, rule := range r.Spec.Rules {
		ours := routing.Rule{Name: rule.Name, Matches: rule.Matches, Timeouts: rule.Timeouts}
		for _, f := range rule.Filters {
			if filter, ok := t.filter(f); ok {
				ours.Filters = append(ours.Filters, filter)
			}
		}
		for _, b := range rule.BackendRefs {
			if len(b.Filters) > 0 {
				t.refuse("filters of a backendRef are not supported")
			}
			ours.BackendRefs = append(ours.BackendRefs, t.backend(b))
		}
		made.Rules = append(made.Rules, ours)
	}
	return made
}

func (t *translation) refuse(message string) {
	t.verdict.accepted, t.verdict.acceptedMessage = "UnsupportedValue", message
}

// judge refuses a route that the API server has let pass and Envoy would not take: others go on.
func (t *translation) judge(route routing.Route, upstreams []routing.Upstream) {
	one := routing.Document{Routing: routing.Routing{Routes: []routing.Route{route}, Upstreams: upstreams}}
	if faults := routing.Check(routing.Checks{Kubernetes: true}, one); len(faults) > 0 {
		t.refuse(faults[0].Error())
	}
}

func (t *translation) unresolved(reason, message string) {
	t.verdict.resolved, t.verdict.resolvedMessage = reason, message
}

func (t *translation) filter(f httpFilter) (made routing.Filter, ok bool) {
	made = routing.Filter{
		Type: f.Type, RequestHeaderModifier: f.RequestHeaderModifier, ResponseHeaderModifier: f.ResponseHeaderModifier,
		RequestRedirect: f.RequestRedirect, URLRewrite: f.URLRewrite,
	}
	switch f.Type {
	case routing.RequestHeaderModifier, routing.ResponseHeaderModifier, routing.RequestRedirect, routing.URLRewrite:
		return made, true
	case routing.RequestMirror:
		if f.RequestMirror == nil {
			return made, false
		}
		if f.RequestMirror.Fraction != nil {
			t.refuse("a fraction of a requestMirror is not supported: say percent")
			return made, false
		}
		to := t.backend(f.RequestMirror.BackendRef)
		made.RequestMirror = &routing.Mirror{BackendRef: to, Percent: f.RequestMirror.Percent}
		return made, to.Kind == routing.ToUpstream && t.verdict.resolved == "ResolvedRefs"
	}
	t.refuse(fmt.Sprintf("filters of type %s are not supported", f.Type))
	return made, false
}

// missing is the upstream of what cannot be found. It has no endpoints, so that its share of
// requests is refused, as the Gateway API wants it.
const missing = "missing"

// backend is what a reference means. One that means nothing keeps its weight.
func (t *translation) backend(b backendRef) routing.BackendRef {
	made := routing.BackendRef{Kind: routing.ToUpstream, Name: t.namespace + "/" + missing, Weight: b.Weight}
	group, kind := "", "Service"
	if b.Group != nil {
		group = *b.Group
	}
	if b.Kind != nil {
		kind = *b.Kind
	}
	switch {
	case b.Namespace != nil && *b.Namespace != t.namespace:
		t.unresolved("RefNotPermitted", "references to other namespaces are not taken")
	case group == Group && kind == "Function":
		function := t.function(b.Name)
		if function == "" {
			t.unresolved("BackendNotFound", "there is no Function "+b.Name)
			break
		}
		return routing.BackendRef{Kind: routing.ToFunction, Name: function, Weight: b.Weight}
	case group != "" || kind != "Service":
		t.unresolved("InvalidKind", fmt.Sprintf("kind %s of group %q is none that requests are sent to", kind, group))
	case b.Port == nil || !t.port(b.Name, *b.Port):
		t.unresolved("BackendNotFound", "there is no Service "+b.Name+" with that port")
	default:
		made.Name = fmt.Sprintf("%s/%s:%d", t.namespace, b.Name, *b.Port)
		t.needs[made.Name] = serviceOf{b.Name, *b.Port}
		return made
	}
	t.needs[made.Name] = serviceOf{}
	return made
}

// ours tells whether a parent is the Gateway of that name in the namespace.
func (p parentRef) ours(namespace, gateway string) bool {
	group, kind, in := gatewayGroup, "Gateway", namespace
	if p.Group != nil {
		group = *p.Group
	}
	if p.Kind != nil {
		kind = *p.Kind
	}
	if p.Namespace != nil {
		in = *p.Namespace
	}
	return group == gatewayGroup && kind == "Gateway" && cmp.Or(in, namespace) == namespace && p.Name == gateway
}
