package routing

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
)

// What a Change is.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// maxFieldChanges bounds what is told of one thing that has changed.
const maxFieldChanges = 50

// Change is what another declaration says of one thing.
type Change struct {
	Change string `json:"change"` // added, removed or changed
	// Kind is api, defaults, listener, upstream or route; the first two have no names.
	Kind   string        `json:"kind"`
	Name   string        `json:"name,omitempty"`
	Fields []FieldChange `json:"fields,omitempty"` // of what has changed
}

// FieldChange is a field that has changed, with its values in JSON; empty: it is not there.
type FieldChange struct {
	Field string `json:"field"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
}

// Diff tells what a new declaration changes, by kind and name. The order of what is declared is
// none of it.
func Diff(before, after Routing) []Change {
	changes := []Change{}
	single := func(kind string, before, after any) {
		if fields := diffFields(before, after); len(fields) > 0 {
			changes = append(changes, Change{Change: Changed, Kind: kind, Fields: fields})
		}
	}
	single("api", before.API, after.API)
	single("defaults", before.Defaults, after.Defaults)
	changes = append(changes, diffNamed("listener", before.Listeners, after.Listeners, func(l *Listener) string { return l.Name })...)
	changes = append(changes, diffNamed("upstream", before.Upstreams, after.Upstreams, func(u *Upstream) string { return u.Name })...)
	return append(changes, diffNamed("route", before.Routes, after.Routes, func(r *Route) string { return r.Name })...)
}

func diffNamed[T any](kind string, before, after []T, name func(*T) string) (changes []Change) {
	was, is := byName(before, name), byName(after, name)
	names := maps.Clone(was)
	maps.Copy(names, is)
	for _, n := range slices.Sorted(maps.Keys(names)) {
		switch was, is := was[n], is[n]; {
		case was == nil:
			changes = append(changes, Change{Change: Added, Kind: kind, Name: n})
		case is == nil:
			changes = append(changes, Change{Change: Removed, Kind: kind, Name: n})
		default:
			if fields := diffFields(*was, *is); len(fields) > 0 {
				changes = append(changes, Change{Change: Changed, Kind: kind, Name: n, Fields: fields})
			}
		}
	}
	return changes
}

func byName[T any](list []T, name func(*T) string) map[string]*T {
	named := make(map[string]*T, len(list))
	for i := range list {
		named[name(&list[i])] = &list[i]
	}
	return named
}

func diffFields(before, after any) []FieldChange {
	d := &differ{}
	d.value(nil, reflect.ValueOf(before), reflect.ValueOf(after))
	return d.fields
}

type differ struct{ fields []FieldChange }

func (d *differ) value(at *place, before, after reflect.Value) {
	if len(d.fields) > maxFieldChanges || reflect.DeepEqual(before.Interface(), after.Interface()) {
		return
	}
	switch before.Kind() {
	case reflect.Pointer:
		if before.IsNil() || after.IsNil() {
			break
		}
		d.value(at, before.Elem(), after.Elem())
		return
	case reflect.Struct:
		for i := range before.NumField() {
			d.value(at.field(jsonName(before.Type().Field(i))), before.Field(i), after.Field(i))
		}
		return
	case reflect.Slice:
		d.list(at, before, after)
		return
	}
	d.tell(at, shown(before), shown(after))
}

func (d *differ) list(at *place, before, after reflect.Value) {
	for i := range max(before.Len(), after.Len()) {
		switch {
		case i >= before.Len():
			d.tell(at.item(i), "", shown(after.Index(i)))
		case i >= after.Len():
			d.tell(at.item(i), shown(before.Index(i)), "")
		default:
			d.value(at.item(i), before.Index(i), after.Index(i))
		}
	}
}

func (d *differ) tell(at *place, before, after string) {
	switch {
	case len(d.fields) > maxFieldChanges:
	case len(d.fields) == maxFieldChanges:
		d.fields = append(d.fields, FieldChange{Field: "…"})
	default:
		d.fields = append(d.fields, FieldChange{Field: at.String(), Old: before, New: after})
	}
}

// shown is a value in JSON; that of a field that is not set is empty.
func shown(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	raw, err := json.Marshal(v.Interface())
	if err != nil {
		return "?" // of what a declaration holds, nothing
	}
	return string(raw)
}

// WriteChanges writes them for people, a line each: + is new, - is gone, ~ has changed.
func WriteChanges(w io.Writer, changes []Change) {
	for _, c := range changes {
		mark := map[string]string{Added: "+", Removed: "-", Changed: "~"}[c.Change]
		name := c.Kind
		if c.Name != "" {
			name += " " + c.Name
		}
		fmt.Fprintf(w, "%s %s\n", mark, name)
		for _, f := range c.Fields {
			switch {
			case f.Old == "" && f.New == "":
				fmt.Fprintf(w, "    %s\n", f.Field)
			case f.Old == "":
				fmt.Fprintf(w, "    + %s: %s\n", f.Field, f.New)
			case f.New == "":
				fmt.Fprintf(w, "    - %s: %s\n", f.Field, f.Old)
			default:
				fmt.Fprintf(w, "    ~ %s: %s -> %s\n", f.Field, f.Old, f.New)
			}
		}
	}
}
