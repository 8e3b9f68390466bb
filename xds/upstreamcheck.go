package xds

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"envoke/internal/routing"
)

// checkUpstream tells what Envoy could not be told of an upstream.
func checkUpstream(u routing.Upstream) error {
	faults := []error{checkName(u.Name)}
	names, addresses := 0, 0
	seen := map[routing.UpstreamEndpoint]bool{}
	for _, e := range u.Endpoints {
		if err := checkEndpoint(e); err != nil {
			faults = append(faults, err)
		}
		at := routing.UpstreamEndpoint{Path: e.Path, Host: e.Host, Port: e.Port}
		if seen[at] {
			faults = append(faults, fmt.Errorf("endpoint %s is there twice", where(e)))
		}
		seen[at] = true
		if e.Path == "" && !isAddress(e.Host) {
			names++
		} else {
			addresses++
		}
	}
	if names > 0 && addresses > 0 {
		faults = append(faults, errors.New("it has addresses and names: it may have one kind only"))
	}
	switch u.AppProtocol {
	case "", routing.HTTP1, routing.HTTP2:
	default:
		faults = append(faults, fmt.Errorf("%.80q is no protocol", u.AppProtocol))
	}
	switch u.LoadBalancing {
	case "", routing.LeastRequest, routing.RoundRobin, routing.Random:
	default:
		faults = append(faults, fmt.Errorf("%.80q is no way of load balancing", u.LoadBalancing))
	}
	return errors.Join(append(faults, checkTLS(u.TLS), checkHealth(u.HealthCheck), checkBounds(u))...)
}

func where(e routing.UpstreamEndpoint) string {
	if e.Path != "" {
		return e.Path
	}
	return fmt.Sprintf("%s:%d", e.Host, e.Port)
}

func checkEndpoint(e routing.UpstreamEndpoint) error {
	switch {
	case e.Weight < 0 || e.Weight > maxWeight:
		return fmt.Errorf("endpoint %s: weight %d is out of range", where(e), e.Weight)
	case e.Path != "" || isAddress(e.Host):
		return Endpoint{Path: e.Path, Host: e.Host, Port: e.Port}.check()
	case e.Port < 1 || e.Port > 65535:
		return fmt.Errorf("endpoint %s: port %d is out of range", where(e), e.Port)
	}
	return checkHostname(e.Host)
}

func checkTLS(t *routing.UpstreamTLS) error {
	switch {
	case t == nil:
		return nil
	case !isAddress(t.Hostname) && checkHostname(t.Hostname) != nil:
		return fmt.Errorf("tls: %w", checkHostname(t.Hostname))
	case (t.CertificateFile == "") != (t.KeyFile == ""):
		return errors.New("tls: it has one of certificateFile and keyFile: it needs both")
	}
	for _, path := range []string{t.CAFile, t.CertificateFile, t.KeyFile} {
		if !utf8.ValidString(path) || strings.ContainsFunc(path, control) {
			return fmt.Errorf("tls: %.80q is no file", path)
		}
	}
	return nil
}

func checkHealth(h *routing.HealthCheck) error {
	if h == nil {
		return nil
	}
	return errors.Join(checkPathText(strings.SplitN(h.Path, "?", 2)[0]), checkHostText(h.Hostname),
		inRange("healthCheck", 0, h.UnhealthyThreshold, h.HealthyThreshold))
}

func checkBounds(u routing.Upstream) error {
	var faults []error
	if o := u.OutlierDetection; o != nil {
		faults = append(faults, inRange("outlierDetection", 0, o.Consecutive5xx, o.MaxEjectionPercent))
		if o.MaxEjectionPercent > 100 {
			faults = append(faults, fmt.Errorf("outlierDetection: %d percent are out of range", o.MaxEjectionPercent))
		}
	}
	if b := u.CircuitBreakers; b != nil {
		faults = append(faults, inRange("circuitBreakers", 0, b.MaxConnections, b.MaxPendingRequests, b.MaxRequests, b.MaxRetries))
	}
	return errors.Join(faults...)
}

// ownSocket is an endpoint of the upstream that is a socket of ours, by which anybody could ask
// control, a host or Envoy itself in Envoke's own name; empty: none is.
func (s State) ownSocket(u routing.Upstream) string {
	for _, e := range u.Endpoints {
		if e.Path != "" && s.OwnFolder != "" && filepath.Dir(e.Path) == filepath.Clean(s.OwnFolder) {
			return e.Path
		}
	}
	return ""
}
