package kube

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"envoke/internal/routing"
	"envoke/internal/testrig"
)

// TestRoutes: HTTPRoutes of our Gateway become routes, their Services upstreams, and their
// status says what was not taken, by the rights of control's Role.
func TestRoutes(t *testing.T) {
	k := newCluster(t)
	k.applyFile(t, "testdata/httproutes.yaml")
	k.applyFile(t, "../../deploy/kubernetes/base/crd.yaml")
	var told atomic.Pointer[routing.Routing]
	testrig.Serve(t, k.client(t, "control").Routes("envoke", func(r routing.Routing) { told.Store(&r) }).Serve)
	k.apply(t,
		`{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: web, port: 80, targetPort: 8080}, {name: other, port: 81}]}}`,
		`{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}, addressType: IPv4, ports: [{name: web, port: 8080}, {name: other, port: 8081}], endpoints: [{addresses: [10.1.0.1], zone: a}, {addresses: [10.1.0.2], conditions: {ready: false, serving: true, terminating: true}}]}`,
		`{apiVersion: envoke.dev/v1alpha1, kind: Function, metadata: {name: price}, spec: {language: nodejs, code: return 1}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: good}, spec: {parentRefs: [{name: envoke}], hostnames: [shop.example], rules: [
			{matches: [{path: {type: PathPrefix, value: /}}], timeouts: {request: 10s}, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}}], backendRefs: [{name: shop, port: 80, weight: 3}]},
			{matches: [{path: {type: Exact, value: /price}}], backendRefs: [{group: envoke.dev, kind: Function, name: price}]}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: lost}, spec: {parentRefs: [{name: envoke}], rules: [{backendRefs: [{name: shop, port: 82}]}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: foreign}, spec: {parentRefs: [{name: envoke}], rules: [{backendRefs: [{name: x, port: 80, namespace: kube-system}]}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: odd}, spec: {parentRefs: [{name: envoke}], rules: [{filters: [{type: ExtensionRef}], backendRefs: [{name: shop, port: 80}]}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: others}, spec: {parentRefs: [{name: another}], rules: [{backendRefs: [{name: shop, port: 81}]}]}}`)
	const want = `{"api":{},"upstreams":[{"name":"default/missing"},{"name":"default/shop:80","endpoints":[{"host":"10.1.0.1","port":8080,"zone":"a"},{"host":"10.1.0.2","port":8080,"draining":true}]}],"routes":[` +
		`{"name":"default/foreign","rules":[{"backendRefs":[{"kind":"Upstream","name":"default/missing"}]}]},` +
		`{"name":"default/good","hostnames":["shop.example"],"rules":[{"matches":[{"path":{"type":"PathPrefix","value":"/"}}],"filters":[{"type":"RequestHeaderModifier","requestHeaderModifier":{"set":[{"name":"a","value":"b"}]}}],"backendRefs":[{"kind":"Upstream","name":"default/shop:80","weight":3}],"timeouts":{"request":"10s"}},` +
		`{"matches":[{"path":{"type":"Exact","value":"/price"}}],"backendRefs":[{"kind":"Function","name":"nodejs-price"}]}]},` +
		`{"name":"default/lost","rules":[{"backendRefs":[{"kind":"Upstream","name":"default/missing"}]}]}]}`
	testrig.Succeeds(t, func() error {
		got := told.Load()
		if got == nil {
			return fmt.Errorf("nothing is told")
		}
		raw, err := json.Marshal(got)
		if text := strings.ReplaceAll(strings.ReplaceAll(string(raw), `"api":{},`, ""), `,"defaults":{}`, ""); err != nil || text != strings.Replace(want, `"api":{},`, "", 1) {
			return fmt.Errorf("got %s (%w)", raw, err)
		}
		return nil
	})
	for name, reasons := range map[string]string{
		"good": "Accepted ResolvedRefs", "lost": "Accepted BackendNotFound", "foreign": "Accepted RefNotPermitted", "odd": "UnsupportedValue ResolvedRefs", "others": "",
	} {
		testrig.Succeeds(t, func() error {
			u, err := k.admin.in(httpRoutes).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			status := read[struct {
				Status struct {
					Parents []struct {
						Conditions []condition `json:"conditions"`
					} `json:"parents"`
				} `json:"status"`
			}](u).Status
			var got []string
			for _, p := range status.Parents {
				for _, c := range p.Conditions {
					got = append(got, c.Reason)
				}
			}
			if strings.Join(got, " ") != reasons {
				return fmt.Errorf("%s: got %q, want %q", name, got, reasons)
			}
			return nil
		})
	}
}
