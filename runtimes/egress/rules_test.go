package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func none(netip.AddrPort) bool { return false }

func TestSpecialAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"8.8.8.8": "", "1.1.1.1": "", "2606:4700::1111": "", "192.0.1.1": "", "172.32.0.1": "", "::ffff:8.8.8.8": "",
		"64:ff9b::8.8.8.8": "", "11.0.0.0": "", "169.253.0.1": "", "100.128.0.1": "",

		"0.0.0.0": "unspecified", "0.1.2.3": "unspecified", "::": "unspecified", "::ffff:0.0.0.0": "unspecified",
		"127.0.0.1": "loopback", "127.255.0.9": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback",
		"10.0.0.1": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private", "100.64.0.1": "private",
		"::ffff:10.0.0.1": "private", "fd00::1": "private", "fc00::1": "private", "fec0::1": "private", "64:ff9b::10.0.0.1": "private",
		"169.254.169.254": "link-local", "fe80::1": "link-local", "fe80::1%eth0": "link-local", "::ffff:169.254.169.254": "link-local",
		"64:ff9b::169.254.169.254": "link-local",
		"224.0.0.1":                "multicast", "239.255.255.255": "multicast", "ff02::1": "multicast",
		"2002:a00:1::": "translated", "2001:0:1::": "translated", "192.88.99.1": "translated",
		"255.255.255.255": "reserved", "240.0.0.1": "reserved", "192.0.0.1": "reserved", "198.18.0.1": "reserved", "203.0.113.9": "reserved",
		"2001:db8::1": "reserved", "100::1": "reserved", "64:ff9b:1::1": "reserved", "::8.8.8.8": "reserved", "4000::1": "reserved",
	} {
		if got := special(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is %q, want %q", address, got, want)
		}
	}
}

func TestRules(t *testing.T) {
	for _, test := range []struct {
		allow, deny, to, at string
		want                string // a part of the reason; empty: it passes
	}{
		{"", "", "example.com:443", "93.184.216.34:443", ""},
		{"", "", "example.com:443", "10.0.0.1:443", "egress to example.com:443 (10.0.0.1) is refused: an address that is private"},
		{"", "", "10.0.0.1:443", "10.0.0.1:443", "egress to 10.0.0.1:443 is refused: an address that is private; the operator could let it pass by EGRESS_ALLOW"},
		{"10.0.0.0/8", "", "10.0.0.1:443", "10.0.0.1:443", ""},
		{"10.0.0.0/8:443", "", "10.0.0.1:443", "10.0.0.1:443", ""},
		{"10.0.0.0/8:443", "", "10.0.0.1:80", "10.0.0.1:80", "private"},
		{"10.0.0.0/8", "", "10.0.0.1:443", "[::ffff:10.0.0.1]:443", ""},
		{"::ffff:10.0.0.0/104", "", "10.0.0.1:443", "10.0.0.1:443", ""},
		{"[fd00::/8]:80", "", "[fd00::1]:80", "[fd00::1]:80", ""},
		{"[::1]:80, 127.0.0.1", "", "[::1]:80", "[::1]:80", ""},
		{"::1", "", "[::1]:81", "[::1]:81", ""},
		{"db.example.com:5432", "", "db.example.com:5432", "10.0.0.1:5432", ""},
		{"DB.example.com.", "", "db.example.com:1", "10.0.0.1:1", ""},
		{"db.example.com:5432", "", "db.example.com:22", "10.0.0.1:22", "private"},
		{"db.example.com", "", "other.example.com:22", "10.0.0.1:22", "private"},
		{"*.example.com", "", "a.b.example.com:22", "10.0.0.1:22", ""},
		{"*.example.com", "", "example.com:22", "10.0.0.1:22", "private"},
		{"*.example.com", "", "badexample.com:22", "10.0.0.1:22", "private"},
		// What is denied is refused, allowed or not.
		{"", "example.com", "example.com:443", "93.184.216.34:443", "EGRESS_DENY has example.com"},
		{"example.com", "example.com", "example.com:443", "93.184.216.34:443", "EGRESS_DENY has example.com"},
		{"10.0.0.0/8", "10.0.0.1", "10.0.0.1:443", "10.0.0.1:443", "EGRESS_DENY has 10.0.0.1"},
		{"", "93.184.216.0/24", "example.com:443", "93.184.216.34:443", "EGRESS_DENY has 93.184.216.0/24"},
		{"", "*:25", "example.com:25", "93.184.216.34:25", "EGRESS_DENY has *:25"},
		{"", "*:25", "example.com:26", "93.184.216.34:26", ""},
		// But for everything, which means all else.
		{"", "*", "example.com:443", "93.184.216.34:443", "EGRESS_DENY has *"},
		{"example.com:443", "*", "example.com:443", "93.184.216.34:443", ""},
		{"example.com:443", "*", "example.com:80", "93.184.216.34:80", "EGRESS_DENY has *"},
		{"10.0.0.0/8", "*", "example.com:80", "10.0.0.1:80", ""},
		{"10.0.0.0/8", "*", "example.com:80", "93.184.216.34:80", "EGRESS_DENY has *"},
	} {
		rules, err := ParseRules(test.allow, test.deny)
		if err != nil {
			t.Fatal(err)
		}
		to, err := parseTarget(test.to)
		if err != nil {
			t.Fatal(err)
		}
		err = rules.refuseName(to)
		if err == nil {
			err = rules.refuse(to, netip.MustParseAddrPort(test.at), none)
		}
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v", test, err)
		}
	}
}

