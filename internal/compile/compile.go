// Package compile is what callers may ask of a compiler (compile_options).
package compile

import (
	"fmt"
	"slices"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

// Bounds of names, in bytes, and of their number.
const (
	maxName     = 256
	maxFeatures = 64
)

// Options are those of the wire contract, of all languages: one caller's code may be in
// several. Nil: not given.
type Options struct {
	OptimizationLevel *string  `json:"optimization_level"` // debug or release
	Features          []string `json:"features"`
	Target            *string  `json:"target"`
	MemoryLimitMB     *int     `json:"memory_limit_mb"`
	Network           *string  `json:"network"` // none or egress
}

// Parse reads options, a JSON object or nothing. Errors call it by the name of the
// member that it is, and are *faas.Error of code INVALID_REQUEST. The operator's limit
// of memory is in MiB: who asks for more must not believe that they have it.
func Parse(raw []byte, name string, maxMemoryMB int) (Options, error) {
	var o Options
	if len(raw) == 0 || string(raw) == "null" {
		return o, nil
	}
	if err := strict.Decode(raw, name, &o); err != nil {
		return Options{}, err
	}
	if member, reason := o.fault(maxMemoryMB); reason != "" {
		return Options{}, strict.BadMember(name+"."+member, reason)
	}
	return o, nil
}

// Egress tells whether the worker is to have a network.
func (o *Options) Egress() bool { return o.Network != nil && *o.Network == string(faas.Egress) }

func (o *Options) fault(maxMemoryMB int) (member, reason string) {
	noName := func(feature string) bool { return feature == "" || len(feature) > maxName }
	level, target, memory, network := o.OptimizationLevel, o.Target, o.MemoryLimitMB, o.Network
	switch {
	case level != nil && *level != "debug" && *level != "release":
		return "optimization_level", "must be debug or release"
	case target != nil && len(*target) > maxName:
		return "target", fmt.Sprintf("is longer than %d bytes", maxName)
	case len(o.Features) > maxFeatures || slices.ContainsFunc(o.Features, noName):
		return "features", fmt.Sprintf("may hold %d names of 1 to %d bytes", maxFeatures, maxName)
	case memory != nil && (*memory < 1 || *memory > maxMemoryMB):
		return "memory_limit_mb", fmt.Sprintf("must be a whole number from 1 to %d, the operator's limit", maxMemoryMB)
	case network != nil && !isNetwork(*network):
		return "network", "must be none or egress"
	}
	return "", ""
}

func isNetwork(text string) bool {
	_, ok := faas.ParseNetwork(text)
	return ok
}
