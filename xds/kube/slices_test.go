package kube

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestAddresses: what conditions of an endpoint mean, as the API documents them.
func TestAddresses(t *testing.T) {
	const ports = `[{"name": "host", "port": 9011}]`
	for name, test := range map[string]struct {
		ports, endpoints string
		want             []string
	}{
		"ready":                        {ports, `[{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "zone": "a"}]`, []string{"10.0.0.1:9011 a false"}},
		"nothing said":                 {ports, `[{"addresses": ["10.0.0.1"]}]`, []string{"10.0.0.1:9011  false"}},
		"not ready":                    {ports, `[{"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true}}]`, nil},
		"terminating and serving":      {ports, `[{"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true, "terminating": true}}]`, []string{"10.0.0.1:9011  true"}},
		"terminating, not serving":     {ports, `[{"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": false, "terminating": true}}]`, nil},
		"published although not ready": {ports, `[{"addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": true, "terminating": true}}]`, []string{"10.0.0.1:9011  true"}},
		"the only port":                {`[{"name": "", "port": 80}]`, `[{"addresses": ["10.0.0.1"]}]`, []string{"10.0.0.1:80  false"}},
		"the port of the name":         {`[{"name": "x", "port": 80}, {"name": "host", "port": 81}]`, `[{"addresses": ["10.0.0.1"]}]`, []string{"10.0.0.1:81  false"}},
		"none of the name":             {`[{"name": "x", "port": 80}, {"name": "y", "port": 81}]`, `[{"addresses": ["10.0.0.1"]}]`, nil},
		"twice":                        {ports, `[{"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true, "terminating": true}}, {"addresses": ["10.0.0.1"]}]`, []string{"10.0.0.1:9011  false"}},
		"no address":                   {ports, `[{"addresses": ["x"]}, {}]`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var u unstructured.Unstructured
			if err := json.Unmarshal(fmt.Appendf(nil, `{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "x"}, "addressType": "IPv4", "ports": %s, "endpoints": %s}`, test.ports, test.endpoints), &u.Object); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range addresses([]slice{read[slice](&u)}, hostPort) {
				got = append(got, fmt.Sprint(a.at, " ", a.zone, " ", a.draining))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
