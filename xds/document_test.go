package xds

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"envoke/internal/faas"
	"envoke/internal/openapi"
)

// TestDocumentedRoutes: each operation of the API's document is routed somewhere, and
// each route is that of an operation.
func TestDocumentedRoutes(t *testing.T) {
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(openapi.Document(), &document); err != nil {
		t.Fatal(err)
	}
	var s State
	for _, language := range faas.Languages() {
		s.Runtimes = append(s.Runtimes, Runtime{Language: language})
	}
	routes := apiRoutes(s)
	undocumented := map[string]bool{}
	for _, r := range routes {
		if r.GetRoute() != nil {
			undocumented[r.GetName()] = true
		}
	}
	for template, operations := range document.Paths {
		for method := range operations {
			if method == "parameters" {
				continue
			}
			for _, path := range paths(template) {
				r := routeOf(routes, strings.ToUpper(method), path)
				if r.GetRoute() == nil {
					t.Errorf("%s %s is refused by the route %q", method, path, r.GetName())
				}
				delete(undocumented, r.GetName())
			}
		}
	}
	if len(undocumented) > 0 {
		t.Errorf("no operation of the document takes the routes %v", undocumented)
	}
}

// paths are those that a template stands for: of all languages and kinds of sessions,
// and with what is no session's id.
func paths(template string) (paths []string) {
	key := faas.NewSessionKey()
	for _, language := range faas.Languages() {
		for _, id := range []faas.SessionID{key.NewID(language, true), key.NewID(language, false), "none"} {
			paths = append(paths, strings.NewReplacer(
				"{request_id}", string(id),
				"{language_title}", string(language)+"-a", "{language}", string(language), "{title}", "a",
				"{alias}", "a", "{id}", "0aZ9bY8cX7dW", "{name}", "A", "{path}", "a/b",
			).Replace(template))
		}
	}
	return paths
}

// routeOf is the first route that takes the request, as Envoy takes it; nil for none.
func routeOf(routes []*routev3.Route, method, path string) *routev3.Route {
	for _, r := range routes {
		m := r.GetMatch()
		takes := m.GetPath() == path || m.GetPrefix() != "" && strings.HasPrefix(path, m.GetPrefix()) ||
			m.GetSafeRegex() != nil && matchesAll(m.GetSafeRegex().GetRegex(), path)
		for _, h := range m.GetHeaders() {
			switch h.GetName() {
			case ":method":
				methods := h.GetStringMatch()
				takes = takes && (methods.GetExact() == method || methods.GetSafeRegex() != nil && matchesAll(methods.GetSafeRegex().GetRegex(), method))
			case ":authority":
				takes = false // a Host sent twice
			}
		}
		if takes {
			return r
		}
	}
	return nil
}

func matchesAll(regex, text string) bool {
	return regexp.MustCompile("^(?:" + regex + ")$").MatchString(text)
}
