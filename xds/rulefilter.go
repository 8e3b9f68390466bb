package xds

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"envoke/internal/routing"
)

// filterOfType is the rule's first filter of that type; nil: there is none.
func filterOfType(rule routing.Rule, kind routing.FilterType) *routing.Filter {
	for n := range rule.Filters {
		if rule.Filters[n].Type == kind {
			return &rule.Filters[n]
		}
	}
	return nil
}

// headerChange is what becomes of one header.
type headerChange struct {
	replaced bool // what the message has goes
	values   []string
}

// headerChanges are what filters do to headers, one after the other: Envoy knows no order of
// what it adds and removes.
type headerChanges map[string]*headerChange

func (c headerChanges) of(name string) *headerChange {
	name = strings.ToLower(name)
	if c[name] == nil {
		c[name] = &headerChange{}
	}
	return c[name]
}

func (c headerChanges) apply(h *routing.Headers) {
	for _, set := range h.Set {
		*c.of(set.Name) = headerChange{replaced: true, values: []string{set.Value}}
	}
	for _, added := range h.Add {
		change := c.of(added.Name)
		change.values = append(change.values, added.Value)
	}
	for _, name := range h.Remove {
		*c.of(name) = headerChange{replaced: true}
	}
}

// envoy is the changes as Envoy's.
func (c headerChanges) envoy() (add []*corev3.HeaderValueOption, remove []string) {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		change := c[name]
		if change.replaced && len(change.values) == 0 {
			remove = append(remove, name)
		}
		for n, value := range change.values {
			option := overwritten(name, value)
			if n > 0 || !change.replaced {
				option.AppendAction = corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
			}
			option.KeepEmptyValue = value == ""
			add = append(add, option)
		}
	}
	return add, remove
}

// changeHeaders has a route change headers as the filters say.
func changeHeaders(filters []routing.Filter, r *routev3.Route) {
	request, response := headerChanges{}, headerChanges{}
	for _, f := range filters {
		switch f.Type {
		case routing.RequestHeaderModifier:
			request.apply(f.RequestHeaderModifier)
		case routing.ResponseHeaderModifier:
			response.apply(f.ResponseHeaderModifier)
		}
	}
	r.RequestHeadersToAdd, r.RequestHeadersToRemove = request.envoy()
	r.ResponseHeadersToAdd, r.ResponseHeadersToRemove = response.envoy()
}

// literalValue is a text that Envoy's formats leave as it is.
func literalValue(text string) string { return strings.ReplaceAll(text, "%", "%%") }

var redirectCodes = map[int]routev3.RedirectAction_RedirectResponseCode{
	0:   routev3.RedirectAction_FOUND,
	301: routev3.RedirectAction_MOVED_PERMANENTLY,
	302: routev3.RedirectAction_FOUND,
	303: routev3.RedirectAction_SEE_OTHER,
	307: routev3.RedirectAction_TEMPORARY_REDIRECT,
	308: routev3.RedirectAction_PERMANENT_REDIRECT,
}

func redirectTo(to *routing.Redirect, m routing.Match) *routev3.RedirectAction {
	action := &routev3.RedirectAction{
		HostRedirect: to.Hostname,
		PortRedirect: uint32(to.Port), // checked
		ResponseCode: redirectCodes[to.StatusCode],
	}
	if to.Hostname != "" && (to.Scheme == "https" && to.Port == 443 || to.Scheme == "http" && to.Port == 80) {
		action.PortRedirect = 0 // which nobody writes
	}
	if to.Scheme != "" {
		action.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: to.Scheme}
	}
	switch path := to.Path; {
	case path == nil:
	case path.Type == routing.ReplaceFullPath:
		action.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: path.ReplaceFullPath}
	default:
		prefix, regex := prefixRewrite(m, path.ReplacePrefixMatch)
		if regex != nil {
			action.PathRewriteSpecifier = &routev3.RedirectAction_RegexRewrite{RegexRewrite: regex}
		} else {
			action.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: prefix}
		}
	}
	return action
}

// prefixRewrite replaces a match's prefix by another, of whole segments both. Nothing, or a
// slash, in its place must leave one slash at the path's beginning.
func prefixRewrite(m routing.Match, replacement string) (prefix string, regex *matcherv3.RegexMatchAndSubstitute) {
	old, replacement := pathOf(m.Path).Value, strings.TrimRight(replacement, "/")
	switch {
	case old == "/":
		return replacement + "/", nil
	case replacement == "":
		return "", substitute("^"+regexp.QuoteMeta(old)+"/*", "/")
	}
	return replacement, nil
}

func substitute(pattern, by string) *matcherv3.RegexMatchAndSubstitute {
	return &matcherv3.RegexMatchAndSubstitute{
		Pattern:      &matcherv3.RegexMatcher{Regex: pattern},
		Substitution: strings.ReplaceAll(by, `\`, `\\`),
	}
}

// rewrite has backends see another host or path.
func rewrite(rule routing.Rule, m routing.Match, action *routev3.RouteAction) {
	f := filterOfType(rule, routing.URLRewrite)
	if f == nil {
		return
	}
	if f.URLRewrite.Hostname != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: f.URLRewrite.Hostname}
	}
	switch path := f.URLRewrite.Path; {
	case path == nil:
	case path.Type == routing.ReplaceFullPath:
		action.RegexRewrite = substitute("^/.*$", path.ReplaceFullPath)
	default:
		action.PrefixRewrite, action.RegexRewrite = prefixRewrite(m, path.ReplacePrefixMatch)
	}
}

// mirror sends copies of requests to upstreams, whose answers nobody reads.
func mirror(rule routing.Rule, action *routev3.RouteAction) {
	for _, f := range rule.Filters {
		if f.Type != routing.RequestMirror {
			continue
		}
		percent := 100
		if f.RequestMirror.Percent != nil {
			percent = *f.RequestMirror.Percent
		}
		action.RequestMirrorPolicies = append(action.RequestMirrorPolicies, &routev3.RouteAction_RequestMirrorPolicy{
			Cluster: UpstreamCluster(f.RequestMirror.BackendRef.Name),
			RuntimeFraction: &corev3.RuntimeFractionalPercent{
				DefaultValue: &typev3.FractionalPercent{Numerator: uint32(percent)}, // checked
			},
		})
	}
}
