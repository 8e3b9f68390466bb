package xds

import (
	"iter"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
)

// keyOf is how an object spells a field: Envoy takes both spellings, as protobuf's JSON does.
func keyOf(in tree, field string) string {
	if _, ok := in[field]; ok {
		return field
	}
	parts := strings.Split(field, "_")
	for n, part := range parts[1:] {
		parts[n+1] = strings.ToUpper(part[:1]) + part[1:]
	}
	if camel := strings.Join(parts, ""); in[camel] != nil {
		return camel
	}
	return field
}

// child is a field of an object, by its name in the proto; nil: it is not there.
func child(in tree, field string) any { return in[keyOf(in, field)] }

func setChild(in tree, field string, to any) { in[keyOf(in, field)] = to }

// objects are those of a list.
func objects(in tree, field string) iter.Seq[tree] {
	return func(yield func(tree) bool) {
		list, _ := child(in, field).([]any)
		for _, entry := range list {
			if object, ok := entry.(tree); ok && !yield(object) {
				return
			}
		}
	}
}

// stripOurs takes our headers from requests before any route is chosen.
func stripOurs() *earlyv3.HeaderMutation {
	return &earlyv3.HeaderMutation{Mutations: []*mutationv3.HeaderMutation{removePrefix("x-envoke-")}}
}
