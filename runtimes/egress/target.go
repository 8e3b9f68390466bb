package egress

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// target is what a function asks to be connected with.
type target struct {
	host string // an address, or a name in lower case without a dot at its end
	port uint16
}

var errTarget = errors.New("it is no host and port")

// parseTarget reads host:port.
func parseTarget(text string) (target, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return target{}, errTarget
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return target{}, errTarget
	}
	to := target{host: host, port: uint16(number)}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return target{}, errTarget
		}
		to.host = addr.Unmap().String()
		return to, nil
	}
	to.host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !isName(to.host) {
		return target{}, errTarget
	}
	return to, nil
}

func (t target) String() string { return net.JoinHostPort(t.host, strconv.Itoa(int(t.port))) }
