package check

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// cluster is a real API server that has the namespace and nothing that would run pods.
type cluster struct {
	client dynamic.Interface
	mapper meta.RESTMapper

	mu     sync.Mutex
	warned []string // what the server warned of
}

// HandleWarningHeader implements rest.WarningHandler.
func (c *cluster) HandleWarningHeader(_ int, _, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.warned = append(c.warned, text)
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver: nothing is sent to a real API server")
	}
	environment := &envtest.Environment{}
	// envtest leaves this one out: pods of an account that is not there are to be refused.
	environment.ControlPlane.GetAPIServer().Configure().Disable("disable-admission-plugins")
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := &cluster{}
	config.WarningHandler = c
	config.QPS, config.Burst = 1000, 1000
	c.connect(t, config)
	// What must be there for others to be taken: objects of a dry run are forgotten at once.
	base := kustomize(t, "base")
	for _, o := range base {
		if slices.Contains([]string{"Namespace", "CustomResourceDefinition", "ServiceAccount"}, o.GetKind()) {
			c.send(t, o, false)
		}
	}
	c.send(t, parse(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: envoke}}")[0], false)
	c.connect(t, config) // the kinds that have come
	return c
}

func (c *cluster) connect(t *testing.T, config *rest.Config) {
	t.Helper()
	asked, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := restmapper.GetAPIGroupResources(asked)
	if err != nil {
		t.Fatal(err)
	}
	c.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	if c.client, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
}

// apply is a server-side apply of the object, in the namespace envoke where it has none; what no
// kind has is refused.
func (c *cluster) apply(o *object, dry bool) (*object, error) {
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	raw, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var to dynamic.ResourceInterface = c.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		to = c.client.Resource(mapping.Resource).Namespace("envoke")
	}
	options := metav1.PatchOptions{FieldManager: "check", FieldValidation: metav1.FieldValidationStrict}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return to.Patch(ctx, o.GetName(), "application/apply-patch+yaml", raw, options)
}

func (c *cluster) send(t *testing.T, o *object, dry bool) {
	t.Helper()
	if _, err := c.apply(o, dry); err != nil {
		t.Errorf("%s: %v", name(o), err)
	}
}

// TestServerTakesAll: every object of the overlays and of the chart is valid, its pods are
// admitted where the strictest Pod Security Standard is enforced, and nothing is warned of.
func TestServerTakesAll(t *testing.T) {
	c := startCluster(t)
	sent := 0
	for from, objects := range rendered(t) {
		for _, o := range append(objects, pods(t, objects)...) {
			if _, err := c.apply(o, true); err != nil {
				t.Errorf("%s: %s: %v", from, name(o), err)
			}
			sent++
		}
	}
	beside := append(kustomize(t, "components/ruby/hosts"), rollback(t))
	for _, o := range append(beside, pods(t, beside)...) {
		c.send(t, o, true)
		sent++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, warning := range c.warned {
		t.Errorf("the server warns: %s", warning)
	}
	t.Logf("the server took %d objects", sent)
}

// pods are those that Deployments and Jobs would make.
func pods(t *testing.T, objects []*object) (made []*object) {
	t.Helper()
	for _, o := range objects {
		template, ok, err := unstructured.NestedMap(o.Object, "spec", "template")
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			continue
		}
		pod := &object{Object: runtime.DeepCopyJSON(template)}
		pod.SetAPIVersion("v1")
		pod.SetKind("Pod")
		pod.SetName(o.GetName() + "-0")
		made = append(made, pod)
	}
	return made
}

// TestServerRefuses: the checks above can fail.
func TestServerRefuses(t *testing.T) {
	c := startCluster(t)
	for _, test := range []struct {
		name, kind string
		change     func(t *testing.T, o *object)
		want       string
	}{
		{"a misspelt field", "Deployment", set("1", "spec", "replica"), `spec.replica`},
		{"a misspelt field of a container", "Deployment", inContainer(set(int64(1), "portz")), "portz"},
		{"a value of the wrong type", "Deployment", set("three", "spec", "replicas"), "replicas"},
		{"a privileged container", "Pod", inContainer(privileged), "privileged"},
		{"root", "Pod", inContainer(set(int64(0), "securityContext", "runAsUser")), "runAsUser=0"},
		{"rights", "Pod", inContainer(set([]any{"SYS_ADMIN"}, "securityContext", "capabilities", "add")), "unrestricted capabilities"},
		{"the machine's network", "Pod", set(true, "spec", "hostNetwork"), "host namespaces"},
		{"the machine's files", "Pod", hostPath, "hostPath"},
		{"no seccomp", "Pod", set("Unconfined", "spec", "securityContext", "seccompProfile", "type"), "seccompProfile"},
		{"an account that is not there", "Pod", set("stranger", "spec", "serviceAccountName"), `"stranger" not found`},
	} {
		t.Run(test.name, func(t *testing.T) {
			objects := kustomize(t, "overlays/prod")
			o := find(t, append(objects, pods(t, objects)...), map[string]string{"Deployment": "Deployment/envoke-control", "Pod": "Pod/envoke-nodejs-0"}[test.kind])
			test.change(t, o)
			_, err := c.apply(o, true)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the server said %v, want %q", err, test.want)
			}
			if test.kind == "Pod" && !apierrors.IsForbidden(err) {
				t.Errorf("it is another refusal than that of admission: %v", err)
			}
		})
	}
}

func set(value any, path ...string) func(*testing.T, *object) {
	return func(t *testing.T, o *object) {
		t.Helper()
		if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
			t.Fatal(err)
		}
	}
}

// inContainer changes the first container, of a pod or of a pod's template.
func inContainer(change func(*testing.T, *object)) func(*testing.T, *object) {
	return func(t *testing.T, o *object) {
		t.Helper()
		path := []string{"spec", "containers"}
		if o.GetKind() != "Pod" {
			path = []string{"spec", "template", "spec", "containers"}
		}
		containers, _, err := unstructured.NestedSlice(o.Object, path...)
		if err != nil {
			t.Fatal(err)
		}
		change(t, &object{Object: containers[0].(map[string]any)})
		if err := unstructured.SetNestedSlice(o.Object, containers, path...); err != nil {
			t.Fatal(err)
		}
	}
}

func privileged(t *testing.T, o *object) {
	t.Helper()
	set(map[string]any{"privileged": true}, "securityContext")(t, o)
}

func hostPath(t *testing.T, o *object) {
	t.Helper()
	pod := into[corev1.Pod](t, o)
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
		Name: "machine", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}},
	})
	var err error
	if o.Object, err = runtime.DefaultUnstructuredConverter.ToUnstructured(pod); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", name(o), err))
	}
	unstructured.RemoveNestedField(o.Object, "status")
}
