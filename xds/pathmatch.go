package xds

import (
	"cmp"
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	templatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"envoke/internal/routing"
)

// ranked is a route with what says where it stands among others of its host.
type ranked struct {
	route  *routev3.Route
	prefix string // with which every path begins that it matches
	rank   rank
}

// rank is the precedence of a match, as routing.Rule says it.
type rank struct {
	exact   bool
	path    int // length of what is literal at the path's beginning
	pattern int // of equal paths, patterns are tried before the prefix that holds them
	method  bool
	headers int
	params  int
	route   string
	rule    int
	match   int
}

// compare is negative where a is tried first.
func (a rank) compare(b rank) int {
	return cmp.Or(
		first(a.exact, b.exact),
		cmp.Compare(b.path, a.path),
		cmp.Compare(b.pattern, a.pattern),
		first(a.method, b.method),
		cmp.Compare(b.headers, a.headers),
		cmp.Compare(b.params, a.params),
		cmp.Compare(a.route, b.route),
		cmp.Compare(a.rule, b.rule),
		cmp.Compare(a.match, b.match),
	)
}

func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// matched is a rule's match as Envoy's, with its prefix and its rank among those of the rule.
func matched(m routing.Match) ranked {
	path := pathOf(m.Path)
	r := ranked{prefix: path.literal, rank: rank{path: len(path.literal), method: m.Method != ""}}
	switch path.Type {
	case routing.Exact:
		r.rank.exact = true
	case routing.Template:
		r.rank.pattern = 2
	case routing.RegularExpression:
		r.rank.pattern = 1
	}
	match := path.match()
	if m.Method != "" {
		match.Headers = append(match.Headers, method(m.Method))
	}
	for _, h := range distinct(m.Headers, strings.ToLower) {
		match.Headers = append(match.Headers, header(strings.ToLower(h.Name), h.matcher()))
		r.rank.headers++
	}
	for _, p := range distinct(m.QueryParams, strings.Clone) {
		match.QueryParameters = append(match.QueryParameters, &routev3.QueryParameterMatcher{
			Name:                         p.Name,
			QueryParameterMatchSpecifier: &routev3.QueryParameterMatcher_StringMatch{StringMatch: p.matcher()},
		})
		r.rank.params++
	}
	r.route = &routev3.Route{Match: match}
	return r
}

// valueMatch is a condition on a header or a query parameter.
type valueMatch routing.ValueMatch

func (v valueMatch) matcher() *matcherv3.StringMatcher {
	if v.Type == routing.RegularExpression {
		return all(v.Value)
	}
	return equal(v.Value)
}

// distinct are the first matches of each name: the Gateway API leaves out the others.
func distinct(matches []routing.ValueMatch, key func(string) string) (out []valueMatch) {
	seen := map[string]bool{}
	for _, m := range matches {
		if name := key(m.Name); !seen[name] {
			seen[name] = true
			out = append(out, valueMatch(m))
		}
	}
	return out
}

// path is a condition on a path, in one spelling.
type path struct {
	routing.PathMatch
	literal string // with which every path begins that it matches
}

func pathOf(m *routing.PathMatch) path {
	if m == nil {
		m = &routing.PathMatch{Value: "/"}
	}
	p := path{PathMatch: *m, literal: m.Value}
	switch p.Type {
	case routing.Exact:
	case routing.Template:
		p.literal, _, _ = strings.Cut(p.Value, "{")
	case routing.RegularExpression:
		p.literal = literalPrefix(p.Value)
	default:
		p.Type = routing.PathPrefix
		// A slash at the end says nothing: prefixes are of whole segments.
		p.Value = cmp.Or(strings.TrimRight(p.Value, "/"), "/")
		p.literal = p.Value
	}
	return p
}

func literalPrefix(expression string) string {
	re, err := regexp.Compile(expression)
	if err != nil {
		return "" // it was checked
	}
	literal, _ := re.LiteralPrefix()
	return literal
}

func (p path) match() *routev3.RouteMatch {
	switch p.Type {
	case routing.Exact:
		return exact(p.Value)
	case routing.Template:
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathMatchPolicy{PathMatchPolicy: &corev3.TypedExtensionConfig{
			Name:        "envoy.path.match.uri_template.uri_template_matcher",
			TypedConfig: pack(&templatev3.UriTemplateMatchConfig{PathTemplate: p.Value}),
		}}}
	case routing.RegularExpression:
		return pathRegex(p.Value)
	}
	if p.Value == "/" {
		return prefix("/")
	}
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: p.Value}}
}
