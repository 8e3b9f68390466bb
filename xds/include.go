package xds

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"envoke/internal/faas"
	"envoke/internal/routing"
)

// An Envoy that is somebody else's has a static bootstrap, and Envoy knows no include: Include
// is it. It works on the bootstrap as the tree that its YAML is, and not as messages, so that
// what it does not know (other people's filters) comes out as it went in.

// tree is an object of the bootstrap.
type tree = map[string]any

// Include puts functions and hooks into the bootstrap of an Envoy that is not ours: the routes
// that s.Routing declares to functions, and hooks, whose rules have no backendRefs, on the
// routes that are there. Everything else stays. Of the state only Routing, Runtimes and
// MaxTimeout count. The bootstrap is changed in place; after an error it is of no use.
func Include(bootstrap tree, s State) error {
	if err := s.checkInclude(); err != nil {
		return err
	}
	managers := httpManagers(bootstrap)
	if len(managers) == 0 {
		return errors.New("no listener in static_resources has an http_connection_manager with a route_config of its own: routes that come by RDS are for who serves them")
	}
	in := &included{state: s, languages: map[faas.Language]bool{}}
	for _, route := range s.Routing.Routes {
		found := false
		for _, manager := range managers {
			for _, host := range virtualHosts(manager, route.Hostnames) {
				found = true
				if err := in.addTo(host, route); err != nil {
					return fmt.Errorf("route %q: %w", route.Name, err)
				}
			}
		}
		if !found {
			return fmt.Errorf("route %q: no virtual host of the bootstrap has a domain of its hostnames %v", route.Name, route.Hostnames)
		}
	}
	for _, manager := range managers {
		if err := in.prepare(manager); err != nil {
			return err
		}
	}
	return in.addClusters(bootstrap)
}

// checkInclude refuses what has no place in another's bootstrap.
func (s State) checkInclude() error {
	var faults []error
	wrong := func(is bool, text string) {
		if is {
			faults = append(faults, errors.New(text))
		}
	}
	wrong(len(s.Routing.Routes) == 0, "routes is empty: there is nothing to include")
	wrong(len(s.Routing.Upstreams) > 0, "upstreams are not included: the bootstrap has its own clusters")
	wrong(len(s.Routing.Listeners) > 0, "listeners are not included: the bootstrap has its own")
	wrong(s.MaxTimeout <= 0, "max_timeout is not positive")
	for _, r := range s.Runtimes {
		faults = append(faults, r.check())
	}
	return errors.Join(faults...)
}

// included is what has been put in so far.
type included struct {
	state     State
	languages map[faas.Language]bool // whose hosts are called
	hooks     bool                   // some route has hooks
}

// addTo puts a route's rules into a virtual host: functions in front of what is there, in the
// order in which they are declared.
func (in *included) addTo(host tree, route routing.Route) error {
	var front []any
	for n, rule := range route.Rules {
		name := fmt.Sprintf("envoke/%s/%d", route.Name, n)
		if rule.Access.Public || len(rule.Access.Scopes) > 0 {
			return fmt.Errorf("rules[%d]: access is not included: the bootstrap's own filters say who may call", n)
		}
		if len(rule.BackendRefs) == 0 {
			if err := in.attach(host, name, rule); err != nil {
				return fmt.Errorf("rules[%d]: %w", n, err)
			}
			continue
		}
		routes, err := in.functionRoutes(name, rule)
		if err != nil {
			return fmt.Errorf("rules[%d]: %w", n, err)
		}
		front = append(front, routes...)
	}
	list, _ := child(host, "routes").([]any)
	setChild(host, "routes", append(front, list...))
	return nil
}

// prepare has a connection manager take away what callers may not say to hosts, and ask the
// hooks: just before its router, so that its own filters come first.
func (in *included) prepare(manager tree) error {
	strip, err := treeOf(extension("envoy.http.early_header_mutation.header_mutation", stripOurs()))
	if err != nil {
		return err
	}
	early, _ := child(manager, "early_header_mutation_extensions").([]any)
	setChild(manager, "early_header_mutation_extensions", append([]any{strip}, early...))
	if !in.hooks {
		return nil
	}
	filters, _ := child(manager, "http_filters").([]any)
	if len(filters) == 0 {
		return errors.New("an http_connection_manager has no http_filters")
	}
	place, err := treeOf(hookChain())
	if err != nil {
		return err
	}
	setChild(manager, "http_filters", slices.Insert(filters, len(filters)-1, any(place)))
	return nil
}

// addClusters adds the hosts of the languages that are called.
func (in *included) addClusters(bootstrap tree) error {
	resources, _ := child(bootstrap, "static_resources").(tree)
	clusters, _ := child(resources, "clusters").([]any)
	names := map[string]bool{}
	for _, c := range clusters {
		if c, ok := c.(tree); ok {
			name, _ := c["name"].(string)
			names[name] = true
		}
	}
	for _, r := range in.state.normal().Runtimes {
		if !in.languages[r.Language] {
			continue
		}
		for _, c := range in.clustersOf(r) {
			if names[c.GetName()] {
				return fmt.Errorf("the bootstrap has a cluster %q already", c.GetName())
			}
			added, err := treeOf(c)
			if err != nil {
				return err
			}
			clusters = append(clusters, added)
		}
	}
	setChild(resources, "clusters", clusters)
	return nil
}

// clustersOf are the hosts of a language, at addresses that stay: nobody tells this Envoy of
// others.
func (in *included) clustersOf(r Runtime) (all []*clusterv3.Cluster) {
	fixed := func(c *clusterv3.Cluster, to []Endpoint) *clusterv3.Cluster {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
		c.LoadAssignment = loadAssignment(c.GetName(), to...)
		c.OutlierDetection = unreachable()
		return patient(c, to)
	}
	all = append(all, fixed(cluster(RuntimeCluster(r.Language), http1()), r.Endpoints))
	if in.hooks && len(r.GRPC) > 0 {
		all = append(all, fixed(cluster(grpcCluster(r.Language), http2()), r.GRPC))
	}
	return all
}

// httpManagers are the HTTP connection managers that have their routes with them.
func httpManagers(bootstrap tree) (managers []tree) {
	resources, _ := child(bootstrap, "static_resources").(tree)
	for listener := range objects(resources, "listeners") {
		chains := slices.Collect(objects(listener, "filter_chains"))
		if chain, ok := child(listener, "default_filter_chain").(tree); ok {
			chains = append(chains, chain)
		}
		for _, chain := range chains {
			for filter := range objects(chain, "filters") {
				config, _ := child(filter, "typed_config").(tree)
				kind, _ := config["@type"].(string)
				_, inline := child(config, "route_config").(tree)
				if inline && strings.HasSuffix(kind, "/"+string((*hcmv3.HttpConnectionManager)(nil).ProtoReflect().Descriptor().FullName())) {
					managers = append(managers, config)
				}
			}
		}
	}
	return managers
}

// virtualHosts are those of a connection manager that have one of the domains; all, where none
// is said.
func virtualHosts(manager tree, domains []string) (hosts []tree) {
	config, _ := child(manager, "route_config").(tree)
	for host := range objects(config, "virtual_hosts") {
		list, _ := child(host, "domains").([]any)
		has := func(domain string) bool { return slices.Contains(list, any(domain)) }
		if len(domains) == 0 || slices.ContainsFunc(domains, has) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// treeOf is a message as the bootstrap has it.
func treeOf(m proto.Message) (out tree, err error) {
	raw, err := protojson.Marshal(m)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	return out, err
}
