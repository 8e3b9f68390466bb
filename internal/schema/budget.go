package schema

import (
	"reflect"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxSteps bounds one check: how often a schema may look at a value, an element or a
// member. A small schema that refers to itself twice takes time, and memory for
// errors, by powers of two of a value's depth; the library has no limit of its own
// and cannot be interrupted. These take about half a second.
const maxSteps = 1 << 18

// errTooMuch ends a check by a panic, the only way out of the library.
var errTooMuch = &Fault{Reason: "takes too many steps to be checked by the schema"}

func newSchema(root *jsonschema.Schema) (*Schema, error) {
	s := &Schema{root: root}
	seen := map[*jsonschema.Schema]bool{}
	var visit func(*jsonschema.Schema) error
	visit = func(node *jsonschema.Schema) error {
		if seen[node] {
			return nil
		}
		seen[node] = true
		if node.DynamicRef != nil || node.RecursiveRef != nil {
			// What they mean is found while checking, where no step of it is counted.
			return &Fault{Reason: "uses $dynamicRef or $recursiveRef, which is not supported: use $ref"}
		}
		s.count(node)
		return eachBelow(reflect.ValueOf(node).Elem(), visit)
	}
	if err := visit(root); err != nil {
		return nil, err
	}
	s.nodes = len(seen)
	return s, nil
}

// count puts a step before whatever the node does of any length. Of the library's
// hooks, only formats come that early.
func (s *Schema) count(node *jsonschema.Schema) {
	step, format := jsonschema.Format{Name: "step"}, node.Format
	step.Validate = func(value any) error {
		if s.left -= steps(node, value); s.left < 0 {
			panic(errTooMuch)
		}
		if format != nil {
			return format.Validate(value)
		}
		return nil
	}
	if format != nil {
		step.Name = format.Name
	}
	node.Format = &step
}

// How many bytes of a text are one step to read, and how many instructions of a pattern
// to run, once for each byte. Both take about as long as a step does otherwise.
const (
	bytesAStep        = 128
	instructionsAStep = 1024
)

func steps(node *jsonschema.Schema, value any) int {
	switch v := value.(type) {
	case []any:
		return 1 + len(v)
	case map[string]any:
		n := 1 + len(v)
		for pattern := range node.PatternProperties {
			for name := range v {
				n += matching(pattern, name)
			}
		}
		return n
	case string:
		return 1 + len(v)/bytesAStep + matching(node.Pattern, v)
	}
	return 1
}

func matching(p jsonschema.Regexp, text string) int {
	if p, ok := p.(*pattern); ok {
		return p.instructions * len(text) / instructionsAStep
	}
	return 0
}

// run checks a decoded value.
func (s *Schema) run(value any) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if fault := recover(); fault == errTooMuch {
			err = errTooMuch
		} else if fault != nil {
			panic(fault)
		}
	}()
	s.left = maxSteps
	return s.root.Validate(value)
}

var schemaType = reflect.TypeFor[*jsonschema.Schema]()

// eachBelow visits the schemas in the exported fields of a struct, in slices and
// maps too.
func eachBelow(node reflect.Value, visit func(*jsonschema.Schema) error) error {
	for i := range node.NumField() {
		if !node.Type().Field(i).IsExported() {
			continue
		}
		if err := eachIn(node.Field(i), visit); err != nil {
			return err
		}
	}
	return nil
}

func eachIn(v reflect.Value, visit func(*jsonschema.Schema) error) error {
	switch {
	case v.Type() == schemaType && !v.IsNil():
		return visit(v.Interface().(*jsonschema.Schema))
	case v.Kind() == reflect.Interface && !v.IsNil():
		return eachIn(v.Elem(), visit)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			if err := eachIn(v.Index(i), visit); err != nil {
				return err
			}
		}
	case v.Kind() == reflect.Map:
		for _, key := range v.MapKeys() {
			if err := eachIn(v.MapIndex(key), visit); err != nil {
				return err
			}
		}
	}
	return nil
}
