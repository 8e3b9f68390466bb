package xds

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"envoke/internal/faas"
)

func readTree(t *testing.T, text string) (out tree) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAttach: hooks are asked on what they are for and nowhere else, and the order stays.
func TestAttach(t *testing.T) {
	asking := tree{"typedPerFilterConfig": tree{"hook": "x"}}
	for _, test := range []struct{ name, routes, path, kind, want string }{
		{
			"a part of a route", "[{match: {prefix: /}, route: {cluster: a}}]", "/orders", pathSeparated,
			"[{match: {path_separated_prefix: /orders}, route: {cluster: a}, typed_per_filter_config: {hook: x}}, {match: {prefix: /}, route: {cluster: a}}]",
		},
		{
			"the route itself", "[{match: {prefix: /}, route: {cluster: a}, typed_per_filter_config: {own: y}}]", "/", pathPrefix,
			"[{match: {prefix: /}, route: {cluster: a}, typed_per_filter_config: {own: y, hook: x}}]",
		},
		{
			"routes within and around", "[{match: {path: /orders/special}, route: {cluster: a}}, {match: {prefix: /static}, route: {cluster: b}}, {match: {prefix: /}, route: {cluster: c}}]", "/orders", pathSeparated,
			"[{match: {path: /orders/special}, route: {cluster: a}, typed_per_filter_config: {hook: x}}, {match: {prefix: /static}, route: {cluster: b}}, {match: {path_separated_prefix: /orders}, route: {cluster: c}, typed_per_filter_config: {hook: x}}, {match: {prefix: /}, route: {cluster: c}}]",
		},
		{
			"a prefix that is rewritten", "[{match: {prefix: /shop/}, route: {cluster: a, prefixRewrite: /v2/}}]", "/shop/orders", pathSeparated,
			"[{match: {path_separated_prefix: /shop/orders}, route: {cluster: a, prefixRewrite: /v2/orders}, typed_per_filter_config: {hook: x}}, {match: {prefix: /shop/}, route: {cluster: a, prefixRewrite: /v2/}}]",
		},
		{
			"other conditions stay", "[{match: {prefix: /, headers: [{name: a}]}, route: {cluster: a}}, {match: {prefix: /}, route: {cluster: b}}]", "/x", pathExact,
			"[{match: {path: /x, headers: [{name: a}]}, route: {cluster: a}, typed_per_filter_config: {hook: x}}, {match: {prefix: /, headers: [{name: a}]}, route: {cluster: a}}, {match: {path: /x}, route: {cluster: b}, typed_per_filter_config: {hook: x}}, {match: {prefix: /}, route: {cluster: b}}]",
		},
		{"nothing", "[{match: {prefix: /a}, route: {cluster: a}}]", "/b", pathSeparated, ""},
		{"a regex", "[{match: {safe_regex: {regex: /b.*}}, route: {cluster: a}}]", "/b", pathSeparated, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			host := readTree(t, "routes: "+test.routes)
			err := attachAt(host, pathRange{test.path, test.kind}, asking)
			if test.want == "" {
				if err == nil {
					t.Errorf("no error, but %v", host)
				}
				return
			}
			if diff := cmp.Diff(readTree(t, "routes: "+test.want), host); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestPathRanges(t *testing.T) {
	exactly, before, segments := func(p string) pathRange { return pathRange{p, pathExact} }, prefixMatch, func(p string) pathRange { return pathRange{p, pathSeparated} }
	for _, test := range []struct {
		a, b pathRange
		want bool
	}{
		{before("/"), segments("/a"), true},
		{before("/a"), segments("/ab"), true},
		{segments("/a"), before("/a"), false}, // which has /ab too
		{segments("/a"), before("/a/"), true},
		{segments("/a"), before("/a/b"), true},
		{segments("/a"), segments("/a/b"), true},
		{segments("/a"), segments("/ab"), false},
		{segments("/a"), exactly("/a"), true},
		{exactly("/a"), exactly("/a"), true},
		{exactly("/a"), segments("/a"), false},
	} {
		if got := test.a.holds(test.b); got != test.want {
			t.Errorf("%v holds %v: %v", test.a, test.b, got)
		}
	}
}

// TestIncludeKeepsWhatItDoesNotKnow: other people's extensions come out as they went in.
func TestIncludeKeepsWhatItDoesNotKnow(t *testing.T) {
	const bootstrap = `
staticResources:
  listeners:
  - name: a
    filterChains:
    - filters:
      - name: hcm
        typedConfig:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          httpFilters: [{name: theirs, typedConfig: {"@type": type.googleapis.com/acme.Filter, deep: {n: 1}}}, {name: router}]
          routeConfig: {virtualHosts: [{name: v, domains: [shop.example], routes: [{match: {prefix: /}, route: {cluster: a}}]}]}
  - name: b
    filterChains: [{filters: [{name: hcm, typedConfig: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, rds: {routeConfigName: r}}}]}]
  clusters: [{name: a}]
`
	got := readTree(t, bootstrap)
	state := State{MaxTimeout: time.Second, Runtimes: []Runtime{{Language: faas.NodeJS, Endpoints: []Endpoint{{Path: "/run/nodejs.sock"}}}}}
	if err := yaml.Unmarshal([]byte(`{routes: [{name: r, hostnames: [shop.example], rules: [{matches: [{path: {value: /f}}], backendRefs: [{kind: Function, name: nodejs-f}]}]}]}`), &state.Routing); err != nil {
		t.Fatal(err)
	}
	if err := Include(got, state); err != nil {
		t.Fatal(err)
	}
	resources := got["staticResources"].(tree)
	if n := len(resources["clusters"].([]any)); n != 2 {
		t.Errorf("%d clusters", n)
	}
	manager := httpManagers(got)[0]
	want := httpManagers(readTree(t, bootstrap))[0]
	if diff := cmp.Diff(want["httpFilters"], manager["httpFilters"]); diff != "" {
		t.Error(diff)
	}
	routes := virtualHosts(manager, nil)[0]["routes"].([]any)
	if len(routes) != 2 || routes[1].(tree)["match"].(tree)["prefix"] != "/" || manager["early_header_mutation_extensions"] == nil {
		t.Errorf("%v", manager)
	}
	if err := Include(got, state); err == nil {
		t.Error("an include that is there already is put in again")
	}
}
