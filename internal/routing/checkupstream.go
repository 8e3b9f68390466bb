package routing

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// maxSocketPath is what sockaddr_un holds, less its final NUL.
const maxSocketPath = 107

func (c *checker) listener(at *place, l *Listener) {
	c.name(at.field("name"), l.Name)
	c.unique(at.field("name"), "listener", l.Name)
	if _, err := netip.ParseAddr(l.Host); l.Host != "" && err != nil {
		c.fault(at.field("host"), fmt.Sprintf("%.80q is no IP address", l.Host))
	}
	port := at.field("port")
	switch {
	case l.Port < 1 || l.Port > 65535:
		c.fault(port, fmt.Sprintf("is %d: it must be 1 to 65535", l.Port))
	case c.ports[l.Port] != "":
		c.fault(port, fmt.Sprintf("%d is that of another listener: %s", l.Port, c.ports[l.Port]))
	default:
		c.ports[l.Port] = c.where(port)
	}
	if !oneOf(c, at.field("protocol"), l.Protocol, HTTP, HTTPS) {
		return
	}
	tls := at.field("tls")
	if l.Protocol == HTTP {
		c.wrong(l.TLS != ListenerTLS{}, tls, "is of HTTPS only")
		c.wrong(l.HTTP3, at.field("http3"), "is of HTTPS only")
		c.upTo(at.field("redirectTo"), l.RedirectTo, 65535)
		return
	}
	c.wrong(l.HTTP3, at.field("http3"), "is not served in this version")
	c.wrong(l.RedirectTo != 0, at.field("redirectTo"), "is of HTTP only: callers here come by https already")
	for _, file := range []struct{ field, path string }{{"certificateFile", l.TLS.CertificateFile}, {"keyFile", l.TLS.KeyFile}} {
		if !c.wrong(file.path == "", tls.field(file.field), "is missing: HTTPS needs it") {
			c.file(tls.field(file.field), file.path)
		}
	}
}

func (c *checker) upstream(at *place, u *Upstream) {
	c.name(at.field("name"), u.Name)
	c.unique(at.field("name"), "upstream", u.Name)
	c.endpoints(at.field("endpoints"), u.Endpoints)
	oneOf(c, at.field("appProtocol"), u.AppProtocol, "", HTTP1, HTTP2)
	oneOf(c, at.field("loadBalancing"), u.LoadBalancing, "", LeastRequest, RoundRobin, Random)
	c.lasts(at.field("connectTimeout"), u.ConnectTimeout, time.Millisecond, time.Minute)
	if u.TLS != nil {
		c.upstreamTLS(at.field("tls"), u.TLS)
	}
	if u.HealthCheck != nil {
		c.healthCheck(at.field("healthCheck"), u.HealthCheck)
	}
	if o := u.OutlierDetection; o != nil {
		at := at.field("outlierDetection")
		c.upTo(at.field("consecutive5xx"), o.Consecutive5xx, maxCount)
		c.lasts(at.field("interval"), o.Interval, 10*time.Millisecond, time.Hour)
		c.lasts(at.field("baseEjectionTime"), o.BaseEjectionTime, 10*time.Millisecond, 24*time.Hour)
		c.upTo(at.field("maxEjectionPercent"), o.MaxEjectionPercent, 100)
	}
	if b := u.CircuitBreakers; b != nil {
		at := at.field("circuitBreakers")
		c.upTo(at.field("maxConnections"), b.MaxConnections, maxCount)
		c.upTo(at.field("maxPendingRequests"), b.MaxPendingRequests, maxCount)
		c.upTo(at.field("maxRequests"), b.MaxRequests, maxCount)
		c.upTo(at.field("maxRetries"), b.MaxRetries, maxCount)
	}
}

// endpoints are all addresses, or all names.
func (c *checker) endpoints(at *place, endpoints []UpstreamEndpoint) {
	type address struct {
		path, host string
		port       int
	}
	seen := map[address]bool{}
	first, mixed := "", false
	for i := range few(c, at, endpoints, maxEndpoints) {
		e, at := &endpoints[i], at.item(i)
		kind := c.endpoint(at, e)
		if first == "" {
			first = kind
		}
		if kind != "" && kind != first && !mixed {
			mixed = true
			c.fault(at, "is "+kind+", and the first one is "+first+": an upstream has only addresses or only names")
		}
		a := address{e.Path, e.Host, e.Port}
		c.wrong(seen[a], at, "is there twice")
		seen[a] = true
	}
}

// endpoint checks one, and tells what it is.
func (c *checker) endpoint(at *place, e *UpstreamEndpoint) (kind string) {
	c.upTo(at.field("weight"), e.Weight, 100_000)
	c.wrong(len(e.Zone) > maxName || strings.ContainsFunc(e.Zone, func(r rune) bool { return r <= ' ' || r > '~' }),
		at.field("zone"), fmt.Sprintf("must be printable ASCII without spaces, at most %d bytes", maxName))
	if e.Path != "" {
		path := at.field("path")
		c.wrong(e.Host != "" || e.Port != 0, path, "is of a Unix socket, which has neither host nor port")
		c.wrong(!filepath.IsAbs(e.Path) || len(e.Path) > maxSocketPath || strings.ContainsRune(e.Path, 0), path,
			fmt.Sprintf("must be the absolute path of a Unix socket, at most %d bytes", maxSocketPath))
		return "an address"
	}
	if c.wrong(e.Host == "", at, "has neither a host with a port nor the path of a Unix socket") {
		return ""
	}
	c.wrong(e.Port < 1 || e.Port > 65535, at.field("port"), fmt.Sprintf("is %d: it must be 1 to 65535", e.Port))
	if a, err := netip.ParseAddr(e.Host); err == nil {
		c.wrong(a.Zone() != "" || a.IsUnspecified() || a.IsMulticast(), at.field("host"), fmt.Sprintf("%.80q is no address of one machine", e.Host))
		return "an address"
	}
	c.plainHostname(at.field("host"), e.Host)
	return "a name"
}

func (c *checker) upstreamTLS(at *place, t *UpstreamTLS) {
	c.wrong(t.Hostname == "", at.field("hostname"), "is missing: the certificate is checked by it")
	c.plainHostname(at.field("hostname"), t.Hostname)
	c.wrong(t.CertificateFile != "" && t.KeyFile == "", at.field("certificateFile"), "needs keyFile too")
	c.wrong(t.KeyFile != "" && t.CertificateFile == "", at.field("keyFile"), "needs certificateFile too")
	c.file(at.field("caFile"), t.CAFile)
	c.file(at.field("certificateFile"), t.CertificateFile)
	c.file(at.field("keyFile"), t.KeyFile)
}

func (c *checker) healthCheck(at *place, h *HealthCheck) {
	c.absolutePath(at.field("path"), h.Path, true)
	c.plainHostname(at.field("hostname"), h.Hostname)
	c.lasts(at.field("interval"), h.Interval, 10*time.Millisecond, time.Hour)
	c.lasts(at.field("timeout"), h.Timeout, time.Millisecond, time.Minute)
	c.upTo(at.field("unhealthyThreshold"), h.UnhealthyThreshold, 1000)
	c.upTo(at.field("healthyThreshold"), h.HealthyThreshold, 1000)
}
