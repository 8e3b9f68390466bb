package bench

import (
	"bytes"
	"os"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"sigs.k8s.io/yaml"

	_ "envoke/xds" // the types of its resources
)

// A comparison with an Envoy that checks less would not be fair.
func TestBareEnvoyHasOurEdgeLimits(t *testing.T) {
	if diff := cmp.Diff(edge(t, ourListener(t)), edge(t, bareListener(t)), protocmp.Transform()); diff != "" {
		t.Errorf("bare_envoy.yaml differs from package xds (-xds +bare):\n%s", diff)
	}
}

func bareListener(t *testing.T) *listenerv3.Listener {
	t.Helper()
	var text bytes.Buffer
	err := bareEnvoyTemplate.Execute(&text, bootstrap{Admin: "/a", DirectReply: directReply, Upstreams: []server{
		{name: "node", address: "/n"}, {name: "proxy", address: "127.0.0.1:1"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var decoded bootstrapv3.Bootstrap
	decode(t, text.Bytes(), &decoded)
	return decoded.GetStaticResources().GetListeners()[0]
}

func ourListener(t *testing.T) *listenerv3.Listener {
	t.Helper()
	golden, err := os.ReadFile("../../xds/testdata/embedded.golden.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for resource := range bytes.SplitSeq(golden, []byte("\n---\n")) {
		if bytes.HasPrefix(resource, []byte("# listener ")) {
			var listener listenerv3.Listener
			decode(t, resource, &listener)
			return &listener
		}
	}
	t.Fatal("there is no listener in the golden file")
	return nil
}

func decode(t *testing.T, text []byte, message proto.Message) {
	t.Helper()
	encoded, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(encoded, message); err != nil {
		t.Fatal(err)
	}
}

// edge is what a listener bounds and normalizes: all that is the same for each
// request, whoever answers it.
func edge(t *testing.T, listener *listenerv3.Listener) []proto.Message {
	t.Helper()
	var h hcmv3.HttpConnectionManager
	if err := listener.GetFilterChains()[0].GetFilters()[0].GetTypedConfig().UnmarshalTo(&h); err != nil {
		t.Fatal(err)
	}
	return []proto.Message{
		&listenerv3.Listener{PerConnectionBufferLimitBytes: listener.GetPerConnectionBufferLimitBytes()},
		&hcmv3.HttpConnectionManager{
			CommonHttpProtocolOptions:    h.GetCommonHttpProtocolOptions(),
			Http2ProtocolOptions:         h.GetHttp2ProtocolOptions(),
			RequestHeadersTimeout:        h.GetRequestHeadersTimeout(),
			RequestTimeout:               h.GetRequestTimeout(),
			StreamIdleTimeout:            h.GetStreamIdleTimeout(),
			NormalizePath:                h.GetNormalizePath(),
			MergeSlashes:                 h.GetMergeSlashes(),
			PathWithEscapedSlashesAction: h.GetPathWithEscapedSlashesAction(),
			UseRemoteAddress:             h.GetUseRemoteAddress(),
		},
	}
}
