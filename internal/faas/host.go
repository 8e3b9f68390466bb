package faas

import (
	"errors"
	"net/netip"
	"unicode"
)

// Host is a runtime host, as it tells the parts on other machines of itself.
type Host struct {
	Name     string   `json:"name"` // unique among all hosts, those that are gone included
	Language Language `json:"language"`
	Address  string   `json:"address"`        // IP address and port where it takes requests
	Version  string   `json:"version"`        // of Envoke
	Zone     string   `json:"zone,omitempty"` // where it is; empty: nobody knows
	Leaving  bool     `json:"leaving,omitempty"`
}

// Bounds of what a host tells, in bytes.
const (
	MaxHostName    = 256
	maxHostZone    = 64
	maxHostVersion = 64
)

// Check tells what of it cannot be true. It may come from somewhere that others can write to.
func (h Host) Check() error {
	at, err := netip.ParseAddrPort(h.Address)
	switch {
	case h.Name == "" || len(h.Name) > MaxHostName || !printable(h.Name):
		return errors.New("the host's name makes no sense")
	case !h.Language.Known():
		return errors.New("the host's language is none of ours")
	case err != nil, at.Port() == 0, at.Addr().IsUnspecified(), at.Addr().IsMulticast(), at.Addr().Zone() != "":
		return errors.New("the host's address is none that can be connected to")
	case len(h.Zone) > maxHostZone || !printable(h.Zone):
		return errors.New("the host's zone makes no sense")
	case len(h.Version) > maxHostVersion || !printable(h.Version):
		return errors.New("the host's version makes no sense")
	}
	return nil
}

func printable(text string) bool {
	for _, r := range text {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
