package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Part is a group of cases that can be measured without the others.
type Part string

// The parts.
const (
	JavaScript Part = "js"
	Python     Part = "python"
	Wasm       Part = "wasm"
	Peers      Part = "peers" // other function platforms; beside them, ours
)

// Parts lists every part.
func Parts() []Part { return []Part{JavaScript, Python, Wasm, Peers} }

// ParseParts reads parts separated by commas. No text means all of them.
func ParseParts(text string) ([]Part, error) {
	if text == "" {
		return Parts(), nil
	}
	var parts []Part
	for name := range strings.SplitSeq(text, ",") {
		if !slices.Contains(Parts(), Part(name)) {
			return nil, fmt.Errorf("there is no part %q: name js, python, wasm or peers", name)
		}
		parts = append(parts, Part(name))
	}
	return parts, nil
}

// Case is one way of answering.
type Case struct {
	Key  string
	Name string
	Part Part
	// Cold: every request brings code that nobody has seen before. Its median latency
	// is at most Most, where the design asks for that.
	Cold bool
	Most time.Duration
}

// Cases lists every case in the order in which they are shown. The last letter of a
// key says the same in every part: b behind Envoy, d alone, e our host alone, f through
// our Envoy, h cold.
func Cases() []Case {
	return []Case{
		{Key: "a", Part: JavaScript, Name: "Envoy, direct response"},
		{Key: "b", Part: JavaScript, Name: "Envoy → node:http"},
		{Key: "c", Part: JavaScript, Name: "Envoy → Go reverse proxy → node:http"},
		{Key: "u", Part: JavaScript, Name: "the same over Unix sockets"},
		{Key: "d", Part: JavaScript, Name: "node:http alone"},
		{Key: "e", Part: JavaScript, Name: "nodejs host alone"},
		{Key: "f", Part: JavaScript, Name: "Envoke, plain execute"},
		{Key: "g", Part: JavaScript, Name: "Envoke, execute through ext_proc"},
		{Key: "h", Part: JavaScript, Name: "Envoke, one-shot of new code", Cold: true, Most: 15 * time.Millisecond},

		{Key: "pb", Part: Python, Name: "Envoy → uvicorn"},
		{Key: "pd", Part: Python, Name: "uvicorn alone"},
		{Key: "pe", Part: Python, Name: "python host alone"},
		{Key: "pf", Part: Python, Name: "Envoke, plain execute of Python"},
		{Key: "ph", Part: Python, Name: "Envoke, one-shot of new Python", Cold: true, Most: 12 * time.Millisecond},

		{Key: "wd", Part: Wasm, Name: "bare wazero alone"},
		{Key: "we", Part: Wasm, Name: "rust host alone"},
		{Key: "wf", Part: Wasm, Name: "Envoke, plain execute of a module"},
		{Key: "wh", Part: Wasm, Name: "Envoke, one-shot of a new module", Cold: true, Most: 10 * time.Millisecond},

		{Key: "nb", Part: Peers, Name: "Envoy → functions-framework, Node.js"},
		{Key: "nd", Part: Peers, Name: "functions-framework, Node.js, alone"},
		{Key: "yb", Part: Peers, Name: "Envoy → functions-framework, Python"},
		{Key: "yd", Part: Peers, Name: "functions-framework, Python, alone"},
		{Key: "kb", Part: Peers, Name: "Envoy → workerd"},
		{Key: "kd", Part: Peers, Name: "workerd alone"},
	}
}

// Ratio compares the requests a second of two cases, and the CPU time of a request
// in all processes but the load generator. The latter is the steadier figure where
// other programs run too.
type Ratio struct {
	Case   string `json:"case"`
	Beside string `json:"beside"`
	Means  string `json:"means"`
	Part   Part   `json:"part"`
	// Target is the least median at 32 connections that the design asks for; 0
	// where it asks for none.
	Target    float64 `json:"target,omitempty"`
	Missed    bool    `json:"missed"`
	ThirtyTwo Spread  `json:"connections_32"`
	One       Spread  `json:"connections_1"`
	CPU       Spread  `json:"cpu_connections_32"`
}

// comparisons are what a report shows. The targets are those of the design: what
// a path without a controller hop has to be worth.
var comparisons = []Ratio{
	{Case: "f", Beside: "b", Part: JavaScript, Target: 0.7, Means: "plain execute / what Envoy alone costs"},
	{Case: "f", Beside: "c", Part: JavaScript, Target: 1.6, Means: "plain execute / the controller hop"},
	{Case: "f", Beside: "u", Part: JavaScript, Means: "plain execute / the hop over Unix sockets"},
	{Case: "g", Beside: "b", Part: JavaScript, Target: 0.38, Means: "through ext_proc / what Envoy alone costs"},
	{Case: "e", Beside: "d", Part: JavaScript, Target: 0.7, Means: "nodejs host / node:http, no Envoy"},
	{Case: "g", Beside: "f", Part: JavaScript, Means: "through ext_proc / plain execute"},
	{Case: "c", Beside: "b", Part: JavaScript, Means: "the controller hop / what Envoy alone costs"},
	{Case: "b", Beside: "d", Part: JavaScript, Means: "Envoy → node:http / node:http"},

	{Case: "pf", Beside: "pb", Part: Python, Target: 0.7, Means: "plain execute / Envoy → uvicorn"},
	{Case: "pe", Beside: "pd", Part: Python, Target: 1.2, Means: "python host / uvicorn, no Envoy"},

	{Case: "we", Beside: "wd", Part: Wasm, Target: 0.6, Means: "rust host / bare wazero, no Envoy"},
	{Case: "wf", Beside: "we", Part: Wasm, Means: "plain execute / rust host alone"},

	{Case: "e", Beside: "nd", Part: Peers, Target: 4, Means: "nodejs host / functions-framework, no Envoy"},
	{Case: "f", Beside: "nb", Part: Peers, Target: 4, Means: "plain execute / Envoy → functions-framework"},
	{Case: "pe", Beside: "yd", Part: Peers, Target: 4, Means: "python host / functions-framework, no Envoy"},
	{Case: "pf", Beside: "yb", Part: Peers, Target: 4, Means: "plain execute / Envoy → functions-framework"},
	{Case: "e", Beside: "kd", Part: Peers, Means: "nodejs host / workerd, no Envoy"},
	{Case: "f", Beside: "kb", Part: Peers, Means: "plain execute / Envoy → workerd"},
}

// ratiosOf are the comparisons of some parts.
func ratiosOf(parts []Part) []Ratio {
	return slices.DeleteFunc(slices.Clone(comparisons), func(r Ratio) bool { return !slices.Contains(parts, r.Part) })
}

// casesOf are the cases of some parts, and those that they are compared with.
func casesOf(parts []Part) []Case {
	compared := make(map[string]bool)
	for _, r := range ratiosOf(parts) {
		compared[r.Case], compared[r.Beside] = true, true
	}
	return slices.DeleteFunc(Cases(), func(c Case) bool { return !slices.Contains(parts, c.Part) && !compared[c.Key] })
}
