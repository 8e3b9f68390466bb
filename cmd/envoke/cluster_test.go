package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"envoke/internal/localdb"
	"envoke/internal/testrig"
)

// functionObjects are the Function objects of a real Kubernetes API.
type functionObjects struct {
	*localdb.Kubernetes
}

const (
	controlUser = "system:serviceaccount:default:envoke-control"
	objectsPath = "/apis/envoke.dev/v1alpha1/namespaces/default/functions/"
)

func newFunctionObjects(t *testing.T) functionObjects {
	t.Helper()
	k := functionObjects{testrig.Kubernetes(t, map[string]string{"control": controlUser})}
	role, err := os.ReadFile("../../deploy/kubernetes/base/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd, err := os.ReadFile("../../deploy/kubernetes/base/crd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/"
	k.apply(t, rbac+"roles/envoke-control", strings.Split(string(role), "\n---\n")[0])
	k.apply(t, rbac+"rolebindings/envoke-control", `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: envoke-control}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: envoke-control}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "`+controlUser+`"}]}`)
	k.apply(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/functions.envoke.dev", string(crd))
	return k
}

func (k functionObjects) apply(t *testing.T, path, object string) {
	t.Helper()
	testrig.Succeeds(t, func() error { // what was just defined is served a little later
		if status, body := testrig.AskKubernetes(t, k.Kubernetes, localdb.Admin, http.MethodPatch, path, object); status >= 300 {
			return fmt.Errorf("%d: %s", status, body)
		}
		return nil
	})
}

func (k functionObjects) applyFunction(t *testing.T, name, spec string) {
	t.Helper()
	k.apply(t, objectsPath+name, fmt.Sprintf("{apiVersion: envoke.dev/v1alpha1, kind: Function, metadata: {name: %s}, spec: %s}", name, spec))
}

// stands waits until the object's status is as wanted: its generation has been seen.
func (k functionObjects) stands(t *testing.T, name, ready, reason string, version int) (message string) {
	t.Helper()
	testrig.Succeeds(t, func() error {
		_, body := testrig.AskKubernetes(t, k.Kubernetes, localdb.Admin, http.MethodGet, objectsPath+name, "")
		var object struct {
			Metadata struct{ Generation int }
			Status   struct {
				ObservedGeneration, Version int
				URL                         string
				Conditions                  []struct{ Status, Reason, Message string }
			}
		}
		if err := json.Unmarshal([]byte(body), &object); err != nil {
			return err
		}
		s := object.Status
		if len(s.Conditions) != 1 || s.ObservedGeneration != object.Metadata.Generation || s.Conditions[0].Status != ready || s.Conditions[0].Reason != reason || s.Version != version {
			return fmt.Errorf("%s", body)
		}
		message = s.Conditions[0].Message
		return nil
	})
	return message
}

// TestFunctionObjects: an object of Kubernetes is a function that Envoy serves, and its status
// says what came of it. Control has the rights of its Role and no others.
func TestFunctionObjects(t *testing.T) {
	k := newFunctionObjects(t)
	i := serve(t, "--kubernetes", "--kubeconfig", testrig.Kubeconfig(t, k.Kubernetes, "control"))
	k.applyFunction(t, "hello", `{language: nodejs, timeout: 5s, code: "return 'Hello, ' + event.params.name"}`)
	k.stands(t, "hello", "True", "Registered", 1)
	said := func(want string) {
		t.Helper()
		testrig.Succeeds(t, func() error {
			status, body := call(t, i, "/function/nodejs-hello", `{"name": "you"}`)
			if status != http.StatusOK || body != want {
				return fmt.Errorf("%d %s", status, body)
			}
			return nil
		})
	}
	said(`"Hello, you"`)

	k.applyFunction(t, "hello", `{language: nodejs, code: "return ("}`)
	if message := k.stands(t, "hello", "False", "InitializationError", 1); !strings.Contains(message, "line 1") {
		t.Errorf("the message does not name the line: %s", message)
	}
	said(`"Hello, you"`) // what cannot run replaces nothing

	k.applyFunction(t, "hello", `{language: nodejs, configMapRef: {name: code, key: hello.js}}`)
	k.stands(t, "hello", "False", "InvalidRequest", 1)
	k.apply(t, "/api/v1/namespaces/default/configmaps/code", `{apiVersion: v1, kind: ConfigMap, metadata: {name: code}, data: {hello.js: "return 2"}}`)
	k.stands(t, "hello", "True", "Registered", 2)
	said(`2`)

	k.applyFunction(t, "calculator", `{language: nodejs, code: "return 1"}`)
	k.stands(t, "calculator", "False", "Conflict", 0)

	for _, spec := range []string{
		`{language: cobol, code: x}`, `{language: nodejs}`, `{language: nodejs, code: x, configMapRef: {name: a, key: b}}`,
		`{language: nodejs, code: x, timeout: soon}`, `{language: nodejs, code: x, memory: lots}`,
	} {
		if status, body := testrig.AskKubernetes(t, k.Kubernetes, localdb.Admin, http.MethodPatch, objectsPath+"bad", fmt.Sprintf("{apiVersion: envoke.dev/v1alpha1, kind: Function, metadata: {name: bad}, spec: %s}", spec)); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: got %d %s", spec, status, body)
		}
	}

	for _, name := range []string{"hello", "calculator"} {
		testrig.AskKubernetes(t, k.Kubernetes, localdb.Admin, http.MethodDelete, objectsPath+name, "")
		testrig.Eventually(t, "the object to go", func() bool {
			status, _ := testrig.AskKubernetes(t, k.Kubernetes, localdb.Admin, http.MethodGet, objectsPath+name, "")
			return status == http.StatusNotFound
		})
	}
	if status, _ := call(t, i, "/function/nodejs-hello", `{}`); status != http.StatusNotFound {
		t.Errorf("a function whose object is deleted answers %d", status)
	}
	if status, body := call(t, i, "/function/nodejs-calculator", `{"operation": "add", "a": 1, "b": 2}`); status != http.StatusOK {
		t.Errorf("a function that no object made is gone: %d %s", status, body)
	}
	for _, path := range []string{"/api/v1/namespaces/default/secrets", "/api/v1/namespaces/default/pods", "/api/v1/namespaces/kube-system/configmaps", "/apis/coordination.k8s.io/v1/namespaces/default/leases/other"} {
		if status, _ := testrig.AskKubernetes(t, k.Kubernetes, "control", http.MethodGet, path, ""); status != http.StatusForbidden {
			t.Errorf("control may read %s: %d", path, status)
		}
	}
}

func call(t *testing.T, i *installation, path, body string) (int, string) {
	t.Helper()
	answer := i.send(t, http.MethodPost, path, body)
	return answer.status, string(answer.body)
}

// TestGatewayRoutes: an HTTPRoute of Kubernetes is served by Envoy, its Service by the addresses
// of its EndpointSlices.
func TestGatewayRoutes(t *testing.T) {
	k := newFunctionObjects(t)
	routes, err := os.ReadFile("../../xds/kube/testdata/httproutes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	k.apply(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/httproutes.gateway.networking.k8s.io", string(routes))
	shop, port := outside(t, "the shop")
	i := serve(t, "--kubernetes-gateway=envoke", "--kubeconfig", testrig.Kubeconfig(t, k.Kubernetes, "control"))
	const route = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/shop"
	k.apply(t, "/api/v1/namespaces/default/services/shop", `{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: web, port: 80}]}}`)
	k.apply(t, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/shop-1", fmt.Sprintf(
		`{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}, addressType: IPv4, ports: [{name: web, port: %s}], endpoints: [{addresses: ["%s"]}]}`, port, shop))
	k.apply(t, route, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {parentRefs: [{name: envoke}], rules: [{matches: [{path: {type: PathPrefix, value: /shop}}], backendRefs: [{name: shop, port: 80}]}]}}`)
	answers := func(status int, body string) {
		t.Helper()
		testrig.Succeeds(t, func() error {
			if r := i.send(t, http.MethodGet, "/shop/socks", ""); r.status != status || body != "" && string(r.body) != body {
				return fmt.Errorf("%d %s", r.status, r.body)
			}
			return nil
		})
	}
	answers(http.StatusOK, "the shop")
	if status, body := testrig.AskKubernetes(t, k.Kubernetes, localdb.Admin, http.MethodDelete, route, ""); status >= 300 {
		t.Fatalf("%d: %s", status, body)
	}
	answers(http.StatusNotFound, "")
}

// outside is a server at an address of this machine that Kubernetes takes for a pod's, which
// loopback is not.
func outside(t *testing.T, says string) (host, port string) {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		at, ok := a.(*net.IPNet)
		if !ok || at.IP.To4() == nil || !at.IP.IsGlobalUnicast() {
			continue
		}
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(at.IP.String(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		server := &httptest.Server{Listener: listener, Config: &http.Server{
			Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, says) }),
			ReadHeaderTimeout: time.Minute,
		}}
		server.Start()
		t.Cleanup(server.Close)
		host, port, _ = net.SplitHostPort(listener.Addr().String())
		return host, port
	}
	t.Skip("this machine has no IPv4 address but loopback")
	return "", ""
}
