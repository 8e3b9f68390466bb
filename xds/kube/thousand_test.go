package kube

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"envoke/internal/routing"
	"envoke/internal/testrig"
)

// TestThousandEndpoints: an upstream gains a thousand endpoints and loses them again, with the
// API server killed in between, when what is known stays.
func TestThousandEndpoints(t *testing.T) {
	k := newCluster(t)
	k.applyFile(t, "testdata/httproutes.yaml")
	k.applyFile(t, "../../deploy/kubernetes/base/crd.yaml")
	var endpoints atomic.Int64
	testrig.Serve(t, k.client(t, "control").Routes("envoke", func(r routing.Routing) {
		for _, u := range r.Upstreams {
			endpoints.Store(int64(len(u.Endpoints)))
		}
	}).Serve)
	k.apply(t, `{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{name: web, port: 80}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {parentRefs: [{name: envoke}], rules: [{backendRefs: [{name: shop, port: 80}]}]}}`)
	const slices, each = 10, 100
	for n := range slices {
		var all []string
		for m := range each {
			all = append(all, fmt.Sprintf("{addresses: [10.2.%d.%d]}", n, m+1))
		}
		k.apply(t, fmt.Sprintf(`{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: shop-%d, labels: {kubernetes.io/service-name: shop}}, addressType: IPv4, ports: [{name: web, port: 8080}], endpoints: [%s]}`, n, strings.Join(all, ", ")))
	}
	testrig.Eventually(t, "all endpoints", func() bool { return endpoints.Load() == slices*each })
	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := endpoints.Load(); n != slices*each {
		t.Errorf("%d endpoints are left after the API server was away", n)
	}
	for n := range slices {
		k.remove(t, endpointSlices, fmt.Sprint("shop-", n))
	}
	testrig.Eventually(t, "none", func() bool { return endpoints.Load() == 0 })
}
