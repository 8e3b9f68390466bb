package routing

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"envoke/internal/faas"
)

const maxName = 253 // bytes, as a name in DNS

var (
	// dnsName is what names in DNS are, and those of Kubernetes' objects.
	dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	// kubernetesName is namespace/name, of upstreams with a port.
	kubernetesName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?(:[-a-z0-9]+)?$`)
)

const nameRule = "lower-case letters, digits, dashes and dots, as names in DNS are, at most 253 bytes"

// name checks the name that something declared has.
func (c *checker) name(at *place, name string) {
	switch {
	case name == "":
		c.fault(at, "is missing")
	case len(name) <= maxName && dnsName.MatchString(name):
	case c.Kubernetes && len(name) <= 2*maxName && kubernetesName.MatchString(name):
	default:
		c.fault(at, fmt.Sprintf("%.80q is no name: it has %s", name, nameRule))
	}
}

// hostnames checks those that something is for.
func (c *checker) hostnames(at *place, names []string) {
	seen := map[string]bool{}
	for i, name := range few(c, at, names, maxHostnames) {
		at := at.item(i)
		c.hostname(at, strings.TrimPrefix(name, "*."), name)
		c.wrong(seen[name], at, fmt.Sprintf("%.80q is there twice", name))
		seen[name] = true
	}
}

// hostname checks a name; shown is how it is written.
func (c *checker) hostname(at *place, name, shown string) {
	_, err := netip.ParseAddr(name)
	switch {
	case name == "":
		c.fault(at, "is empty")
	case err == nil:
		c.fault(at, fmt.Sprintf("%.80q is an address: only names are taken here", shown))
	case len(name) > maxName || !dnsName.MatchString(name):
		c.fault(at, fmt.Sprintf("%.80q is no name of a host: it has %s, without a port; *. may stand before it where many are meant", shown, nameRule))
	}
}

// plainHostname is one that may be empty, and stands for one host only.
func (c *checker) plainHostname(at *place, name string) {
	if name == "" {
		return
	}
	if c.wrong(strings.HasPrefix(name, "*"), at, fmt.Sprintf("%.80q is of many hosts: one is meant here", name)) {
		return
	}
	c.hostname(at, name, name)
}

// file checks that a file can be read, if files are looked at.
func (c *checker) file(at *place, path string) {
	if path == "" || c.wrong(strings.ContainsRune(path, 0), at, "has a NUL in it") || !c.Files {
		return
	}
	file, err := os.Open(path)
	if err != nil {
		c.fault(at, err.Error())
		return
	}
	defer func() { _ = file.Close() }()
	if found, err := file.Stat(); err != nil || !found.Mode().IsRegular() {
		c.fault(at, path+" is no file that can be read")
	}
}

// Headers that are set by who sends a request, and not by routes.
var framing = []string{"host", "content-length", "transfer-encoding", "connection", "upgrade", "te"}

// header checks the name of a header that is matched, or changed.
func (c *checker) header(at *place, name string, changed bool) {
	lower := strings.ToLower(name)
	switch {
	case name == "":
		c.fault(at, "is missing")
	case strings.HasPrefix(name, ":") || lower == "host":
		c.fault(at, fmt.Sprintf("%.80q is not for routes to say: hostnames, paths and methods have fields of their own", name))
	case len(name) > 256 || !httpguts.ValidHeaderFieldName(name):
		c.fault(at, fmt.Sprintf("%.80q is no name of a header", name))
	case strings.HasPrefix(lower, "x-envoke-"):
		c.fault(at, fmt.Sprintf("%.80q is between Envoke's own parts", name))
	case changed && (lower == faas.UserHeader || lower == "x-forwarded-client-cert"):
		c.fault(at, fmt.Sprintf("%.80q says who calls, which is for those to say who have checked it", name))
	case changed && slices.Contains(framing, lower):
		c.fault(at, fmt.Sprintf("%.80q is Envoy's to set", name))
	}
}

// function checks the name of one, with :alias or @version, and its namespace.
func (c *checker) function(name, namespace *place, function, in string) {
	if function == "" {
		c.fault(name, "is missing: it is a function's language-title")
	} else if _, err := faas.ParseRef(function); err != nil {
		c.fault(name, faas.AsError(err).Message)
	}
	switch {
	case in == faas.DefaultNamespace:
		c.fault(namespace, "is the default one: leave it out")
	case !faas.Namespace(in).Valid():
		c.fault(namespace, fmt.Sprintf("%.80q is no namespace: it has lower-case letters, digits and dashes, at most %d bytes", in, faas.MaxNamespace))
	}
}
