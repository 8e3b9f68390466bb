package routing

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"envoke/internal/faas"
)

// methods are those that the Gateway API has, but for CONNECT: such requests have no path.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions, http.MethodTrace,
}

func (c *checker) route(at *place, r *Route) {
	c.name(at.field("name"), r.Name)
	c.unique(at.field("name"), "route", r.Name)
	c.hostnames(at.field("hostnames"), r.Hostnames)
	rules := at.field("rules")
	c.wrong(len(r.Rules) == 0, rules, "is missing: a route has a rule at least")
	seen := map[string]bool{}
	for i := range few(c, rules, r.Rules, maxRules) {
		rule, at := &r.Rules[i], rules.item(i)
		if rule.Name != "" {
			c.name(at.field("name"), rule.Name)
			c.wrong(seen[rule.Name], at.field("name"), fmt.Sprintf("%.80q is there twice", rule.Name))
			seen[rule.Name] = true
		}
		c.rule(at, rule)
	}
}

func (c *checker) rule(at *place, r *Rule) {
	matches := at.field("matches")
	for i := range few(c, matches, r.Matches, maxMatches) {
		c.match(matches.item(i), &r.Matches[i])
	}
	c.filters(at, r)
	refs := at.field("backendRefs")
	for i := range few(c, refs, r.BackendRefs, maxBackends) {
		c.backend(refs.item(i), &r.BackendRefs[i])
	}
	c.timeouts(at.field("timeouts"), r.Timeouts)
	c.retry(at.field("retry"), r.Retry)
	c.hook(at.field("hooks").field("request"), r.Hooks.Request)
	c.hook(at.field("hooks").field("response"), r.Hooks.Response)
	c.access(at.field("access"), r.Access)
}

func (c *checker) match(at *place, m *Match) {
	if m.Path != nil {
		c.path(at.field("path"), m.Path)
	}
	if m.Method != "" {
		oneOf(c, at.field("method"), m.Method, methods...)
	}
	c.values(at.field("headers"), m.Headers, true)
	c.values(at.field("queryParams"), m.QueryParams, false)
}

// values checks the conditions on headers, or on query parameters.
func (c *checker) values(at *place, values []ValueMatch, headers bool) {
	seen := map[string]bool{}
	for i := range few(c, at, values, maxValueRefs) {
		v, at := &values[i], at.item(i)
		name := v.Name
		if headers {
			name = strings.ToLower(name)
			c.header(at.field("name"), v.Name, false)
		} else {
			c.wrong(name == "" || len(name) > 256 || strings.ContainsFunc(name, control), at.field("name"), "must be the name of a query parameter, of 1 to 256 bytes")
		}
		c.wrong(name != "" && seen[name], at.field("name"), fmt.Sprintf("%.80q is there twice: all conditions of a match must hold", v.Name))
		seen[name] = true
		value := at.field("value")
		c.wrong(v.Value == "" || len(v.Value) > maxValue || strings.ContainsFunc(v.Value, control), value, fmt.Sprintf("must be text of 1 to %d bytes", maxValue))
		if oneOf(c, at.field("type"), v.Type, "", Exact, RegularExpression) && v.Type == RegularExpression && v.Value != "" {
			c.regex(value, v.Value)
		}
	}
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

func (c *checker) backend(at *place, b *BackendRef) {
	if b.Weight != nil {
		c.wrong(*b.Weight < 0 || *b.Weight > maxWeight, at.field("weight"), fmt.Sprintf("is %d: it must be 0 to %d", *b.Weight, maxWeight))
	}
	if !oneOf(c, at.field("kind"), b.Kind, "", ToUpstream, ToFunction) {
		return
	}
	if b.Kind == ToFunction {
		c.function(at.field("name"), at.field("namespace"), b.Name, b.Namespace)
		return
	}
	c.wrong(b.Namespace != "", at.field("namespace"), "is of functions only")
	c.toUpstream(at.field("name"), b.Name)
}

func (c *checker) toUpstream(at *place, name string) {
	_, found := c.names["upstream "+name]
	switch {
	case name == "":
		c.fault(at, "is missing: it is an upstream's")
	case found:
	default:
		hint := ""
		if _, err := faas.ParseRef(name); err == nil {
			hint = ", and a function needs kind: Function"
		}
		c.fault(at, fmt.Sprintf("there is no upstream %.80q%s", name, hint))
	}
}

func (c *checker) timeouts(at *place, t Timeouts) {
	c.lasts(at.field("request"), t.Request, time.Millisecond, 24*time.Hour)
	c.lasts(at.field("backendRequest"), t.BackendRequest, time.Millisecond, 24*time.Hour)
	c.wrong(t.Request != 0 && t.BackendRequest > t.Request, at.field("backendRequest"),
		fmt.Sprintf("is %s: one try cannot take longer than all of the request, %s", t.BackendRequest, t.Request))
}

func (c *checker) retry(at *place, r *Retry) {
	if r == nil {
		return
	}
	codes := at.field("codes")
	for i, code := range few(c, codes, r.Codes, maxCodes) {
		c.wrong(code < 400 || code > 599, codes.item(i), fmt.Sprintf("is %d: it must be a status from 400 to 599", code))
		c.wrong(slices.Contains(r.Codes[:i], code), codes.item(i), fmt.Sprintf("%d is there twice", code))
	}
	c.upTo(at.field("attempts"), r.Attempts, 10)
	c.lasts(at.field("backoff"), r.Backoff, time.Millisecond, time.Minute)
}

func (c *checker) hook(at *place, h *Hook) {
	if h == nil {
		return
	}
	c.function(at.field("function"), at.field("namespace"), h.Function, h.Namespace)
	if !c.wrong(h.Deadline == 0, at.field("deadline"), "is missing: say how long the function may take") {
		c.lasts(at.field("deadline"), h.Deadline, time.Millisecond, maxHookDeadline)
	}
	oneOf(c, at.field("failureMode"), h.FailureMode, FailOpen, FailClosed)
}

func (c *checker) access(at *place, a Access) {
	c.wrong(a.Public && len(a.Scopes) > 0, at.field("public"), "lets everybody, and scopes only some: say one of them")
	for i, scope := range few(c, at.field("scopes"), a.Scopes, maxCodes) {
		at := at.field("scopes").item(i)
		c.wrong(!faas.Scope(scope).Known(), at, fmt.Sprintf("there is no scope %.80q: the scopes are %s", scope, faas.Scopes(faas.AllScopes())))
		c.wrong(slices.Contains(a.Scopes[:i], scope), at, fmt.Sprintf("%.80q is there twice", scope))
	}
}

// headerValue is one that Envoy may send.
func headerValue(value string) bool {
	return len(value) <= maxValue && httpguts.ValidHeaderFieldValue(value)
}
