package routing

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func parsed(t *testing.T, document string) Routing {
	t.Helper()
	r, faults := ParseAll(Checks{}, Text{Raw: []byte(document)})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return r
}

func names(r Routing) (all string) {
	for _, u := range r.Upstreams {
		all += " " + u.Name
	}
	for _, route := range r.Routes {
		all += " " + route.Name + "/" + strings.Join(route.Hostnames, ",")
	}
	return strings.TrimSpace(all)
}

// TestSources: all are served together, of a name that is there twice the first, and what is
// refused changes nothing.
func TestSources(t *testing.T) {
	changed := 0
	s := NewSources(func() { changed++ })
	route := func(name, host string) Route {
		return Route{Name: name, Hostnames: []string{host}, Rules: []Rule{{}}}
	}
	s.Set(FromKubernetes, Routing{Routes: []Route{route("a", "k"), route("k", "k")}}, []Fault{{Field: "prod/x", Message: "is odd"}})
	s.Set(FromAPI, Routing{Upstreams: []Upstream{{Name: "u"}}, Routes: []Route{route("a", "api")}, API: API{Hostnames: []string{"one"}}}, nil)
	if got := names(s.Merged()); got != "u a/api k/k" {
		t.Errorf("it is %s", got)
	}
	s.Set(FromFile, Routing{Routes: []Route{route("a", "file")}, API: API{Hostnames: []string{"two"}}}, nil)
	if got := names(s.Merged()); got != "u a/file k/k" || s.Merged().API.Hostnames[0] != "two" {
		t.Errorf("it is %s", got)
	}
	if changed != 3 {
		t.Errorf("%d changes were told", changed)
	}
	s.Refuse(FromFile, []Fault{{File: "f", Line: 1, Column: 2, Message: "is wrong"}})
	if got := names(s.Merged()); got != "u a/file k/k" || changed != 3 {
		t.Errorf("after a refusal it is %s, after %d changes", got, changed)
	}
	var told []string
	for _, status := range s.Status() {
		line := status.Source
		if status.Refused {
			line += " refused"
		}
		parts := []string{line}
		for _, f := range status.Faults {
			parts = append(parts, f.Error())
		}
		told = append(told, strings.Join(parts, "; "))
	}
	if diff := cmp.Diff([]string{
		"file refused; f:1:2: is wrong",
		"api; api: is declared by the source file too, whose words count; routes: route \"a\" is declared by the source file too, whose words count",
		"kubernetes; prod/x: is odd; routes: route \"a\" is declared by the source file too, whose words count",
	}, told); diff != "" {
		t.Error(diff)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	const want = `# HELP envoke_routing_refused 1 where what a source declares now has faults, and what it declared before is served.
# TYPE envoke_routing_refused gauge
envoke_routing_refused{source="api"} 0
envoke_routing_refused{source="file"} 1
envoke_routing_refused{source="kubernetes"} 0
# HELP envoke_routing_refusals_total How often what a source declares was not taken, since it has faults.
# TYPE envoke_routing_refusals_total counter
envoke_routing_refusals_total{source="api"} 0
envoke_routing_refusals_total{source="file"} 1
envoke_routing_refusals_total{source="kubernetes"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "envoke_routing_refused", "envoke_routing_refusals_total"); err != nil {
		t.Error(err)
	}
	s.Set(FromFile, Routing{Listeners: []Listener{{Name: "a", Port: 80}}}, nil)
	s.Set(FromKubernetes, Routing{Listeners: []Listener{{Name: "b", Port: 80}, {Name: "c", Port: 81}}}, nil)
	if got := s.Merged().Listeners; len(got) != 2 || got[0].Name != "a" || got[1].Name != "c" {
		t.Errorf("the listeners are %+v", got)
	}
	if got := s.Status()[2].Faults; len(got) != 1 || got[0].Field != "listeners: port 80" {
		t.Errorf("the faults are %+v", got)
	}
	s.Set(FromKubernetes, Routing{Routes: []Route{route("k", "k")}}, nil)
	s.Set(FromFile, Routing{}, nil)
	if got := names(s.Merged()); got != "u a/api k/k" {
		t.Errorf("without the file it is %s", got)
	}
}

// TestDiff: what changes is told by name and field, whatever the order.
func TestDiff(t *testing.T) {
	before := parsed(t, `
upstreams: [{name: a}, {name: b, connectTimeout: 1s}, {name: c, endpoints: [{host: x, port: 1}]}]
routes: [{name: r, hostnames: [h], rules: [{timeouts: {request: 10s}, backendRefs: [{name: a}]}]}]
`)
	after := parsed(t, `
defaults: {retry: {attempts: 2}}
routes: [{name: s, rules: [{}]}, {name: r, hostnames: [h, i], rules: [{timeouts: {request: 20s}, backendRefs: [{name: c, weight: 0}]}]}]
upstreams: [{name: c, endpoints: [{host: x, port: 2}], tls: {hostname: x}}, {name: b, connectTimeout: 1s}]
listeners: [{name: l, port: 80, protocol: HTTP}]
`)
	var text strings.Builder
	WriteChanges(&text, Diff(before, after))
	if diff := cmp.Diff(`~ defaults
    + retry: {"attempts":2}
+ listener l
- upstream a
~ upstream c
    ~ endpoints[0].port: 1 -> 2
    + tls: {"hostname":"x"}
~ route r
    + hostnames[1]: "i"
    ~ rules[0].backendRefs[0].name: "a" -> "c"
    + rules[0].backendRefs[0].weight: 0
    ~ rules[0].timeouts.request: "10s" -> "20s"
+ route s
`, text.String()); diff != "" {
		t.Error(diff)
	}
	if changes := Diff(after, after); len(changes) != 0 {
		t.Errorf("nothing changes: %+v", changes)
	}
}
