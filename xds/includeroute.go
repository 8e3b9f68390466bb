package xds

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"envoke/internal/faas"
	"envoke/internal/routing"
)

// functionRoutes are the routes of a rule to a function: one for each of its matches. Hosts take
// a call at /function/, and tell the function the rest of the path.
func (in *included) functionRoutes(name string, rule routing.Rule) (routes []any, err error) {
	ref, err := in.backend(rule)
	if err != nil {
		return nil, err
	}
	matches := rule.Matches
	if len(matches) == 0 {
		matches = []routing.Match{{}}
	}
	for _, m := range matches {
		r, err := in.functionRoute(name, rule, m, ref)
		if err != nil {
			return nil, err
		}
		added, err := treeOf(r)
		if err != nil {
			return nil, err
		}
		routes = append(routes, added)
	}
	return routes, nil
}

// backend is the one function of a rule.
func (in *included) backend(rule routing.Rule) (faas.Ref, error) {
	if len(rule.BackendRefs) != 1 || rule.BackendRefs[0].Kind != routing.ToFunction || len(rule.Filters) > 0 || rule.Retry != nil {
		return faas.Ref{}, errors.New("a rule that is included has one function in backendRefs, no filters and no retry: all else is the bootstrap's own")
	}
	to := rule.BackendRefs[0]
	ref, err := faas.ParseRef(to.Name)
	if err != nil {
		return faas.Ref{}, err
	}
	ref = ref.In(namespaceOf(to.Namespace))
	return ref, in.call(ref)
}

// call has the language's hosts among the clusters.
func (in *included) call(ref faas.Ref) error {
	for _, r := range in.state.Runtimes {
		if r.Language == ref.Name.Language {
			in.languages[r.Language] = true
			return nil
		}
	}
	return fmt.Errorf("no %s host is known here", ref.Name.Language)
}

func (in *included) functionRoute(name string, rule routing.Rule, m routing.Match, ref faas.Ref) (*routev3.Route, error) {
	matcher, err := includeMatch(m)
	if err != nil {
		return nil, err
	}
	namespace := ref.Name.Namespace
	plain := ref
	plain.Name.Namespace = ""
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: RuntimeCluster(ref.Name.Language)},
		PrefixRewrite:    functionPath + plain.String(),
		Timeout:          duration(rule.Timeouts.Request.Time()),
		IdleTimeout:      duration(in.state.MaxTimeout + time.Second),
		RetryPolicy:      retryUnsent(),
	}
	if matcher.GetPrefix() == "/" {
		action.PrefixRewrite += "/"
	}
	r := toHost(name, matcher, action)
	// Who calls is for those to say who have checked it.
	r.RequestHeadersToRemove = []string{faas.UserHeader}
	r.ResponseHeadersToRemove = []string{CacheableHeader, ClusterHeader, FunctionHeader}
	if namespace != "" {
		r.RequestHeadersToAdd = append(r.RequestHeadersToAdd, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: faas.NamespaceHeader, Value: string(namespace)},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return in.hook(rule, r)
}

// includeMatch is a match in Envoy's words.
func includeMatch(m routing.Match) (*routev3.RouteMatch, error) {
	if len(m.QueryParams) > 0 {
		return nil, errors.New("queryParams are not included: match by path, method or headers")
	}
	var headers []*routev3.HeaderMatcher
	if m.Method != "" {
		headers = append(headers, method(m.Method))
	}
	for _, h := range m.Headers {
		if h.Type == routing.RegularExpression {
			headers = append(headers, header(strings.ToLower(h.Name), all(h.Value)))
			continue
		}
		headers = append(headers, header(strings.ToLower(h.Name), &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: h.Value},
		}))
	}
	if m.Path == nil || m.Path.Value == "/" && m.Path.Type != routing.Exact {
		return match(prefix("/"), headers...), nil
	}
	if !strings.HasPrefix(m.Path.Value, "/") {
		return nil, fmt.Errorf("path %q does not begin with a slash", m.Path.Value)
	}
	switch m.Path.Type {
	case routing.Exact:
		return match(exact(m.Path.Value), headers...), nil
	case routing.PathPrefix, "":
		return match(&routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{
			PathSeparatedPrefix: strings.TrimRight(m.Path.Value, "/"),
		}}, headers...), nil
	}
	return nil, fmt.Errorf("a path of type %s is not included: say Exact or PathPrefix", m.Path.Type)
}

// attach has the routes that are there ask hooks, where they serve what the rule matches: a
// route of which the rule matches all asks always; in front of one that serves more is put a
// copy that serves just that.
func (in *included) attach(host tree, name string, rule routing.Rule) error {
	if rule.Hooks.Request == nil && rule.Hooks.Response == nil {
		return errors.New("it has neither backendRefs nor hooks")
	}
	if len(rule.Filters) > 0 || rule.Timeouts != (routing.Timeouts{}) || rule.Retry != nil {
		return errors.New("a rule without backendRefs has hooks alone: its filters, timeouts and retry are those of the route that is there")
	}
	if len(rule.Matches) == 0 {
		rule.Matches = []routing.Match{{}}
	}
	asking, err := in.hook(rule, &routev3.Route{Name: name})
	if err != nil {
		return err
	}
	added, err := treeOf(asking)
	if err != nil {
		return err
	}
	for _, m := range rule.Matches {
		if m.Method != "" || len(m.Headers) > 0 || len(m.QueryParams) > 0 {
			return errors.New("a hook on a route that is there matches by path alone: the route has the other conditions")
		}
		want := prefixMatch("/")
		if m.Path != nil {
			want, err = wantedPath(*m.Path)
		}
		if err == nil {
			err = attachAt(host, want, added)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// attachAt walks the routes in their order, which stays.
func attachAt(host tree, want pathRange, asking tree) error {
	list, _ := child(host, "routes").([]any)
	var out []any
	hit := false
	for n, entry := range list {
		r, ok := entry.(tree)
		if !ok {
			return fmt.Errorf("routes[%d] is no object", n)
		}
		served, err := rangeOf(r)
		switch {
		case err != nil:
			return fmt.Errorf("routes[%d] of the bootstrap: %w", n, err)
		case want.holds(served):
			hit = true
			ask(r, asking)
		case served.holds(want):
			hit = true
			narrow, err := narrowed(r, served, want)
			if err != nil {
				return fmt.Errorf("routes[%d] of the bootstrap: %w", n, err)
			}
			ask(narrow, asking)
			out = append(out, narrow)
		}
		out = append(out, r)
	}
	if !hit {
		return fmt.Errorf("no route of the bootstrap serves %s", want.path)
	}
	setChild(host, "routes", out)
	return nil
}

// ask has a route ask what another asks.
func ask(r, asking tree) {
	for _, field := range []string{"typed_per_filter_config", "metadata"} {
		more, ok := child(asking, field).(tree)
		if !ok {
			continue
		}
		old, _ := child(r, field).(tree)
		merged := maps.Clone(old)
		if merged == nil {
			merged = tree{}
		}
		maps.Copy(merged, more)
		setChild(r, field, merged)
	}
}

// copyTree is a deep copy.
func copyTree(t tree) (out tree, err error) {
	raw, err := json.Marshal(t)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	return out, err
}
