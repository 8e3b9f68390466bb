package routing

import (
	"fmt"
	"reflect"
)

// merger joins declarations. Of what is declared twice, the first one counts.
type merger struct {
	merged Routing
	faults map[string][]Fault // of each source
	owner  map[string]string  // the source of what is declared, by its kind and name
}

func newMerger() *merger {
	return &merger{faults: map[string][]Fault{}, owner: map[string]string{}}
}

func (m *merger) add(source string, r Routing) {
	if m.claim(source, "api", !reflect.ValueOf(r.API).IsZero()) {
		m.merged.API = r.API
	}
	if m.claim(source, "defaults", !reflect.ValueOf(r.Defaults).IsZero()) {
		m.merged.Defaults = r.Defaults
	}
	for _, l := range r.Listeners {
		if m.claimNamed(source, "listener", l.Name) && m.claim(source, fmt.Sprintf("listeners: port %d", l.Port), true) {
			m.merged.Listeners = append(m.merged.Listeners, l)
		}
	}
	for _, u := range r.Upstreams {
		if m.claimNamed(source, "upstream", u.Name) {
			m.merged.Upstreams = append(m.merged.Upstreams, u)
		}
	}
	for _, route := range r.Routes {
		if m.claimNamed(source, "route", route.Name) {
			m.merged.Routes = append(m.merged.Routes, route)
		}
	}
}

// claim tells whether the source is the first that says something there.
func (m *merger) claim(source, what string, said bool) bool {
	if !said {
		return false
	}
	if owner, taken := m.owner[what]; taken {
		m.fault(source, Fault{Field: what, Message: "is declared by the source " + owner + " too, whose words count"})
		return false
	}
	m.owner[what] = source
	return true
}

func (m *merger) claimNamed(source, kind, name string) bool {
	key := kind + " " + name
	if owner, taken := m.owner[key]; taken {
		m.fault(source, Fault{Field: kind + "s", Message: fmt.Sprintf("%s %q is declared by the source %s too, whose words count", kind, name, owner)})
		return false
	}
	m.owner[key] = source
	return true
}

func (m *merger) fault(source string, f Fault) {
	m.faults[source] = append(m.faults[source], f)
}
