// Package kube is what Envoke knows from Kubernetes: where runtime hosts are, what operators
// declare as HTTPRoutes and ConfigMaps, and functions that are declared as objects. It alone
// speaks with the Kubernetes API, by watches.
package kube
