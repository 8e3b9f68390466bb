package xds

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"envoke/internal/faas"
)

// Names of resources, which the access log, metrics and ext_proc use too.
const (
	ListenerName      = "public"
	RoutesName        = "public"
	RedirectName      = "redirect"
	ExtProcCluster    = "extproc"
	ControlAPICluster = "control-api"
	FilterName        = "envoke"
)

// RuntimeCluster is the cluster of a language's hosts.
func RuntimeCluster(language faas.Language) string { return "runtime-" + string(language) }

func grpcCluster(language faas.Language) string { return RuntimeCluster(language) + "-grpc" }

// Build makes the snapshot of a state. It is pure: equal states give snapshots of
// equal versions. The error names every fault of the state, or the inconsistency
// of the snapshot.
func Build(state State) (*Snapshot, error) {
	if err := state.check(); err != nil {
		return nil, fmt.Errorf("build Envoy's configuration: %w", err)
	}
	s := state.normal()
	clusters := append([]*clusterv3.Cluster{extProcCluster(s), controlAPICluster(s)}, budgetClusters(s)...)
	clusters = append(clusters, openFaaSClusters(s)...)
	var assignments []*endpointv3.ClusterLoadAssignment
	for _, r := range s.Runtimes {
		clusters = append(clusters, runtimeCluster(s, r))
		assignments = append(assignments, loadAssignment(RuntimeCluster(r.Language), r.Endpoints...))
		if s.hasGRPC(r) {
			clusters = append(clusters, runtimeGRPCCluster(s, r))
			assignments = append(assignments, loadAssignment(grpcCluster(r.Language), r.GRPC...))
		}
	}
	snapshot, err := newSnapshot(contents{
		listeners: listeners(s),
		routes:    []*routev3.RouteConfiguration{publicRoutes(s)},
		clusters:  clusters,
		endpoints: assignments,
		filters:   append(authConfigs(s), filters(s)...),
		secrets:   secrets(s.Listener.TLS),
	})
	if err == nil {
		snapshot.filter = digest(s.Filter)
		err = snapshot.check()
	}
	if err != nil {
		return nil, fmt.Errorf("build Envoy's configuration: %w", err)
	}
	return snapshot, nil
}
