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
	Cache      Part = "cache" // results that are kept; beside them, functions that run
	Callers    Part = "auth"  // what it costs to check who calls; beside it, nobody is checked
	Hooks      Part = "hooks" // what a hook adds to a declared route
	// Many is what has no cases: how many functions one host holds, and what they cost.
	Many Part = "many"
	// StatePart has no cases either: what databases and several machines cost.
	StatePart Part = "state"
)

// Parts lists every part.
func Parts() []Part {
	return []Part{JavaScript, Python, Wasm, Peers, Cache, Callers, Hooks, StatePart, Many}
}

// Title is what a report calls the part.
func (p Part) Title() string {
	return map[Part]string{
		JavaScript: "JavaScript", Python: "Python", Wasm: "WebAssembly",
		Peers: "Other function platforms", Cache: "Cached results", Callers: "Callers that are checked",
		Hooks:     "Hooks on routes",
		StatePart: "PostgreSQL, Redis and several machines", Many: "Many functions",
	}[p]
}

// reference is the case that the charts of a part measure the others by: what Envoy
// and the language cost without us, and among platforms ours.
func (p Part) reference() string {
	return map[Part]string{JavaScript: "b", Python: "pb", Wasm: "wd", Peers: "f", Cache: "ca", Callers: "f", Hooks: unhooked}[p]
}

// ParseParts reads parts separated by commas. No text means all of them.
func ParseParts(text string) ([]Part, error) {
	if text == "" {
		return Parts(), nil
	}
	var parts []Part
	for name := range strings.SplitSeq(text, ",") {
		if !slices.Contains(Parts(), Part(name)) {
			return nil, fmt.Errorf("there is no part %q: name js, python, wasm, peers, cache, auth, hooks, state or many", name)
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
	// Build: the same, of source that is compiled until initialize has answered.
	Build bool
	Most  time.Duration
}

// Cases lists every case in the order in which they are shown. The last letter of a
// key says the same in every part: a Envoy by itself, b behind Envoy, d alone, e our host
// alone (of cached results: ext_proc's), f through our Envoy, h cold, i cold where no
// worker is ready, r from source. Cached results are asked for by GET, x and p by POST.
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
		{Key: "h", Part: JavaScript, Name: "Envoke, one-shot of new code", Cold: true, Most: 10 * time.Millisecond},
		{Key: "i", Part: JavaScript, Name: "the same, no worker ready", Cold: true},

		{Key: "pb", Part: Python, Name: "Envoy → uvicorn"},
		{Key: "pd", Part: Python, Name: "uvicorn alone"},
		{Key: "gd", Part: Python, Name: "granian alone"},
		{Key: "pe", Part: Python, Name: "python host alone"},
		{Key: "pf", Part: Python, Name: "Envoke, plain execute of Python"},
		{Key: "ph", Part: Python, Name: "Envoke, one-shot of new Python", Cold: true, Most: 8 * time.Millisecond},
		{Key: "pi", Part: Python, Name: "the same, no worker ready", Cold: true},

		{Key: "wd", Part: Wasm, Name: "bare wazero alone"},
		{Key: "we", Part: Wasm, Name: "rust host alone"},
		{Key: "wf", Part: Wasm, Name: "Envoke, plain execute of a module"},
		{Key: "wh", Part: Wasm, Name: "Envoke, one-shot of a new module", Cold: true, Most: 6 * time.Millisecond},
		{Key: buildKey, Part: Wasm, Name: "Envoke, initialize of new Rust source", Build: true, Most: 1500 * time.Millisecond},

		{Key: "nb", Part: Peers, Name: "Envoy → functions-framework, Node.js"},
		{Key: "nd", Part: Peers, Name: "functions-framework, Node.js, alone"},
		{Key: "yb", Part: Peers, Name: "Envoy → functions-framework, Python"},
		{Key: "yd", Part: Peers, Name: "functions-framework, Python, alone"},
		{Key: "kb", Part: Peers, Name: "Envoy → workerd"},
		{Key: "kd", Part: Peers, Name: "workerd alone"},

		{Key: "ca", Part: Cache, Name: "Envoy, direct response to GET"},
		{Key: "cb", Part: Cache, Name: "Envoy → node:http, GET"},
		{Key: "cd", Part: Cache, Name: "workerd alone, GET"},
		{Key: "cf", Part: Cache, Name: "Envoke, GET answered by the filter"},
		{Key: "cx", Part: Cache, Name: "Envoke, execute answered by the filter"},
		{Key: "ce", Part: Cache, Name: "Envoke, GET answered by ext_proc"},
		{Key: "cp", Part: Cache, Name: "Envoke, execute answered by ext_proc"},

		{Key: byToken, Part: Callers, Name: "Envoke, plain execute by a token"},
		{Key: byAPIKey, Part: Callers, Name: "Envoke, plain execute by an API key"},
		{Key: byNobody, Part: Callers, Name: "Envoke, plain execute by nobody, who may"},

		{Key: unhooked, Part: Hooks, Name: "Envoke, route to node:http"},
		{Key: hookedBy, Part: Hooks, Name: "the same with a request hook in JavaScript"},
	}
}

// looped tells whether the case is measured in loops.
func (c Case) looped() bool { return !c.Cold && !c.Build }

// casesOf are the cases of some parts, and those that they are compared with.
func casesOf(parts []Part) []Case {
	compared := make(map[string]bool)
	for _, r := range ratiosOf(parts) {
		compared[r.Case], compared[r.Beside] = true, true
	}
	return slices.DeleteFunc(Cases(), func(c Case) bool { return !slices.Contains(parts, c.Part) && !compared[c.Key] })
}

func keysOf(cases []Case) []string {
	var keys []string
	for _, c := range cases {
		keys = append(keys, c.Key)
	}
	return keys
}