// A resolver must not be asked for names that a function makes up, where only some may be
// reached: it would carry them out.
func TestNamesAreRefusedUnasked(t *testing.T) {
	for _, test := range []struct {
		allow, deny string
		want        bool
	}{
		{"", "", false},
		{"", "*", true},
		{"b.example.com", "*", true},
		{"a.example.com", "*", false},
		{"a.example.com:80", "*", true},
		{"10.0.0.0/8", "*", false},
		{"", "*:443", true},
		{"", "*:80", false},
		{"", "*.example.com", true},
	} {
		rules, err := ParseRules(test.allow, test.deny)
		if err != nil {
			t.Fatal(err)
		}
		if err := rules.refuseName(target{"a.example.com", 443}); (err != nil) != test.want {
			t.Errorf("%+v: got %v", test, err)
		}
	}
}

// A port of ours opens by a rule that names it, and not by its network.
func TestOwnPortsNeedARuleOfTheirOwn(t *testing.T) {
	own := func(at netip.AddrPort) bool { return at.Port() == 9000 }
	at, to := netip.MustParseAddrPort("127.0.0.1:9000"), target{"127.0.0.1", 9000}
	for allow, want := range map[string]bool{"": false, "127.0.0.0/8": false, "127.0.0.1": false, "127.0.0.1:9000": true, "127.0.0.0/8:9000": true} {
		rules, err := ParseRules(allow, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := rules.refuse(to, at, own); (err == nil) != want {
			t.Errorf("%q: got %v", allow, err)
		}
	}
}

func TestBadRules(t *testing.T) {
	for _, text := range []string{"10.0.0.0/33", "http://example.com", "a b", "example.com:0", "example.com:65536", "example.com:", ":80", "-:x", "*x.com", "a..b", "fe80::1%eth0", "[::1", "é.com"} {
		if _, err := ParseRules("", text); (err == nil) != (text == "[::1") {
			t.Errorf("%q: got %v", text, err)
		}
	}
	for _, text := range []string{"*", "*:443", "10.0.0.0/8,*"} {
		if _, err := ParseRules(text, ""); err == nil {
			t.Errorf("%q may be allowed", text)
		}
	}
	if _, err := ParseRules("bad one", "bad two"); err == nil || !strings.Contains(err.Error(), "bad one") || !strings.Contains(err.Error(), "bad two") {
		t.Errorf("not all faults are told: %v", err)
	}
}

func TestTargets(t *testing.T) {
	for text, want := range map[string]string{
		"Example.COM.:443": "example.com:443", "[::1]:80": "[::1]:80", "[::ffff:10.0.0.1]:80": "10.0.0.1:80", "a_b:1": "a_b:1",
		"example.com": "", "example.com:0": "", "example.com:http": "", ":80": "", "[fe80::1%eth0]:80": "", "a b:80": "", "a\r\nb:80": "", "a/b:80": "", "user@a:80": "",
	} {
		got, err := parseTarget(text)
		if err != nil && want != "" || err == nil && got.String() != want {
			t.Errorf("%q is %v, %v; want %q", text, got, err, want)
		}
	}
}

// Whatever is refused or passes, no address of this machine or network passes by itself.
func FuzzRules(f *testing.F) {
	for _, seed := range [][3]string{
		{"10.0.0.0/8", "*", "10.0.0.1:80"}, {"example.com:443,[::1]:80", "*.example.com", "example.com:443"}, {"", "", "127.0.0.1:1"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, allow, deny, text string) {
		rules, err := ParseRules(allow, deny)
		to, bad := parseTarget(text)
		if err != nil || bad != nil {
			return
		}
		for _, address := range []string{"127.0.0.1", "169.254.169.254", "::1", "10.0.0.1"} {
			at := netip.AddrPortFrom(netip.MustParseAddr(address), to.port)
			if len(rules.allow) == 0 && rules.refuse(to, at, none) == nil {
				t.Errorf("%q lets %s pass", deny, at)
			}
		}
	})
}
