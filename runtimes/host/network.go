package host

import (
	"envoke/internal/faas"
	"envoke/internal/strict"
	"envoke/runtimes/bundle"
	"envoke/runtimes/fault"
)

// networkHeader carries the network that a function is to be registered with. Envoy strips
// the header from what callers send.
const networkHeader = "X-Envoke-Network"

// checkNetwork refuses a network that a caller's own script wants and does not get.
func (h *Host) checkNetwork(p *post) error {
	if p.network == faas.NoNetwork {
		return nil
	}
	if why := h.NoEgress(false); why != "" {
		return strict.BadMember(p.optionsName+".network", "cannot be "+string(p.network)+": "+why)
	}
	return nil
}

// checkRegistered refuses a function that is to be registered with a network, where it
// would not get one.
func (h *Host) checkRegistered(network faas.Network) error {
	if network == faas.NoNetwork {
		return nil
	}
	if why := h.NoEgress(true); why != "" {
		return strict.BadMember("network", "cannot be "+string(network)+": "+why)
	}
	return nil
}

// useNetwork gives a session the network of its function. A caller may not ask for more.
func (h *Host) useNetwork(session *bundle.Session, of faas.Network) error {
	if session.Network != faas.NoNetwork && of == faas.NoNetwork {
		return invalid("the function is registered without a network, and a call cannot give it one: leave network out of compile_options")
	}
	session.Network = of
	return h.letsOut(session)
}

// letsOut tells whether a session gets the network that it was made with.
func (h *Host) letsOut(session *bundle.Session) error {
	if session.Network == faas.NoNetwork {
		return nil
	}
	if why := h.NoEgress(session.Version > 0); why != "" {
		return fault.Unavailable("the function needs a network and gets none here: " + why)
	}
	return nil
}
