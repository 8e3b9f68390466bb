package kube

import (
	"fmt"
	"log/slog"
	"os"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"envoke/internal/localdb"
	"envoke/internal/testrig"
)

// control is the token and the name of who has the rights of control, and no others.
const control = "system:serviceaccount:default:envoke-control"

// cluster is a real API server of a test's own.
type cluster struct {
	*localdb.Kubernetes

	admin *Client
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	k := &cluster{Kubernetes: testrig.Kubernetes(t, map[string]string{"control": control})}
	k.admin = k.client(t, localdb.Admin)
	k.applyFile(t, "../../deploy/kubernetes/base/rbac.yaml")
	return k
}

func (k *cluster) client(t *testing.T, token string) *Client {
	t.Helper()
	c, err := Open(Access{Kubeconfig: testrig.Kubeconfig(t, k.Kubernetes, token), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var kinds = map[string]schema.GroupVersionResource{
	"Service": services, "EndpointSlice": endpointSlices, "ConfigMap": configMaps, "HTTPRoute": httpRoutes, "Function": functions,
	"Role":                     {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding":              {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	"CustomResourceDefinition": {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
}

// apply makes objects as the documents of the YAML say, or changes those that are there.
func (k *cluster) apply(t *testing.T, documents ...string) {
	t.Helper()
	for _, document := range documents {
		var u unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(document), &u.Object); err != nil {
			t.Fatal(err)
		}
		what, ok := kinds[u.GetKind()]
		if !ok {
			t.Fatalf("no kind %q", u.GetKind())
		}
		to := k.admin.in(what)
		if u.GetKind() == "CustomResourceDefinition" {
			to = k.admin.api.Resource(what)
		}
		testrig.Succeeds(t, func() error { // a resource that was just defined is served a little later
			_, err := to.Apply(t.Context(), u.GetName(), &u, metav1.ApplyOptions{FieldManager: "test", Force: true})
			if apierrors.IsInvalid(err) {
				t.Fatal(err)
			}
			return err
		})
	}
}

func (k *cluster) applyFile(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range documentsOf(string(raw)) {
		var u map[string]any
		if err := yaml.Unmarshal([]byte(document), &u); err != nil {
			t.Fatal(err)
		}
		if subjects, ok := u["subjects"].([]any); ok {
			subjects[0] = map[string]any{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": control}
		}
		if metadata, ok := u["metadata"].(map[string]any); ok {
			delete(metadata, "namespace")
		}
		again, err := yaml.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		k.apply(t, string(again))
	}
}

func (k *cluster) remove(t *testing.T, what schema.GroupVersionResource, name string) {
	t.Helper()
	if err := k.admin.in(what).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func runtimeService(name, language string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %s, labels: {app.kubernetes.io/component: runtime, lambda.microservice/runtime: %s}}, spec: {clusterIP: None, ports: [{name: host, port: 9011}]}}`, name, language)
}

func runtimeSlice(service, endpoints string) string {
	return fmt.Sprintf(`{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: %[1]s-1, labels: {app.kubernetes.io/component: runtime, kubernetes.io/service-name: %[1]s}}, addressType: IPv4, ports: [{name: host, port: 9011, protocol: TCP}], endpoints: %[2]s}`, service, endpoints)
}
