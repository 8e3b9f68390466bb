package xds

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// Refusal is a declared upstream or host that an Envoy did not take. It is kept apart, in the
// version before it or not at all, until there is another version of it.
type Refusal struct {
	Name string `json:"name"` // of the resource in Envoy: upstream/<name>, public/<hostname>
	Nack

	resource string // version of the resource
}

// refusals are what is kept apart. Envoy refuses a response as a whole and may not say which
// resource of it is at fault: those are tried again by halves.
type refusals struct {
	guilty   map[reference]Refusal
	suspects map[reference]string // versions, of which one at least was refused
	trial    map[reference]bool   // suspects that Envoys have now
	taken    map[reference]*item  // the last that an Envoy took
}

func newRefusals() refusals {
	return refusals{map[reference]Refusal{}, map[reference]string{}, map[reference]bool{}, map[reference]*item{}}
}

// took notes what an Envoy took.
func (r *refusals) took(published *Snapshot, response *discoveryv3.DeltaDiscoveryResponse) {
	for _, resource := range response.GetResources() {
		ref := reference{response.GetTypeUrl(), resource.GetName()}
		if !declared(ref) {
			continue
		}
		if i := published.find(ref); i != nil && i.version == resource.GetVersion() {
			r.taken[ref] = i
		}
		if r.trial[ref] && r.suspects[ref] == resource.GetVersion() {
			delete(r.suspects, ref)
			delete(r.trial, ref)
		}
	}
	for _, name := range response.GetRemovedResources() {
		delete(r.taken, reference{response.GetTypeUrl(), name})
	}
}

// refuse tells whether what Envoy refused can be kept apart.
func (r *refusals) refuse(n Nack, response *discoveryv3.DeltaDiscoveryResponse) bool {
	versions, all := map[reference]string{}, true
	for _, resource := range response.GetResources() {
		ref := reference{response.GetTypeUrl(), resource.GetName()}
		if all = all && declared(ref); declared(ref) {
			versions[ref] = resource.GetVersion()
		}
	}
	fresh := slices.SortedFunc(maps.Keys(versions), compareReferences)
	guilty := slices.DeleteFunc(slices.Clone(fresh), func(ref reference) bool { return !mentions(n.Message, ref.name) })
	switch {
	case len(guilty) == 0 && (!all || len(fresh) == 0):
		return false
	case len(guilty) == 0 && len(fresh) == 1:
		guilty = fresh
	case len(guilty) == 0:
		maps.Copy(r.suspects, versions)
		r.try(fresh)
		return true
	}
	for _, ref := range guilty {
		r.guilty[ref] = Refusal{Name: ref.name, Nack: n, resource: versions[ref]}
		delete(r.suspects, ref)
		delete(r.trial, ref)
	}
	return true
}

// try has Envoys get the first half of suspects.
func (r *refusals) try(suspects []reference) {
	clear(r.trial)
	for _, ref := range suspects[:(len(suspects)+1)/2] {
		r.trial[ref] = true
	}
}

func compareReferences(a, b reference) int {
	return cmp.Or(cmp.Compare(a.typeURL, b.typeURL), cmp.Compare(a.name, b.name))
}

// mentions tells whether a text has a name, and not as a part of a longer one.
func mentions(text, name string) bool {
	for {
		at := strings.Index(text, name)
		if at < 0 {
			return false
		}
		end := at + len(name)
		if (at == 0 || !inName(text[at-1])) && (end == len(text) || !inName(text[end]) || text[end] == '.' || text[end] == ':') {
			return true
		}
		text = text[end:]
	}
}

func inName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_./:", c) >= 0
}

// apply has what Envoys took before in place of what they refused. What the target has in
// another version by now is tried again.
func (r *refusals) apply(a *arrangement) {
	for ref, g := range r.guilty {
		if i := a.target.find(ref); i == nil || i.version != g.resource {
			delete(r.guilty, ref)
			continue
		}
		a.put(ref, r.before(ref, g.resource))
	}
	for ref, version := range r.suspects {
		if i := a.target.find(ref); i == nil || i.version != version {
			delete(r.suspects, ref)
			delete(r.trial, ref)
		}
	}
	if len(r.trial) == 0 {
		r.try(slices.SortedFunc(maps.Keys(r.suspects), compareReferences))
	}
	for ref, version := range r.suspects {
		if !r.trial[ref] {
			a.put(ref, r.before(ref, version))
		}
	}
	for ref := range r.taken {
		if a.target.find(ref) == nil {
			delete(r.taken, ref)
		}
	}
}

// before is what Envoy took of a resource before that version; nil: nothing.
func (r *refusals) before(ref reference, version string) *item {
	if i := r.taken[ref]; i != nil && i.version != version {
		return i
	}
	return nil
}

// list is what is kept apart, in the order of names.
func (r *refusals) list() []Refusal {
	return slices.SortedFunc(maps.Values(r.guilty), func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
}
