package xds

import (
	"errors"
	"fmt"
	"strings"

	"envoke/internal/routing"
)

// pathRange is what paths a match takes: one, those that begin with a text, or those whose
// first segments are those of a path.
type pathRange struct {
	path string
	kind string // the field of Envoy's RouteMatch
}

const (
	pathExact     = "path"
	pathPrefix    = "prefix"
	pathSeparated = "path_separated_prefix"
)

func prefixMatch(path string) pathRange { return pathRange{path, pathPrefix} }

func wantedPath(m routing.PathMatch) (pathRange, error) {
	switch {
	case !strings.HasPrefix(m.Value, "/"):
		return pathRange{}, fmt.Errorf("path %q does not begin with a slash", m.Value)
	case m.Type == routing.Exact:
		return pathRange{m.Value, pathExact}, nil
	case m.Type != routing.PathPrefix && m.Type != "":
		return pathRange{}, fmt.Errorf("a path of type %s is not included: say Exact or PathPrefix", m.Type)
	case strings.Trim(m.Value, "/") == "":
		return prefixMatch("/"), nil
	}
	return pathRange{strings.TrimRight(m.Value, "/"), pathSeparated}, nil
}

// holds tells whether the range has all paths of the other one.
func (r pathRange) holds(o pathRange) bool {
	switch r.kind {
	case pathExact:
		return o == r
	case pathSeparated:
		whole := o.kind != pathPrefix || strings.HasPrefix(o.path, r.path+"/") // /ab begins with /a
		return whole && (o.path == r.path || strings.HasPrefix(o.path, r.path+"/"))
	}
	return strings.HasPrefix(o.path, r.path)
}

// rangeOf is what paths a route of the bootstrap takes.
func rangeOf(r tree) (pathRange, error) {
	m, _ := child(r, "match").(tree)
	for _, kind := range []string{pathExact, pathPrefix, pathSeparated} {
		if path, ok := child(m, kind).(string); ok {
			if kind == pathPrefix && path == "" {
				path = "/"
			}
			return pathRange{path, kind}, nil
		}
	}
	return pathRange{}, errors.New("it matches by neither path, prefix nor path_separated_prefix, so that nobody can tell which of its requests a hook is for")
}

// narrowed is a copy of a route for a part of its paths.
func narrowed(r tree, served, want pathRange) (tree, error) {
	c, err := copyTree(r)
	if err != nil {
		return nil, err
	}
	m, _ := child(c, "match").(tree)
	delete(m, keyOf(m, served.kind))
	m[want.kind] = want.path
	action, _ := child(c, "route").(tree)
	if rewrite, ok := child(action, "prefix_rewrite").(string); ok {
		// It takes the place of what was matched, which is more now.
		setChild(action, "prefix_rewrite", rewrite+strings.TrimPrefix(want.path, served.path))
	}
	return c, nil
}
