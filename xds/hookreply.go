package xds

import (
	"net/http"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"envoke/internal/faas"
)

// hookAway is what callers are told where no host answered a hook.
var hookAway = localReply{
	"'" + hookFilter + "' in xds.route_metadata.filter_metadata && (" + fromExtProc + ")",
	http.StatusServiceUnavailable, faas.Unavailable, faas.InRuntime,
	"the hook of this route could not be asked, since no runtime host answered it: nothing was let through",
}

// hookReplies come before all others: what hooks answer themselves stays as it is.
func hookReplies() []*hcmv3.ResponseMapper {
	return []*hcmv3.ResponseMapper{{Filter: cel("response.code_details == '" + faas.HookAnswer + "'")}, hookAway.mapper()}
}
