package egress

import "net/netip"

// specialAddresses are those that are no host's of the public internet, by IANA's
// registries of special-purpose addresses (RFC 6890), or that could stand for another.
var specialAddresses = []struct {
	prefix netip.Prefix
	rule   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "private"},     // a provider's (RFC 6598)
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"}, // and a cloud's metadata
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "reserved"},
	{netip.MustParsePrefix("192.88.99.0/24"), "translated"}, // 6to4 (RFC 7526)
	{netip.MustParsePrefix("198.18.0.0/15"), "reserved"},
	{netip.MustParsePrefix("198.51.100.0/24"), "reserved"},
	{netip.MustParsePrefix("203.0.113.0/24"), "reserved"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},

	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fec0::/10"), "private"}, // site-local (RFC 3879)
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
	{netip.MustParsePrefix("2002::/16"), "translated"}, // 6to4
	{netip.MustParsePrefix("2001::/32"), "translated"}, // Teredo
	{netip.MustParsePrefix("2001::/23"), "reserved"},
	{netip.MustParsePrefix("2001:db8::/32"), "reserved"},
	{netip.MustParsePrefix("3fff::/20"), "reserved"},
}

var (
	anyIPv4 = netip.MustParsePrefix("0.0.0.0/0")
	// public is what IANA gives out of IPv6.
	public = netip.MustParsePrefix("2000::/3")
	// nat64 addresses end with an IPv4 address, which is who is reached (RFC 6052).
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// special is the rule by which an address is refused; empty: it is a public host's.
func special(addr netip.Addr) string {
	addr = addr.WithZone("").Unmap()
	if nat64.Contains(addr) {
		bytes := addr.As16()
		addr = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	for _, known := range specialAddresses {
		if known.prefix.Contains(addr) {
			return known.rule
		}
	}
	if !anyIPv4.Contains(addr) && !public.Contains(addr) {
		return "reserved"
	}
	return ""
}
