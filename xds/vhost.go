package xds

import (
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"envoke/internal/routing"
)

// HostName is the name of a hostname's virtual host.
func HostName(hostname string) string { return RoutesName + "/" + hostname }

// everyHost is the virtual host of all that have none of their own.
const everyHost = "all"

// publicRoutes is the route table: the virtual host of all that have none of their own. The
// others come apart from it, so that a change of one is not one of all.
func publicRoutes(s State) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{
		Name:         RoutesName,
		VirtualHosts: []*routev3.VirtualHost{virtualHost(s, "", s.Routing.Routes)},
		Vhds:         &routev3.Vhds{ConfigSource: fromADS()},
		// Callers write the port that they call into Host.
		IgnorePortInHostMatching: true,
		ResponseHeadersToAdd:     hostHeaders(s.Listener),
		// Hosts drop what functions say in our headers; this is the second wall.
		// What a host says of caching, ext_proc takes away (see CacheableHeader).
		ResponseHeadersToRemove: []string{ClusterHeader, HashHeader, SessionHeader, FunctionHeader, CacheHeader, CallKeyHeader, KeepHeader},
	}
}

// byHost are a declaration's routes by hostname; those without one are under the empty one.
func byHost(r routing.Routing) map[string][]routing.Route {
	hosts := map[string][]routing.Route{}
	for _, route := range r.Routes {
		if len(route.Hostnames) == 0 {
			hosts[""] = append(hosts[""], route)
		}
		for _, name := range spelled(route.Hostnames) {
			hosts[name] = append(hosts[name], route)
		}
	}
	for _, name := range spelled(r.API.Hostnames) {
		if hosts[name] == nil {
			hosts[name] = []routing.Route{}
		}
	}
	return hosts
}

// spelled are hostnames in one spelling, each once.
func spelled(hostnames []string) (names []string) {
	for _, name := range hostnames {
		if name = strings.ToLower(name); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// onAPI tells whether a hostname serves the API. The empty one is all that no route names.
func onAPI(s State, hostname string) bool {
	if hostname == "" {
		return len(s.Routing.API.Hostnames) == 0
	}
	return slices.Contains(spelled(s.Routing.API.Hostnames), hostname)
}

// virtualHost is that of a hostname: the API's paths, if it serves them, then the rules of
// those routes.
func virtualHost(s State, hostname string, routes []routing.Route) *routev3.VirtualHost {
	host := &routev3.VirtualHost{Name: HostName(hostname), Domains: []string{hostname}}
	if hostname == "" {
		host.Name, host.Domains = everyHost, []string{"*"}
	}
	var declared []ranked
	for _, r := range routes {
		for n := range r.Rules {
			declared = append(declared, ruleRoutes(s, r, n)...)
		}
	}
	slices.SortStableFunc(declared, func(a, b ranked) int { return a.rank.compare(b.rank) })
	if onAPI(s, hostname) {
		host.TypedPerFilterConfig, host.ResponseHeadersToAdd = corsPolicy(s.Listener), routeHeaders(s.Listener)
		arrange(host, around(apiRoutes(s), declared), len(declared))
		return host
	}
	if strings.HasPrefix(hostname, "*") || hostname == "" { // others hold no comma
		declared = slices.Insert(declared, 0, ranked{route: doubledHost()})
	}
	arrange(host, declared, len(declared))
	return host
}

// around has declared routes follow the API's, but for what refuses all that is left.
func around(api []*routev3.Route, declared []ranked) []ranked {
	var all []ranked
	for _, r := range api {
		if r.GetName() == noRoute {
			break
		}
		all = append(all, ranked{route: r, prefix: prefixOf(r.GetMatch())})
	}
	rest := api[len(all):]
	all = append(all, declared...)
	for _, r := range rest {
		all = append(all, ranked{route: r})
	}
	return all
}

// prefixOf is with what every path begins that a route of the API matches.
func prefixOf(m *routev3.RouteMatch) string {
	switch {
	case m.GetPath() != "":
		return m.GetPath()
	case m.GetPrefix() != "":
		return m.GetPrefix()
	}
	return literalPrefix(m.GetSafeRegex().GetRegex())
}

// nobodysHost has a name that no host has (RFC 2606). An Envoy that asks for hosts, and gets
// none, waits for ever.
func nobodysHost() *routev3.VirtualHost {
	const name = "none.invalid"
	return &routev3.VirtualHost{Name: HostName(name), Domains: []string{name}}
}

// buildHost is a hostname's virtual host as Envoy gets it, apart from others.
func buildHost(s State, hostname string, routes []routing.Route) (*item, error) {
	for _, r := range routes {
		if err := checkRoute(r); err != nil {
			return nil, err
		}
	}
	host := virtualHost(s, hostname, routes)
	return newItem(virtualHostType, host.GetName(), host)
}
