package xds

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"envoke/internal/faas"
	"envoke/internal/routing"
)

const (
	// maxWeight is the Gateway API's.
	maxWeight = 1_000_000
	// maxVariables is how many Envoy takes in one template.
	maxVariables = 5
	maxName      = 253 + 253 + 8 // namespace/name:port
)

// checkNames tells which names are there twice.
func checkNames(r routing.Routing) error {
	var faults []error
	upstreams, routes := map[string]bool{}, map[string]bool{}
	for _, u := range r.Upstreams {
		if upstreams[u.Name] {
			faults = append(faults, fmt.Errorf("upstream %q is there twice", u.Name))
		}
		upstreams[u.Name] = true
	}
	for _, route := range r.Routes {
		if routes[route.Name] {
			faults = append(faults, fmt.Errorf("route %q is there twice", route.Name))
		}
		routes[route.Name] = true
	}
	return errors.Join(append(faults, checkHostnames(r.API.Hostnames))...)
}

// explain says which rules name what is not there.
func explain(s State, err error) error {
	known := map[string]bool{}
	for _, u := range s.Routing.Upstreams {
		known[u.Name] = true
	}
	var faults []error
	for _, r := range s.Routing.Routes {
		for n, rule := range r.Rules {
			refs := slices.Clone(rule.BackendRefs)
			for _, f := range rule.Filters {
				if f.RequestMirror != nil {
					refs = append(refs, f.RequestMirror.BackendRef)
				}
			}
			for _, ref := range refs {
				if ref.Kind != routing.ToFunction && !known[ref.Name] {
					faults = append(faults, fmt.Errorf("route %q rule %d: there is no upstream %q", r.Name, n+1, ref.Name))
				}
			}
		}
	}
	if len(faults) == 0 {
		return err
	}
	return errors.Join(faults...)
}

// checkRoute tells what Envoy could not be told of a route. What a source has checked better
// already is found here too, since there are several sources.
func checkRoute(r routing.Route) error {
	var faults []error
	for _, err := range append([]error{checkName(r.Name)}, checkHostnames(r.Hostnames)) {
		if err != nil {
			faults = append(faults, fmt.Errorf("route %q: %w", r.Name, err))
		}
	}
	for n, rule := range r.Rules {
		if err := checkRule(rule); err != nil {
			faults = append(faults, fmt.Errorf("route %q rule %d: %w", r.Name, n+1, err))
		}
	}
	return errors.Join(faults...)
}

func checkName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, control) {
		return fmt.Errorf("%.80q is no name", name)
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

var hostname = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$`)

func checkHostnames(names []string) error {
	var faults []error
	for _, name := range names {
		faults = append(faults, checkHostname(name))
	}
	return errors.Join(faults...)
}

func checkHostname(name string) error {
	if !hostname.MatchString(name) || len(name) > 253 {
		return fmt.Errorf("%.80q is no hostname", name)
	}
	return nil
}

func checkRule(rule routing.Rule) error {
	faults := []error{checkRetry(rule.Retry), checkPlaces(rule)}
	for _, m := range rule.Matches {
		faults = append(faults, checkMatch(m))
	}
	for _, f := range rule.Filters {
		faults = append(faults, checkFilter(f, rule))
	}
	for _, ref := range rule.BackendRefs {
		faults = append(faults, checkRef(ref))
	}
	for _, scope := range rule.Access.Scopes {
		if !faas.Scope(scope).Known() {
			faults = append(faults, fmt.Errorf("there is no scope %.80q", scope))
		}
	}
	return errors.Join(faults...)
}

func checkRetry(r *routing.Retry) error {
	if r == nil {
		return nil
	}
	if r.Attempts < 0 || r.Attempts > 100 {
		return fmt.Errorf("%d attempts are out of range", r.Attempts)
	}
	for _, code := range r.Codes {
		if code < 100 || code > 599 {
			return fmt.Errorf("%d is no status", code)
		}
	}
	return nil
}

func checkRef(ref routing.BackendRef) error {
	if w := weight(ref); w < 0 || w > maxWeight {
		return fmt.Errorf("the weight %d of %q is out of range", w, ref.Name)
	}
	if ref.Kind != routing.ToFunction {
		return checkName(ref.Name)
	}
	if _, err := faas.ParseRef(ref.Name); err != nil {
		return fmt.Errorf("function %.80q: %w", ref.Name, err)
	}
	if n := faas.Namespace(ref.Namespace); !n.Valid() && ref.Namespace != faas.DefaultNamespace {
		return fmt.Errorf("%.80q is no namespace", ref.Namespace)
	}
	return nil
}

func checkMatch(m routing.Match) error {
	faults := []error{}
	if m.Path != nil {
		faults = append(faults, checkPathMatch(*m.Path))
	}
	if m.Method != "" && !token.MatchString(m.Method) {
		faults = append(faults, fmt.Errorf("%.80q is no method", m.Method))
	}
	for _, h := range m.Headers {
		if !token.MatchString(h.Name) {
			faults = append(faults, fmt.Errorf("%.80q is no header", h.Name))
		}
		faults = append(faults, checkValue(h))
	}
	for _, p := range m.QueryParams {
		if p.Name == "" {
			faults = append(faults, errors.New("a query parameter has no name"))
		}
		faults = append(faults, checkValue(p))
	}
	return errors.Join(faults...)
}

// token is that of RFC 9110, 5.6.2.
var token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func checkValue(v routing.ValueMatch) error {
	switch {
	case !utf8.ValidString(v.Value) || !utf8.ValidString(v.Name):
		return fmt.Errorf("%q is not UTF-8", v.Name)
	case v.Type == routing.RegularExpression:
		return checkRegex(v.Value)
	case v.Type != "" && v.Type != routing.Exact:
		return fmt.Errorf("%q cannot be matched by %s", v.Name, v.Type)
	}
	return nil
}

func checkRegex(text string) error {
	if text == "" {
		return errors.New("a regular expression is empty")
	}
	if _, err := regexp.Compile(text); err != nil {
		return fmt.Errorf("%.80q is no regular expression: %w", text, err)
	}
	return nil
}

func checkPathMatch(p routing.PathMatch) error {
	switch p.Type {
	case routing.RegularExpression:
		return checkRegex(p.Value)
	case routing.Template:
		if n := strings.Count(p.Value, "{"); n > maxVariables {
			return fmt.Errorf("the path %.80q has more than %d variables", p.Value, maxVariables)
		}
	case routing.Exact, routing.PathPrefix, "":
	default:
		return fmt.Errorf("a path cannot be matched by %.80q", p.Type)
	}
	return checkPathText(p.Value)
}

func checkPathText(text string) error {
	if !strings.HasPrefix(text, "/") || strings.ContainsAny(text, "?#") || !utf8.ValidString(text) || strings.ContainsFunc(text, control) {
		return fmt.Errorf("%.80q is no path", text)
	}
	return nil
}

func inRange(what string, least int64, values ...int) error {
	for _, n := range values {
		if int64(n) < least || int64(n) > math.MaxInt32 {
			return fmt.Errorf("%s: %d is out of range", what, n)
		}
	}
	return nil
}
