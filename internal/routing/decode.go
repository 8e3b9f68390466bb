package routing

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"envoke/internal/strict"
)

// decoder reads a document into Go's values, by the tags that JSON has. The library's own
// would not tell all faults, nor where they are.
type decoder struct {
	file   string
	faults Faults
	values int // that were read
}

// decode reads a value into what into points to.
func (d *decoder) decode(n *yaml.Node, at *place, into any) {
	d.value(n, at, reflect.ValueOf(into).Elem())
}

func (d *decoder) fault(n *yaml.Node, at *place, message string) {
	d.faults.add(Fault{File: d.file, Line: n.Line, Column: n.Column, Field: at.String(), Message: message})
}

func (d *decoder) value(n *yaml.Node, at *place, v reflect.Value) {
	n = behind(n)
	if d.values++; d.values > maxValues {
		if d.values == maxValues+1 {
			d.fault(n, at, fmt.Sprintf("comes after %d values, more than are taken", maxValues))
		}
		return
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // as if it were not there
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, at, text)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, at, v.Elem())
	case reflect.Struct:
		d.object(n, at, v)
	case reflect.Slice:
		d.list(n, at, v)
	default:
		d.scalar(n, at, v)
	}
}

func (d *decoder) text(n *yaml.Node, at *place, into encoding.TextUnmarshaler) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n, at, "must be text")
		return
	}
	if err := into.UnmarshalText([]byte(n.Value)); err != nil {
		d.fault(n, at, err.Error())
	}
}

func (d *decoder) list(n *yaml.Node, at *place, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, at, "must be a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		if item := behind(item); item.Kind == yaml.ScalarNode && item.Tag == "!!null" {
			d.fault(item, at.item(i), "is empty")
			continue
		}
		d.value(item, at.item(i), v.Index(i))
	}
}

func (d *decoder) scalar(n *yaml.Node, at *place, v reflect.Value) {
	var want string
	ok := n.Kind == yaml.ScalarNode
	switch v.Kind() {
	case reflect.String:
		want = "text"
		if ok && (n.Tag == "!!int" || n.Tag == "!!float" || n.Tag == "!!bool" || n.Tag == "!!timestamp") {
			want = fmt.Sprintf("text: write %q", n.Value)
		}
		if ok = ok && n.Tag == "!!str"; ok {
			v.SetString(n.Value)
		}
	case reflect.Int:
		want = "a whole number"
		var number int
		if ok = ok && n.Tag == "!!int" && n.Decode(&number) == nil; ok {
			v.SetInt(int64(number))
		}
	case reflect.Bool:
		want = "true or false"
		var yes bool
		if ok = ok && n.Tag == "!!bool" && n.Decode(&yes) == nil; ok {
			v.SetBool(yes)
		}
	default:
		panic("routing: a declaration has a " + v.Kind().String())
	}
	if !ok {
		d.fault(n, at, "must be "+want)
	}
}

func (d *decoder) object(n *yaml.Node, at *place, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, at, "must be an object: fields with values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, name := n.Content[i], n.Content[i].Value
		index := fieldNamed(v.Type(), name)
		switch {
		case key.Kind != yaml.ScalarNode:
			d.fault(key, at, "has a field whose name is no text")
		case index < 0:
			d.fault(key, at.field(name), "is not known"+meant(v.Type(), name))
		case seen[name]:
			d.fault(key, at.field(name), "is there twice")
		default:
			seen[name] = true
			d.value(n.Content[i+1], at.field(name), v.Field(index))
		}
	}
}

// fieldNamed is the index of a field by its name in JSON; -1: there is none.
func fieldNamed(t reflect.Type, name string) int {
	for i := range t.NumField() {
		if jsonName(t.Field(i)) == name {
			return i
		}
	}
	return -1
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// meant suggests the field that resembles a name, or else tells all.
func meant(t reflect.Type, name string) string {
	var known []string
	for f := range t.Fields() {
		if strict.Resembles(name, strings.ToLower(jsonName(f))) {
			return ": did you mean " + jsonName(f) + "?"
		}
		known = append(known, jsonName(f))
	}
	return ": the fields are " + strings.Join(known, ", ")
}
