package bench

import "slices"

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

// comparisons are the ratios that a report shows. The targets are those of the design:
// what a path without a controller hop has to be worth.
var comparisons = []Ratio{
	{Case: "f", Beside: "b", Part: JavaScript, Target: 0.78, Means: "plain execute / what Envoy alone costs"},
	{Case: "f", Beside: "c", Part: JavaScript, Target: 1.8, Means: "plain execute / the controller hop"},
	{Case: "f", Beside: "u", Part: JavaScript, Means: "plain execute / the hop over Unix sockets"},
	{Case: "g", Beside: "b", Part: JavaScript, Target: 0.38, Means: "through ext_proc / what Envoy alone costs"},
	{Case: "e", Beside: "d", Part: JavaScript, Target: 0.8, Means: "nodejs host / node:http, no Envoy"},
	{Case: "g", Beside: "f", Part: JavaScript, Means: "through ext_proc / plain execute"},
	{Case: "c", Beside: "b", Part: JavaScript, Means: "the controller hop / what Envoy alone costs"},
	{Case: "b", Beside: "d", Part: JavaScript, Means: "Envoy → node:http / node:http"},

	{Case: "pf", Beside: "pb", Part: Python, Target: 0.78, Means: "plain execute / Envoy → uvicorn"},
	{Case: "pe", Beside: "pd", Part: Python, Target: 1.3, Means: "python host / uvicorn, no Envoy"},
	{Case: "pe", Beside: "gd", Part: Python, Means: "python host / granian, no Envoy"},

	{Case: "we", Beside: "wd", Part: Wasm, Target: 0.7, Means: "rust host / bare wazero, no Envoy"},
	{Case: "wf", Beside: "we", Part: Wasm, Means: "plain execute / rust host alone"},

	{Case: "e", Beside: "nd", Part: Peers, Target: 5, Means: "nodejs host / functions-framework, no Envoy"},
	{Case: "f", Beside: "nb", Part: Peers, Target: 4, Means: "plain execute / Envoy → functions-framework"},
	{Case: "pe", Beside: "yd", Part: Peers, Target: 5, Means: "python host / functions-framework, no Envoy"},
	{Case: "pf", Beside: "yb", Part: Peers, Target: 4, Means: "plain execute / Envoy → functions-framework"},
	{Case: "e", Beside: "kd", Part: Peers, Means: "nodejs host / workerd, no Envoy"},
	{Case: "f", Beside: "kb", Part: Peers, Means: "plain execute / Envoy → workerd"},

	{Case: "cf", Beside: "ca", Part: Cache, Target: 0.5, Means: "GET by the filter / Envoy's direct response"},
	{Case: "cf", Beside: "cd", Part: Cache, Target: 2, Means: "GET by the filter / workerd that computes it"},
	{Case: "ce", Beside: "cb", Part: Cache, Target: 0.7, Means: "GET by ext_proc / what Envoy alone costs"},
	{Case: "cx", Beside: "a", Part: Cache, Means: "execute by the filter / Envoy's direct response"},
	{Case: "cp", Beside: "b", Part: Cache, Means: "execute by ext_proc / what Envoy alone costs"},

	{Case: byToken, Beside: "f", Part: Callers, Target: 0.85, Means: "plain execute by a token / with nobody checked"},
	{Case: byAPIKey, Beside: "f", Part: Callers, Means: "plain execute by an API key / with nobody checked"},
	{Case: byNobody, Beside: "f", Part: Callers, Means: "plain execute by nobody / with nobody checked"},

	{Case: hookedBy, Beside: unhooked, Part: Hooks, Means: "with a request hook / the same route without it"},
}

// Difference compares the median latency of two cases with one connection, where
// nothing waits in a queue: what a way through Envoke adds.
type Difference struct {
	Case   string `json:"case"`
	Beside string `json:"beside"`
	Means  string `json:"means"`
	Part   Part   `json:"part"`
	// Most is the greatest median that the design asks for, in ms; 0 where it asks for
	// none.
	Most   float64 `json:"most_ms,omitempty"`
	Missed bool    `json:"missed"`
	P50    Spread  `json:"p50_ms"`
}

var differences = []Difference{
	{Case: "g", Beside: "f", Part: JavaScript, Most: 0.5, Means: "what ext_proc adds to plain execute"},
	{Case: "c", Beside: "b", Part: JavaScript, Means: "what the controller hop adds to Envoy alone"},
	{Case: "f", Beside: "b", Part: JavaScript, Means: "what plain execute adds to Envoy alone"},
	{Case: byAPIKey, Beside: "f", Part: Callers, Most: 0.3, Means: "what an API key adds to plain execute"},
	{Case: byToken, Beside: "f", Part: Callers, Means: "what a token adds to plain execute"},
	{Case: hookedBy, Beside: unhooked, Part: Hooks, Most: 1, Means: "what a request hook adds to a route"},
}

// missed tells whether a target is not met, or was not measured.
func (d Difference) missed() bool { return d.Most > 0 && (d.P50 == Spread{} || d.P50.Median > d.Most) }

// ratiosOf are the comparisons of some parts.
func ratiosOf(parts []Part) []Ratio {
	return slices.DeleteFunc(slices.Clone(comparisons), func(r Ratio) bool { return !slices.Contains(parts, r.Part) })
}

func differencesOf(parts []Part) []Difference {
	return slices.DeleteFunc(slices.Clone(differences), func(d Difference) bool { return !slices.Contains(parts, d.Part) })
}
