package xds

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"envoke/internal/faas"
	"envoke/internal/routing"
)

// checkFilter tells what is wrong with a filter of a rule.
func checkFilter(f routing.Filter, rule routing.Rule) error {
	var err error
	switch {
	case f.Type == routing.RequestHeaderModifier && f.RequestHeaderModifier != nil:
		err = checkHeaders(*f.RequestHeaderModifier)
	case f.Type == routing.ResponseHeaderModifier && f.ResponseHeaderModifier != nil:
		err = checkHeaders(*f.ResponseHeaderModifier)
	case f.Type == routing.RequestRedirect && f.RequestRedirect != nil:
		err = checkRedirectTo(*f.RequestRedirect, rule)
	case f.Type == routing.URLRewrite && f.URLRewrite != nil:
		err = errors.Join(checkHostText(f.URLRewrite.Hostname), checkRewrite(f.URLRewrite.Path, rule))
	case f.Type == routing.RequestMirror && f.RequestMirror != nil:
		err = checkMirror(*f.RequestMirror)
	default:
		err = errors.New("it is of no known type, or its member is missing")
	}
	if err != nil {
		return fmt.Errorf("filter %.80q: %w", f.Type, err)
	}
	return nil
}

func checkHeaders(h routing.Headers) error {
	var faults []error
	names := slices.Clone(h.Remove)
	for _, header := range slices.Concat(h.Set, h.Add) {
		names = append(names, header.Name)
		if !utf8.ValidString(header.Value) || strings.ContainsFunc(header.Value, control) {
			faults = append(faults, fmt.Errorf("the value of %.80q holds what no header may", header.Name))
		}
	}
	for _, name := range names {
		lower := strings.ToLower(name)
		// Of Host there is the hostname of URLRewrite.
		if !token.MatchString(name) || lower == "host" || lower == faas.UserHeader || lower == certificateHeader || strings.HasPrefix(lower, ownHeaders) {
			faults = append(faults, fmt.Errorf("%.80q is no header that can be changed", name))
		}
	}
	return errors.Join(faults...)
}

func checkRedirectTo(to routing.Redirect, rule routing.Rule) error {
	faults := []error{checkHostText(to.Hostname), checkRewrite(to.Path, rule)}
	if _, known := redirectCodes[to.StatusCode]; !known {
		faults = append(faults, fmt.Errorf("%d is no status of a redirect", to.StatusCode))
	}
	if to.Scheme != "" && to.Scheme != "http" && to.Scheme != "https" {
		faults = append(faults, fmt.Errorf("%.80q is no scheme", to.Scheme))
	}
	if to.Port < 0 || to.Port > 65535 {
		faults = append(faults, fmt.Errorf("port %d is out of range", to.Port))
	}
	return errors.Join(faults...)
}

func checkHostText(name string) error {
	if name == "" {
		return nil
	}
	return checkHostname(name)
}

func checkRewrite(p *routing.PathRewrite, rule routing.Rule) error {
	switch {
	case p == nil:
		return nil
	case p.Type == routing.ReplaceFullPath:
		return checkPathText(p.ReplaceFullPath)
	case p.Type != routing.ReplacePrefixMatch:
		return fmt.Errorf("%.80q is no way to rewrite a path", p.Type)
	}
	for _, m := range rule.Matches {
		if pathOf(m.Path).Type != routing.PathPrefix {
			return errors.New("a prefix is replaced where the match has none")
		}
	}
	if p.ReplacePrefixMatch == "" {
		return nil
	}
	return checkPathText(p.ReplacePrefixMatch)
}

func checkMirror(m routing.Mirror) error {
	if m.Percent != nil && (*m.Percent < 0 || *m.Percent > 100) {
		return fmt.Errorf("%d percent are out of range", *m.Percent)
	}
	if m.BackendRef.Kind == routing.ToFunction {
		return errors.New("copies go to upstreams only")
	}
	return checkName(m.BackendRef.Name)
}
