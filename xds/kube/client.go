package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// ownNamespaceFile is where a pod finds the namespace that it is in.
	ownNamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	// perSecond and burst bound what is asked of the API: it lists a dozen times at start,
	// and then writes as objects change.
	perSecond, burst = 20, 50
)

// The resources that are watched or written. docs/kubernetes.md has the right that each takes.
var (
	services       = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	configMaps     = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	endpointSlices = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	httpRoutes     = schema.GroupVersionResource{Group: gatewayGroup, Version: "v1", Resource: "httproutes"}
	leases         = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	functions      = schema.GroupVersionResource{Group: Group, Version: "v1alpha1", Resource: "functions"}
)

// Group is that of our own resources.
const Group = "envoke.dev"

// Client speaks with one namespace of a cluster.
type Client struct {
	api       dynamic.Interface
	namespace string
	self      string // by which the holder of the lease is told
	logger    *slog.Logger
}

// Access says which cluster is meant.
type Access struct {
	// Kubeconfig is a file; empty: the cluster in which this runs.
	Kubeconfig string
	Namespace  string // empty: the pod's own, or the file's
	Logger     *slog.Logger
}

// Open reads how the cluster is reached. Nothing is asked of it yet.
func Open(a Access) (*Client, error) {
	config, namespace, err := a.read()
	if err != nil {
		return nil, err
	}
	if a.Namespace != "" {
		namespace = a.Namespace
	}
	config.QPS, config.Burst, config.UserAgent = perSecond, burst, "envoke"
	api, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reach Kubernetes: %w", err)
	}
	return &Client{api: api, namespace: namespace, self: rand.Text(), logger: a.Logger}, nil
}

func (a Access) read() (*rest.Config, string, error) {
	if a.Kubeconfig != "" {
		file := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
			&clientcmd.ClientConfigLoadingRules{ExplicitPath: a.Kubeconfig}, &clientcmd.ConfigOverrides{})
		config, err := file.ClientConfig()
		if err != nil {
			return nil, "", fmt.Errorf("read %s: %w", a.Kubeconfig, err)
		}
		namespace, _, err := file.Namespace()
		return config, namespace, err
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, "", fmt.Errorf("this is no pod, and KUBECONFIG names no file: %w", err)
	}
	namespace, err := os.ReadFile(ownNamespaceFile)
	if err != nil && (a.Namespace == "" || !errors.Is(err, fs.ErrNotExist)) {
		return nil, "", fmt.Errorf("find the pod's namespace: %w", err)
	}
	return config, strings.TrimSpace(string(namespace)), nil
}

// Namespace is the one that is spoken with.
func (c *Client) Namespace() string { return c.namespace }

func (c *Client) in(what schema.GroupVersionResource) dynamic.ResourceInterface {
	return c.api.Resource(what).Namespace(c.namespace)
}

// logOnce tells of a watch that does not get on: once, and again when it is over.
func (w *watch) logOnce(ctx context.Context, err error) {
	level := slog.LevelDebug
	if !w.away.Swap(true) {
		level = slog.LevelWarn
	}
	w.logger.Log(ctx, level, "Kubernetes does not tell what changes; what is known stays, and it is asked again",
		"resource", w.resource.Resource, "error", err)
}
