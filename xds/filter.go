package xds

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"envoke/internal/faas"
)

// wasmFilter is in the chain but disabled: a route that needs it enables it, and all
// others pay nothing. The listener only names it and the module comes apart, so that
// another one drops no connection. Until one came, and where it does not load, a
// filter that does nothing stands in its place.
func wasmFilter() *hcmv3.HttpFilter {
	nothing := &mutationv3.HeaderMutation{}
	return &hcmv3.HttpFilter{
		Name:     FilterName,
		Disabled: true,
		ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource:                     fromADS(),
			DefaultConfig:                    pack(nothing),
			ApplyDefaultConfigWithoutWarming: true,
			TypeUrls:                         []string{typeOf(&httpwasmv3.Wasm{}), typeOf(nothing)},
		}},
	}
}

func typeOf(m proto.Message) string { return pack(m).GetTypeUrl() }

// defaultSlots is how many results the filter keeps. Each is at most 32 KiB.
const defaultSlots = 1024

// filters is the module as Envoy wants it. It goes inline: a file would have to be
// where every Envoy sees it, and to be there still when an Envoy starts.
func filters(s State) []*corev3.TypedExtensionConfig {
	if len(s.Filter) == 0 {
		return nil
	}
	return []*corev3.TypedExtensionConfig{extension(FilterName, &httpwasmv3.Wasm{Config: &wasmv3.PluginConfig{
		Name: FilterName,
		Vm: &wasmv3.PluginConfig_VmConfig{VmConfig: &wasmv3.VmConfig{
			// What a module shares between threads belongs to that module alone. Envoy
			// keeps the compiled code for VMs of another id.
			VmId:    fmt.Sprintf("%s-%s-%d", FilterName, digest(s.Filter), s.FilterGeneration),
			Runtime: "envoy.wasm.runtime.v8",
			Code: &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Local{Local: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineBytes{InlineBytes: s.Filter},
			}}},
		}},
		Configuration: pack(wrapperspb.String(filterConfig(s))),
		// What waits for a request's body must not keep the body waiting.
		AllowOnHeadersStopIteration: wrapperspb.Bool(true),
		// After a trap its thread passes all requests by the filter, until another
		// generation comes. Other policies refuse them all from then on (FAIL_CLOSED), or
		// each for which a new VM traps too (FAIL_RELOAD).
		FailurePolicy: wasmv3.FailurePolicy_FAIL_OPEN,
	}})}
}

// filterConfig is how many slots the filter has, and which languages its errors offer.
func filterConfig(s State) string {
	config := []string{strconv.Itoa(cmp.Or(s.FilterSlots, defaultSlots))}
	for _, language := range faas.Languages() { // in the order in which people are told of them
		if slices.ContainsFunc(s.Runtimes, func(r Runtime) bool { return r.Language == language }) {
			config = append(config, string(language))
		}
	}
	return strings.Join(config, " ")
}

// digest is the version of a module: the beginning of what sha256sum prints.
func digest(module []byte) string {
	if len(module) == 0 {
		return ""
	}
	sum := sha256.Sum256(module)
	return hex.EncodeToString(sum[:])[:versionLen]
}
