package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// foreign tells why a request may come from a web page of somebody else, or
// returns "". A page cannot read what another origin answers, but its mere GET
// starts a profile; and a page whose own name was pointed at this address (DNS
// rebinding) can read it all. Browsers mark the first kind by Sec-Fetch-Site,
// the second is seen by the name in Host.
func foreign(r *http.Request) string {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return "this port answers no requests of other web sites"
	}
	if !local(r.Host) {
		return "ask this port by IP address, or by a name without dots"
	}
	return ""
}

// local tells whether a Host header is an address or a name without dots: names
// that a public DNS server answers for have some.
func local(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return !strings.Contains(host, ".")
}
