package routing

import (
	"fmt"
	"slices"
	"strings"
)

// filters checks those of a rule, and that they go together.
func (c *checker) filters(at *place, r *Rule) {
	filters := at.field("filters")
	seen := map[FilterType]bool{}
	for i := range few(c, filters, r.Filters, maxFilters) {
		f, at := &r.Filters[i], filters.item(i)
		if !c.filterType(at, f) {
			continue
		}
		c.wrong(seen[f.Type] && f.Type != RequestMirror, at.field("type"), string(f.Type)+" is there twice: a rule has one")
		seen[f.Type] = true
		c.filter(at, f, r)
	}
	c.wrong(seen[RequestRedirect] && seen[URLRewrite], filters, "has both RequestRedirect and URLRewrite: a rule has one of them")
	c.wrong(seen[RequestRedirect] && len(r.BackendRefs) > 0, at.field("backendRefs"), "get nothing where RequestRedirect answers: leave them out")
}

// filterType wants the member that has the type's name, and no other.
func (c *checker) filterType(at *place, f *Filter) bool {
	there := []struct {
		FilterType
		field string
		is    bool
	}{
		{RequestHeaderModifier, "requestHeaderModifier", f.RequestHeaderModifier != nil},
		{ResponseHeaderModifier, "responseHeaderModifier", f.ResponseHeaderModifier != nil},
		{RequestRedirect, "requestRedirect", f.RequestRedirect != nil},
		{URLRewrite, "urlRewrite", f.URLRewrite != nil},
		{RequestMirror, "requestMirror", f.RequestMirror != nil},
	}
	types := make([]FilterType, len(there))
	for i, t := range there {
		types[i] = t.FilterType
	}
	if !oneOf(c, at.field("type"), f.Type, types...) {
		return false
	}
	ok := true
	for _, t := range there {
		if t.FilterType == f.Type {
			ok = !c.wrong(!t.is, at, "has no "+t.field+", although its type is "+string(f.Type)) && ok
		} else {
			c.wrong(t.is, at.field(t.field), "is of another type than "+string(f.Type))
		}
	}
	return ok
}

func (c *checker) filter(at *place, f *Filter, r *Rule) {
	switch f.Type {
	case RequestHeaderModifier:
		c.headers(at.field("requestHeaderModifier"), f.RequestHeaderModifier)
	case ResponseHeaderModifier:
		c.headers(at.field("responseHeaderModifier"), f.ResponseHeaderModifier)
	case RequestRedirect:
		c.redirect(at.field("requestRedirect"), f.RequestRedirect, r)
	case URLRewrite:
		at := at.field("urlRewrite")
		c.wrong(f.URLRewrite.Hostname == "" && f.URLRewrite.Path == nil, at, "changes nothing: it needs hostname or path")
		c.plainHostname(at.field("hostname"), f.URLRewrite.Hostname)
		c.pathRewrite(at.field("path"), f.URLRewrite.Path, r)
	case RequestMirror:
		c.mirror(at.field("requestMirror"), f.RequestMirror)
	}
}

func (c *checker) headers(at *place, h *Headers) {
	c.wrong(len(h.Set)+len(h.Add)+len(h.Remove) == 0, at, "changes nothing: it needs set, add or remove")
	for _, list := range []struct {
		field   string
		headers []Header
	}{{"set", h.Set}, {"add", h.Add}} {
		seen := map[string]bool{}
		for i, header := range few(c, at.field(list.field), list.headers, maxHeaders) {
			at := at.field(list.field).item(i)
			c.header(at.field("name"), header.Name, true)
			c.wrong(!headerValue(header.Value), at.field("value"), fmt.Sprintf("is no value of a header: it has at most %d bytes, none of which is a control character", maxValue))
			lower := strings.ToLower(header.Name)
			c.wrong(seen[lower] && lower != "", at.field("name"), fmt.Sprintf("%.80q is there twice", header.Name))
			seen[lower] = true
		}
	}
	for i, name := range few(c, at.field("remove"), h.Remove, maxHeaders) {
		at := at.field("remove").item(i)
		c.header(at, name, true)
		c.wrong(slices.Contains(h.Remove[:i], name), at, fmt.Sprintf("%.80q is there twice", name))
	}
}

func (c *checker) redirect(at *place, d *Redirect, r *Rule) {
	oneOf(c, at.field("scheme"), d.Scheme, "", "http", "https")
	c.plainHostname(at.field("hostname"), d.Hostname)
	c.pathRewrite(at.field("path"), d.Path, r)
	c.upTo(at.field("port"), d.Port, 65535)
	c.wrong(!slices.Contains([]int{0, 301, 302, 303, 307, 308}, d.StatusCode), at.field("statusCode"),
		fmt.Sprintf("is %d: it must be 301, 302, 303, 307 or 308", d.StatusCode))
	c.wrong(*d == Redirect{StatusCode: d.StatusCode}, at, "sends everybody to where they are: it needs scheme, hostname, path or port")
}

func (c *checker) pathRewrite(at *place, p *PathRewrite, r *Rule) {
	if p == nil || !oneOf(c, at.field("type"), p.Type, ReplaceFullPath, ReplacePrefixMatch) {
		return
	}
	full, prefix := at.field("replaceFullPath"), at.field("replacePrefixMatch")
	if p.Type == ReplaceFullPath {
		c.absolutePath(full, p.ReplaceFullPath, false)
		c.wrong(p.ReplacePrefixMatch != "", prefix, "is of another type than ReplaceFullPath")
		return
	}
	c.wrong(p.ReplaceFullPath != "", full, "is of another type than ReplacePrefixMatch")
	if p.ReplacePrefixMatch != "" { // which is / then
		c.absolutePath(prefix, p.ReplacePrefixMatch, false)
	}
	for i := range r.Matches {
		m := r.Matches[i].Path
		c.wrong(m != nil && m.Type != "" && m.Type != PathPrefix, at.field("type"),
			fmt.Sprintf("needs a prefix to replace, and the path of matches[%d] is compared by %s: only PathPrefix has one", i, pathTypeOf(m)))
	}
}

func pathTypeOf(m *PathMatch) MatchType {
	if m == nil || m.Type == "" {
		return PathPrefix
	}
	return m.Type
}

func (c *checker) mirror(at *place, m *Mirror) {
	ref := at.field("backendRef")
	c.wrong(m.BackendRef.Kind == ToFunction, ref.field("kind"), "must be Upstream: functions get no copies")
	c.wrong(m.BackendRef.Weight != nil, ref.field("weight"), "means nothing here: percent is how many are copied")
	if m.BackendRef.Kind != ToFunction {
		c.backend(ref, &BackendRef{Kind: m.BackendRef.Kind, Name: m.BackendRef.Name, Namespace: m.BackendRef.Namespace})
	}
	if m.Percent != nil {
		c.wrong(*m.Percent < 0 || *m.Percent > 100, at.field("percent"), fmt.Sprintf("is %d: it must be 0 to 100", *m.Percent))
	}
}
