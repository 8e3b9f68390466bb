package xds

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

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
func Build(state State) (*Snapshot, error) { return new(builder).build(state) }

// ownClusters are those of Envoke's own parts.
func ownClusters(s State) (clusters []*clusterv3.Cluster, assignments []*endpointv3.ClusterLoadAssignment) {
	clusters = append([]*clusterv3.Cluster{extProcCluster(s), controlAPICluster(s)}, budgetClusters(s)...)
	clusters = append(clusters, openFaaSClusters(s)...)
	for _, r := range s.Runtimes {
		clusters = append(clusters, runtimeCluster(s, r))
		assignments = append(assignments, loadAssignment(RuntimeCluster(r.Language), r.Endpoints...))
		if s.hasGRPC(r) {
			clusters = append(clusters, runtimeGRPCCluster(s, r))
			assignments = append(assignments, loadAssignment(grpcCluster(r.Language), r.GRPC...))
		}
	}
	return append(clusters, nowhereCluster()), assignments
}

// nowhereCluster has no hosts: its requests get 503.
func nowhereCluster() *clusterv3.Cluster {
	c := cluster(NowhereCluster, http1())
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = loadAssignment(NowhereCluster)
	return c
}
