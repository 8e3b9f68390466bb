package routing

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// The limits of one declaration.
const (
	maxRoutes    = 10_000
	maxUpstreams = 10_000
	maxListeners = 64
	maxHostnames = 256 // of one route
	maxRules     = 64  // of one route
	maxMatches   = 64  // of one rule
	maxFilters   = 16  // of one rule
	maxBackends  = 64  // of one rule
	maxValueRefs = 16  // headers, and query parameters, of one match
	maxHeaders   = 64  // that one filter changes
	maxEndpoints = 10_000
	maxCodes     = 32 // of one retry
	maxWeight    = 1_000_000

	maxPath  = 1024 // bytes
	maxValue = 4096 // bytes of a header's, or a query parameter's
	maxCount = 1_000_000

	maxHookDeadline = 10 * time.Second
)

// Checks are what Check looks at beside the words themselves.
type Checks struct {
	// Files has the files that are named for TLS read.
	Files bool
	// Kubernetes lets names of upstreams and routes be those of a Kubernetes source.
	Kubernetes bool
}

// Check tells all that keeps the documents, which are one declaration, from being served.
func Check(checks Checks, documents ...Document) Faults {
	c := &checker{Checks: checks, names: map[string]string{}, ports: map[int]string{}, counts: map[string]int{}}
	for i := range documents {
		for _, u := range documents[i].Routing.Upstreams {
			c.names["upstream "+u.Name] = ""
		}
	}
	for i := range documents {
		c.document = &documents[i]
		c.routing(&documents[i].Routing)
	}
	return c.faults.bounded()
}

// checker looks at one document after the other.
type checker struct {
	Checks

	document *Document
	faults   Faults
	// names are where listeners, upstreams and routes are declared, by their kinds and names.
	names  map[string]string
	ports  map[int]string // of listeners, the same
	counts map[string]int // of all documents, by the list
	single [2]string      // where api and defaults are declared
}

func (c *checker) fault(at *place, message string) {
	if len(c.faults) > MaxFaults {
		return // which would only be looked for
	}
	f := Fault{File: c.document.Name, Field: at.String(), Message: message}
	if c.document.root != nil {
		n := at.node(c.document.root)
		f.Line, f.Column = n.Line, n.Column
	}
	c.faults.add(f)
}

// wrong is a fault where a thing is so.
func (c *checker) wrong(is bool, at *place, message string) bool {
	if is {
		c.fault(at, message)
	}
	return is
}

func (c *checker) routing(r *Routing) {
	api, defaults := (*place)(nil).field("api"), (*place)(nil).field("defaults")
	for i, at := range []*place{api, defaults} {
		said := []bool{!reflect.ValueOf(r.API).IsZero(), !reflect.ValueOf(r.Defaults).IsZero()}[i]
		if said && !c.wrong(c.single[i] != "", at, "is there twice: the other is in "+c.single[i]) {
			c.single[i] = c.where(at)
		}
	}
	c.hostnames(api.field("hostnames"), r.API.Hostnames)
	c.timeouts(defaults.field("timeouts"), r.Defaults.Timeouts)
	c.retry(defaults.field("retry"), r.Defaults.Retry)
	eachOf(c, "listeners", r.Listeners, c.listener)
	eachOf(c, "upstreams", r.Upstreams, c.upstream)
	eachOf(c, "routes", r.Routes, c.route)
}

// mostOf are how many there may be in all documents.
var mostOf = map[string]int{"listeners": maxListeners, "upstreams": maxUpstreams, "routes": maxRoutes}

// eachOf checks each one of a list, and that there are not too many of them.
func eachOf[T any](c *checker, name string, list []T, check func(*place, *T)) {
	at := (*place)(nil).field(name)
	before, most := c.counts[name], mostOf[name]
	if c.counts[name] += len(list); c.counts[name] > most && before <= most {
		c.fault(at, fmt.Sprintf("are more than %d in all", most))
	}
	for i := range list {
		check(at.item(i), &list[i])
	}
}

// where is a place for a message about another one.
func (c *checker) where(at *place) string {
	f := Fault{File: c.document.Name, Message: at.String()}
	if c.document.root != nil {
		n := at.node(c.document.root)
		f.Line, f.Column = n.Line, n.Column
	}
	return f.Error()
}

// unique takes a name, which nothing else of the kind may have.
func (c *checker) unique(at *place, kind, name string) {
	if name == "" {
		return // which is a fault already
	}
	key := kind + " " + name
	if other := c.names[key]; other != "" {
		c.fault(at, fmt.Sprintf("%q is there twice: the other is %s", name, other))
		return
	}
	c.names[key] = c.where(at)
}

// few are those of a list that are looked at: more than there may be is a fault.
func few[T any](c *checker, at *place, list []T, most int) []T {
	if c.wrong(len(list) > most, at, fmt.Sprintf("are %d: there may be %d", len(list), most)) {
		return list[:most]
	}
	return list
}

// oneOf wants one of the words. The empty one stands for a default.
func oneOf[T ~string](c *checker, at *place, word T, words ...T) bool {
	if slices.Contains(words, word) {
		return true
	}
	var texts []string
	for _, w := range words {
		if w != "" {
			texts = append(texts, string(w))
		}
	}
	if word == "" {
		c.fault(at, "is missing: it is "+strings.Join(texts, " or "))
	} else {
		c.fault(at, fmt.Sprintf("is %.80q: it must be %s", string(word), strings.Join(texts, " or ")))
	}
	return false
}

// upTo bounds a number whose zero stands for a default.
func (c *checker) upTo(at *place, number, most int) {
	c.wrong(number < 0 || number > most, at, fmt.Sprintf("is %d: it must be 1 to %d", number, most))
}

// lasts bounds a duration whose zero stands for a default.
func (c *checker) lasts(at *place, d Duration, least, most time.Duration) {
	c.wrong(d != 0 && (d.Time() < least || d.Time() > most), at, fmt.Sprintf("is %s: it must be %s to %s", d, least, most))
}
