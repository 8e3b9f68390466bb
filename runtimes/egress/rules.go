package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Rules are what an operator lets pass, or refuses, beside what is refused anyway.
type Rules struct{ allow, deny []pattern }

// ParseRules reads lists of patterns with commas between them. A pattern is a network
// (10.0.0.0/8), an address, a name (example.com), all names below one (*.example.com) or,
// to deny, everything (*); a port may follow after a colon (10.0.0.0/8:443, [::1]:80).
// What is denied is refused even where it is allowed, but for *, which refuses what is
// not allowed.
func ParseRules(allow, deny string) (Rules, error) {
	var r Rules
	var faults []error
	for _, list := range []struct {
		text string
		into *[]pattern
	}{{allow, &r.allow}, {deny, &r.deny}} {
		for text := range strings.SplitSeq(list.text, ",") {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			p, err := parsePattern(text)
			if err == nil && p.all() && list.into == &r.allow {
				err = fmt.Errorf("%q would let functions reach this machine and all beside it: name networks or hosts", text)
			}
			faults = append(faults, err)
			*list.into = append(*list.into, p)
		}
	}
	return r, errors.Join(faults...)
}

// pattern matches what a function connects to.
type pattern struct {
	text   string
	prefix netip.Prefix // invalid: the pattern is of names
	name   string       // "example.com", "*.example.com" or "*"
	port   uint16       // 0: any
}

func (p pattern) all() bool { return p.name == "*" }

func parsePattern(text string) (pattern, error) {
	p := pattern{text: text}
	host := text
	if !p.setHost(host) { // with no port: ::1 ends like one that has
		var port string
		at := strings.LastIndexByte(text, ':')
		if at >= 0 {
			host, port = text[:at], text[at+1:]
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 || !p.setHost(host) {
			return p, fmt.Errorf("%q is no network, address or name with or without a port, such as 10.0.0.0/8, example.com:443 or *.example.com", text)
		}
		p.port = uint16(number)
	}
	return p, nil
}

func (p *pattern) setHost(host string) bool {
	if bare, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(bare, "]")
	}
	if prefix, err := netip.ParsePrefix(host); err == nil {
		if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= mapped {
			prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-mapped)
		}
		p.prefix = prefix.Masked()
		return true
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		p.prefix = netip.PrefixFrom(addr, addr.BitLen())
		return true
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name != "*" && !isName(strings.TrimPrefix(name, "*.")) {
		return false
	}
	p.name = name
	return true
}

// mapped is how many bits of an IPv6 address say that the others are an IPv4 address.
const mapped = 96

// isName tells whether a resolver may be asked for the text: letters, digits, '-' and '_'
// between dots, of at most 253 bytes (RFC 1035).
func isName(text string) bool {
	if text == "" || len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}

// names tells whether the pattern is of the target by its name.
func (p pattern) names(to target) bool {
	if p.name == "" || p.port != 0 && p.port != to.port {
		return false
	}
	if below, ok := strings.CutPrefix(p.name, "*."); ok {
		return strings.HasSuffix(to.host, "."+below)
	}
	return p.all() || p.name == to.host
}

// matches tells whether the pattern is of the target, by its name or by the address that
// the name has.
func (p pattern) matches(to target, at netip.AddrPort) bool {
	if p.prefix.IsValid() {
		return (p.port == 0 || p.port == at.Port()) && p.prefix.Contains(at.Addr())
	}
	return p.names(to)
}

// refuseName refuses what no address could make right, so that no resolver is asked for it.
func (r Rules) refuseName(to target) error {
	if found, ok := find(r.deny, func(p pattern) bool { return p.names(to) && !p.all() }); ok {
		return denied(to, found)
	}
	all, ok := find(r.deny, func(p pattern) bool { return p.names(to) && p.all() })
	if ok && !slices.ContainsFunc(r.allow, func(p pattern) bool { return p.prefix.IsValid() || p.names(to) }) {
		return denied(to, all)
	}
	return nil
}

// refuse is why the target may not be reached at this address; nil: it may. Own tells
// ports of ours: a rule must name one to open it.
func (r Rules) refuse(to target, at netip.AddrPort, own func(netip.AddrPort) bool) error {
	at = netip.AddrPortFrom(at.Addr().WithZone("").Unmap(), at.Port())
	if found, ok := find(r.deny, func(p pattern) bool { return p.matches(to, at) && !p.all() }); ok {
		return denied(to, found)
	}
	ours := own(at)
	if _, ok := find(r.allow, func(p pattern) bool { return p.matches(to, at) && (p.port != 0 || !ours) }); ok {
		return nil
	}
	if all, ok := find(r.deny, func(p pattern) bool { return p.names(to) }); ok {
		return denied(to, all)
	}
	if ours {
		return &refusal{to: to, at: at, rule: "own", why: "a port of Envoke's own"}
	}
	if rule := special(at.Addr()); rule != "" {
		return &refusal{to: to, at: at, rule: rule, why: "an address that is " + rule}
	}
	return nil
}

func find(patterns []pattern, match func(pattern) bool) (pattern, bool) {
	i := slices.IndexFunc(patterns, match)
	if i < 0 {
		return pattern{}, false
	}
	return patterns[i], true
}

// refusal is why a function may not connect; it is told so.
type refusal struct {
	to   target
	at   netip.AddrPort // invalid: no resolver was asked
	rule string         // one of a few
	why  string
}

func (r *refusal) Error() string {
	where := r.to.String()
	if r.at.IsValid() && r.at.Addr().String() != r.to.host {
		where += " (" + r.at.Addr().String() + ")"
	}
	text := "egress to " + where + " is refused: " + r.why
	if r.rule != ruleDenied {
		text += "; the operator could let it pass by EGRESS_ALLOW"
	}
	return text
}

const ruleDenied = "denied"

func denied(to target, by pattern) error {
	return &refusal{to: to, rule: ruleDenied, why: "EGRESS_DENY has " + by.text}
}
