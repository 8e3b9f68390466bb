// Package check tests deploy/kubernetes where no cluster is at hand: it renders the overlays and
// the chart by the libraries of kustomize and Helm, compares what they say, has a real Kubernetes
// API server take all of it without keeping it, and starts the processes that the pods would. It
// is a module of its own, since nothing else needs those libraries and all that they bring.
package check
