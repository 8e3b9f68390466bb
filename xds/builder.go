package xds

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"envoke/internal/routing"
)

const virtualHostType = resourcev3.VirtualHostType

// builder makes snapshots of states, and keeps what it made of their parts: what is the same
// in the next state is not made, checked and hashed again. What it returns depends on the
// state alone. It belongs to one goroutine at a time.
type builder struct {
	base      basePart
	upstreams map[string]upstreamPart // by name
	hosts     map[string]hostPart     // by hostname
	around    State                   // with which hosts were built
}

type basePart struct {
	of    State
	items []*item
}

type upstreamPart struct {
	of    routing.Upstream
	items []*item
}

type hostPart struct {
	of   []routing.Route
	item *item
}

// build is Build, of what changed.
func (b *builder) build(state State) (*Snapshot, error) {
	s := state.normal()
	hosts := byHost(s.Routing)
	c := newCollection()
	c.faults = append(c.faults, checkNames(s.Routing), s.checkHooks())
	b.buildBase(state, s, hosts[""], c)
	b.buildUpstreams(s, c)
	b.buildHosts(s, hosts, c)
	if err := errors.Join(c.faults...); err != nil {
		return nil, fmt.Errorf("build Envoy's configuration: %w", err)
	}
	snapshot := newSnapshot(c.items)
	snapshot.filter = digest(s.Filter)
	if err := snapshot.check(); err != nil {
		return nil, fmt.Errorf("build Envoy's configuration: %w", explain(s, err))
	}
	return snapshot, nil
}

// buildBase makes all but upstreams and the hosts of their own.
func (b *builder) buildBase(given, s State, routes []routing.Route, c *collection) {
	of := s
	of.Routing.Upstreams, of.Routing.Routes = nil, routes
	if b.base.items == nil || !sameBase(b.base.of, of) {
		faults := []error{given.check()}
		for _, r := range routes {
			faults = append(faults, checkRoute(r))
		}
		if err := errors.Join(faults...); err != nil {
			c.faults = append(c.faults, err)
			return
		}
		made := baseItems(of)
		if c.faults = append(c.faults, made.faults...); len(made.faults) > 0 {
			return
		}
		b.base = basePart{of, made.all()}
	}
	c.add(b.base.items...)
}

func baseItems(s State) *collection {
	c := newCollection()
	addAll(c, virtualHostType, []*routev3.VirtualHost{nobodysHost()})
	addAll(c, resourcev3.ListenerType, append(listeners(s), declaredListeners(s)...))
	addAll(c, resourcev3.RouteType, []*routev3.RouteConfiguration{publicRoutes(s)})
	clusters, assignments := ownClusters(s)
	addAll(c, resourcev3.ClusterType, clusters)
	for _, a := range assignments {
		c.make(resourcev3.EndpointType, a.GetClusterName(), a)
	}
	addAll(c, resourcev3.ExtensionConfigType, append(authConfigs(s), filters(s)...))
	addAll(c, resourcev3.SecretType, append(secrets(s.Listener.TLS), declaredSecrets(s)...))
	return c
}

func (b *builder) buildUpstreams(s State, c *collection) {
	next := make(map[string]upstreamPart, len(s.Routing.Upstreams))
	for _, u := range s.Routing.Upstreams {
		if own := s.ownSocket(u); own != "" {
			c.faults = append(c.faults, fmt.Errorf("upstream %q: %s is a socket of Envoke's own parts", u.Name, own))
			continue
		}
		part, found := b.upstreams[u.Name]
		if !found || !sameUpstream(part.of, u) {
			items, err := checkedUpstream(u)
			if err != nil {
				c.faults = append(c.faults, fmt.Errorf("upstream %q: %w", u.Name, err))
				continue
			}
			part = upstreamPart{u, items}
		}
		next[u.Name] = part
		c.add(part.items...)
	}
	b.upstreams = next
}

func checkedUpstream(u routing.Upstream) ([]*item, error) {
	if err := checkUpstream(u); err != nil {
		return nil, err
	}
	return buildUpstream(u)
}

func (b *builder) buildHosts(s State, hosts map[string][]routing.Route, c *collection) {
	around := aroundHosts(s)
	same := reflect.DeepEqual(b.around, around)
	next := make(map[string]hostPart, len(hosts))
	for hostname, routes := range hosts {
		if hostname == "" {
			continue
		}
		part, found := b.hosts[hostname]
		if !found || !same || !slices.EqualFunc(part.of, routes, sameRoute) {
			built, err := buildHost(around, hostname, routes)
			if err != nil {
				c.faults = append(c.faults, err)
				continue
			}
			part = hostPart{routes, built}
		}
		next[hostname] = part
		c.add(part.item)
	}
	b.hosts, b.around = next, around
}

// aroundHosts is all of a state but what hosts do not depend on: above all the endpoints of
// runtimes, which come and go.
func aroundHosts(s State) State {
	s.Routing.Upstreams, s.Routing.Routes, s.Routing.Listeners = nil, nil, nil
	s.Filter, s.FilterGeneration, s.FilterSlots, s.AccessLog = nil, 0, 0, ""
	s.Listener.TLS.Chain, s.Listener.TLS.Key = "", ""
	if len(s.Routing.API.Hostnames) == 0 { // else a route of the API depends on them
		s.Runtimes = slices.Clone(s.Runtimes)
		for n := range s.Runtimes {
			s.Runtimes[n].Endpoints, s.Runtimes[n].GRPC = nil, nil
		}
	}
	return s
}

func sameBase(a, b State) bool {
	if !slices.EqualFunc(a.Routing.Routes, b.Routing.Routes, sameRoute) {
		return false
	}
	a.Routing.Routes, b.Routing.Routes = nil, nil
	return reflect.DeepEqual(a, b)
}

// sameRoute looks at what a route says only where it is not the very same: sources keep the
// routes that did not change.
func sameRoute(a, b routing.Route) bool {
	if a.Name != b.Name || !slices.Equal(a.Hostnames, b.Hostnames) {
		return false
	}
	return sameSlice(a.Rules, b.Rules) || reflect.DeepEqual(a.Rules, b.Rules)
}

func sameUpstream(a, b routing.Upstream) bool {
	endpoints := sameSlice(a.Endpoints, b.Endpoints) || slices.Equal(a.Endpoints, b.Endpoints)
	a.Endpoints, b.Endpoints = nil, nil
	return endpoints && reflect.DeepEqual(a, b)
}

func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
