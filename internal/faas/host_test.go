package faas_test

import (
	"strings"
	"testing"

	"envoke/internal/faas"
)

func TestHostCheck(t *testing.T) {
	good := faas.Host{Name: "machine/1/nodejs/ABC", Language: faas.NodeJS, Address: "10.0.0.7:9011", Version: "1.0"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*faas.Host){
		"no name":          func(h *faas.Host) { h.Name = "" },
		"a long name":      func(h *faas.Host) { h.Name = strings.Repeat("x", faas.MaxHostName+1) },
		"a name with NUL":  func(h *faas.Host) { h.Name = "a\x00" },
		"no language":      func(h *faas.Host) { h.Language = "cobol" },
		"a host's name":    func(h *faas.Host) { h.Address = "example.com:80" },
		"no port":          func(h *faas.Host) { h.Address = "10.0.0.7" },
		"port 0":           func(h *faas.Host) { h.Address = "10.0.0.7:0" },
		"all addresses":    func(h *faas.Host) { h.Address = "0.0.0.0:80" },
		"many machines":    func(h *faas.Host) { h.Address = "224.0.0.1:80" },
		"a zone":           func(h *faas.Host) { h.Address = "[fe80::1%eth0]:80" },
		"a version's text": func(h *faas.Host) { h.Version = "1\n2" },
	} {
		h := good
		change(&h)
		if h.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
