package main

import (
	"errors"
	"net/http"

	"github.com/spf13/pflag"

	"envoke/internal/routing"
	"envoke/xds/kube"
)

// Cluster are settings of the Kubernetes that control speaks with.
type Cluster struct {
	Kubernetes          bool
	KubernetesNamespace string
	Kubeconfig          string
	KubernetesGateway   string
}

// discovery is the RUNTIME_SELECTION_STRATEGY that asks Kubernetes.
const discovery = "discovery"

var flagsOfCluster = []string{"kubernetes", "kubernetes-gateway", "kubernetes-namespace", "kubeconfig"}

func (c *Config) bindCluster(f *pflag.FlagSet) {
	f.BoolVar(&c.Kubernetes, "kubernetes", false, "register the functions that are objects of Kubernetes (docs/kubernetes.md)")
	f.StringVar(&c.KubernetesGateway, "kubernetes-gateway", "", "name of the Gateway whose HTTPRoutes are served (docs/kubernetes.md); empty: none are")
	f.StringVar(&c.KubernetesNamespace, "kubernetes-namespace", "", "the one namespace that is read (default: that of the pod, or of the kubeconfig)")
	f.StringVar(&c.Kubeconfig, "kubeconfig", "", "file that says how Kubernetes is reached (default: as a pod)")
}

// discovers tells whether Kubernetes says where hosts are.
func (c *Config) discovers() bool { return c.RuntimeSelectionStrategy == discovery }

// cluster is the Kubernetes that control speaks with; nil: none.
type cluster struct {
	client *kube.Client
	found  *kube.Hosts // nil: something else says where hosts are
	// gateway is that whose routes are served; empty: none are.
	gateway string
}

// openCluster reads how Kubernetes is reached.
func openCluster(e *environment) (*cluster, error) {
	if !e.config.Kubernetes && !e.config.discovers() && e.config.KubernetesGateway == "" {
		return nil, nil
	}
	client, err := kube.Open(kube.Access{Kubeconfig: e.config.Kubeconfig, Namespace: e.config.KubernetesNamespace, Logger: e.logger})
	if err != nil {
		return nil, err
	}
	if client.Namespace() == "" {
		return nil, errors.New("KUBERNETES_NAMESPACE is not set, and nothing else says which namespace is read")
	}
	return &cluster{client: client, gateway: e.config.KubernetesGateway}, nil
}

// hosts finds runtime hosts, if Kubernetes says where they are.
func (k *cluster) hosts(c *Config) *kube.Hosts {
	if k == nil || !c.discovers() {
		return nil
	}
	k.found = k.client.Hosts()
	return k.found
}

// start runs what control has of Kubernetes.
func (k *cluster) start(l *lifecycle, api http.Handler, register bool, sources *routing.Sources) {
	if k != nil && register {
		l.start("Kubernetes functions", k.client.Functions(apiRegister{api}).Serve)
	}
	if k != nil && k.found != nil {
		l.start("Kubernetes hosts", k.found.Serve)
	}
	if k != nil && k.gateway != "" {
		l.start("Kubernetes routes", k.client.Routes(k.gateway, func(r routing.Routing) { declareObjects(sources, r) }).Serve)
	}
}

// declareObjects has routes of Kubernetes served, unless they have faults: those that the API
// server lets pass and Envoy would not.
func declareObjects(sources *routing.Sources, r routing.Routing) {
	if faults := routing.Check(routing.Checks{Kubernetes: true}, routing.Document{Routing: r}); len(faults) > 0 {
		sources.Refuse(routing.FromKubernetes, faults)
		return
	}
	sources.Set(routing.FromKubernetes, r, nil)
}
