// Package istio has Istio's own code make of a recipe what a proxy would get from istiod. It is
// a module of its own for the sake of Istio's dependencies, and a test since that code wants one.
package istio

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	// For the messages of extensions in filters.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pkg/config/schema/collections"
)

// TestRender validates the configs of the files in RECIPE, with commas between, as istiod does
// when they are applied, and writes to OUT what the proxy of PROXY (router or sidecar) gets.
func TestRender(t *testing.T) {
	files, out := os.Getenv("RECIPE"), os.Getenv("OUT")
	if files == "" || out == "" {
		t.Skip("RECIPE and OUT are not set: this is run by the tests of recipes")
	}
	var configs strings.Builder
	for file := range strings.SplitSeq(files, ",") {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		configs.WriteString("\n---\n")
		configs.Write(raw)
	}
	validate(t, configs.String())
	cg := core.NewConfigGenTest(t, core.TestOptions{ConfigString: configs.String()})
	p := cg.SetupProxy(proxy())
	listeners := cg.Listeners(p)
	rendered := map[string][]json.RawMessage{
		"listeners": messages(t, listeners), "clusters": messages(t, cg.Clusters(p)), "routes": messages(t, cg.RoutesFromListeners(p, listeners)),
	}
	raw, err := json.Marshal(rendered)
	if err == nil {
		err = os.WriteFile(out, raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func proxy() *model.Proxy {
	if os.Getenv("PROXY") == "sidecar" {
		return &model.Proxy{
			ConfigNamespace: "shop", IPAddresses: []string{"10.1.1.1"},
			Labels:   map[string]string{"app": "shop"},
			Metadata: &model.NodeMetadata{Namespace: "shop", Labels: map[string]string{"app": "shop"}, IstioVersion: "1.28.0"},
		}
	}
	return &model.Proxy{
		Type: model.Router, ConfigNamespace: "shop",
		Labels:   map[string]string{"istio": "ingressgateway"},
		Metadata: &model.NodeMetadata{Namespace: "shop", Labels: map[string]string{"istio": "ingressgateway"}, IstioVersion: "1.28.0"},
	}
}

func validate(t *testing.T, text string) {
	t.Helper()
	configs, _, err := crd.ParseInputs(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs {
		schema, ok := collections.Pilot.FindByGroupVersionAliasesKind(c.GroupVersionKind)
		if !ok {
			t.Errorf("%s %s is of no kind that Istio knows", c.GroupVersionKind, c.Name)
			continue
		}
		warning, err := schema.ValidateConfig(c)
		if err != nil {
			t.Errorf("%s %s: %v", c.GroupVersionKind.Kind, c.Name, err)
		}
		if warning != nil {
			t.Logf("%s %s: %v", c.GroupVersionKind.Kind, c.Name, warning)
		}
	}
}

func messages[M proto.Message](t *testing.T, all []M) (out []json.RawMessage) {
	t.Helper()
	for _, m := range all {
		raw, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw)
	}
	return out
}
