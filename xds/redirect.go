package xds

import (
	"cmp"
	"fmt"
	"net/http"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// httpsPort is the one that an https URL need not name.
const httpsPort = 443

// Redirect is a second, plain port that sends every caller to the first one by https. The
// zero Redirect is none.
type Redirect struct {
	Port int `json:"port"`
	// To is the port that callers are sent to; 0: the listener's. Another one is in front of
	// it, such as a load balancer's.
	To int `json:"to"`
}

func (l Listener) checkRedirect() error {
	r := l.Redirect
	switch {
	case r.Port == 0:
		return nil
	case r.Port < 0 || r.Port > 65535 || r.To < 0 || r.To > 65535:
		return fmt.Errorf("redirect: a port of %d and %d is out of range", r.Port, r.To)
	case !l.TLS.On():
		return fmt.Errorf("redirect: port %d sends callers to https, which the listener does not speak", r.Port)
	case r.Port == l.Port:
		return fmt.Errorf("redirect: port %d is the listener's own", r.Port)
	case cmp.Or(r.To, l.Port) == 0:
		return fmt.Errorf("redirect: port %d cannot know which port the system chooses", r.Port)
	}
	return nil
}

// redirectListener answers everything by where it is served now, from its own route table:
// no request gets further, and no filter sees it.
func redirectListener(s State) *listenerv3.Listener {
	return listener(RedirectName, s, s.Listener.Redirect.Port, redirecting(s, cmp.Or(s.Listener.Redirect.To, s.Listener.Port)))
}

// redirecting sends all to https at a port.
func redirecting(s State, port int) *hcmv3.HttpConnectionManager {
	h := &hcmv3.HttpConnectionManager{
		StatPrefix: RedirectName,
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			Name: RedirectName,
			VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{
				doubledHost(),
				// A client may make a GET of what a 301 answers: not of a POST.
				toHTTPS(match(prefix("/"), method(http.MethodGet, http.MethodHead)), port, routev3.RedirectAction_MOVED_PERMANENTLY),
				toHTTPS(prefix("/"), port, routev3.RedirectAction_PERMANENT_REDIRECT),
			}}},
		}},
		HttpFilters: []*hcmv3.HttpFilter{router()},
		// The port in Host is this one's.
		StripPortMode:    &hcmv3.HttpConnectionManager_StripAnyHostPort{StripAnyHostPort: true},
		LocalReplyConfig: localReplies(plainHeaders()),
	}
	harden(h, s)
	identify(h, s)
	return h
}

func toHTTPS(m *routev3.RouteMatch, port int, code routev3.RedirectAction_RedirectResponseCode) *routev3.Route {
	action := &routev3.RedirectAction{
		SchemeRewriteSpecifier: &routev3.RedirectAction_HttpsRedirect{HttpsRedirect: true},
		ResponseCode:           code,
	}
	if port != httpsPort {
		action.PortRedirect = uint32(port)
	}
	return &routev3.Route{
		Name: RedirectName, Match: m, Action: &routev3.Route_Redirect{Redirect: action}, ResponseHeadersToAdd: plainHeaders(),
	}
}
