package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"envoke/envoy"
	"envoke/internal/mtls"
	"envoke/xds"
)

// Links are how parts on several machines meet: by TCP, with certificates. Without these
// settings they meet by the sockets of one machine's run folder.
type Links struct {
	ControlListen, ControlAddresses string
	HostListen, HostAdvertise       string
	HostDrainSeconds                int
	TLSCA, TLSCert, TLSKey          string
	NodeID, EnvoyNodes              string
	MetricsListen                   string
}

var (
	flagsOfTLS  = []string{"tls-ca", "tls-cert", "tls-key", "control-addresses", "metrics-listen"}
	flagsOfLink = struct{ control, host, envoy []string }{
		control: append([]string{"control-listen", "envoy-nodes"}, flagsOfTLS...),
		host:    append([]string{"host-listen", "host-advertise", "host-drain-seconds", "redis-url", "runtime-selection-strategy"}, flagsOfTLS...),
		envoy:   append([]string{"node-id", "data-dir", "database-url", "db-logging-enabled", "log-retention-hours", "log-waiting-mb"}, flagsOfTLS...),
	}
)

const defaultNode = "envoke"

func (c *Config) bindLinks(f *pflag.FlagSet) {
	f.StringVar(&c.ControlListen, "control-listen", "", "<IP address>:<port> where control takes Envoys and runtime hosts of other machines, by TLS; empty: by the sockets in --run-dir")
	f.StringVar(&c.ControlAddresses, "control-addresses", "", "<name or IP address>:<port> of each control, with commas between, the same for all parts; empty: by the sockets in --run-dir")
	f.StringVar(&c.HostListen, "host-listen", "", "<IP address>:<port> where a runtime host takes requests, by TLS; empty: by the sockets in --run-dir")
	f.StringVar(&c.HostAdvertise, "host-advertise", "", "<IP address>:<port> by which Envoys reach the runtime host (default: --host-listen, or where that is all addresses, the one towards control)")
	f.IntVar(&c.HostDrainSeconds, "host-drain-seconds", 2, "how long a runtime host that was told to stop goes on taking requests, until all Envoys know")
	f.StringVar(&c.TLSCA, "tls-ca", "", "file of the authorities whose certificates are believed between machines, in PEM")
	f.StringVar(&c.TLSCert, "tls-cert", "", "file of this part's certificate, as envoke certs makes it; it is read again when it changes")
	f.StringVar(&c.TLSKey, "tls-key", "", "file of the certificate's key")
	f.StringVar(&c.NodeID, "node-id", defaultNode, "name by which an Envoy asks for its configuration")
	f.StringVar(&c.EnvoyNodes, "envoy-nodes", defaultNode, "names of the Envoys that control configures by TLS, with commas between")
	f.StringVar(&c.MetricsListen, "metrics-listen", "", "<IP address>:<port> where others may read /metrics, /healthz and /readyz of this part, without being asked who they are; empty: nowhere but at --admin-port")
}

// remote tells whether any part of the settings is for several machines.
func (c *Config) remote() bool {
	return c.ControlListen != "" || c.ControlAddresses != "" || c.HostListen != ""
}

// checkLinks refuses TCP without certificates, and halves of a setting.
func (c *Config) checkLinks() (faults []error) {
	for _, setting := range []struct{ name, value string }{
		{"CONTROL_LISTEN", c.ControlListen},
		{"HOST_LISTEN", c.HostListen},
		{"HOST_ADVERTISE", c.HostAdvertise},
		{"METRICS_LISTEN", c.MetricsListen},
	} {
		if setting.value == "" {
			continue
		}
		if _, err := netip.ParseAddrPort(setting.value); err != nil {
			faults = append(faults, fmt.Errorf("%s is %q: it must be <IP address>:<port>", setting.name, setting.value))
		}
	}
	if c.HostDrainSeconds < 0 || c.HostDrainSeconds > 600 {
		faults = append(faults, fmt.Errorf("HOST_DRAIN_SECONDS is %d: it must be 0 to 600", c.HostDrainSeconds))
	}
	if _, err := c.controls(); err != nil {
		faults = append(faults, err)
	}
	if !c.remote() {
		return faults
	}
	for _, setting := range []struct{ name, value string }{{"TLS_CA", c.TLSCA}, {"TLS_CERT", c.TLSCert}, {"TLS_KEY", c.TLSKey}} {
		if setting.value == "" {
			faults = append(faults, fmt.Errorf("%s is not set: parts meet by TCP only with certificates, which `envoke certs` makes", setting.name))
		}
	}
	if c.ControlAddresses == "" {
		faults = append(faults, errors.New("CONTROL_ADDRESSES is not set: parts on several machines need the address of each control"))
	}
	return faults
}

// checkCertificate looks at the files of the part's certificate; checkLinks has said which are
// not set.
func (c *Config) checkCertificate(role mtls.Role) []error {
	files := c.certificate()
	if files.CA == "" || files.Cert == "" || files.Key == "" {
		return nil
	}
	return files.Check(role)
}

func (c *Config) certificate() mtls.Files {
	return mtls.Files{CA: c.TLSCA, Cert: c.TLSCert, Key: c.TLSKey}
}

// controls reads CONTROL_ADDRESSES.
func (c *Config) controls() (all []xds.Endpoint, err error) {
	if c.ControlAddresses == "" {
		return nil, nil
	}
	for address := range strings.SplitSeq(c.ControlAddresses, ",") {
		host, number, err := net.SplitHostPort(strings.TrimSpace(address))
		port, malformed := strconv.ParseUint(number, 10, 16)
		if err != nil || malformed != nil || host == "" || port == 0 {
			return nil, fmt.Errorf("CONTROL_ADDRESSES has %q: it must be <name or IP address>:<port>, or several with commas between", address)
		}
		at := xds.Endpoint{Host: host, Port: int(port)}
		if slices.Contains(all, at) {
			return nil, fmt.Errorf("CONTROL_ADDRESSES has %s twice", address)
		}
		all = append(all, at)
	}
	return all, nil
}

// nodes are the Envoys that control knows; nil: it need not know them.
func (c *Config) nodes() (names []string) {
	if c.ControlListen == "" {
		return nil
	}
	names = []string{}
	for name := range strings.SplitSeq(c.EnvoyNodes, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// openIdentity reads the part's certificate.
func (e *environment) openIdentity(role mtls.Role) (*mtls.Identity, error) {
	identity, err := mtls.Open(mtls.Options{
		Files: e.config.certificate(), Role: role, Logger: e.logger, Registerer: e.metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("the certificate of this part: %w", err)
	}
	return identity, nil
}

// openPort listens for parts on other machines.
func (e *environment) openPort(ctx context.Context, address string, identity *mtls.Identity, allowed mtls.Allowed) (*mtls.Port, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for other machines: %w", err)
	}
	if e.egress != nil {
		if at, ok := listener.Addr().(*net.TCPAddr); ok {
			e.egress.Own(at.Port)
		}
	}
	return mtls.NewPort(mtls.PortOptions{
		Listener: listener, Identity: identity, Allowed: allowed, Logger: e.logger, Registerer: e.metrics,
	}), nil
}

// remoteEnvoy is how Envoy finds control on other machines. Its working folder is the data
// folder: what control tells it of files (its log, its secrets) is relative to that.
func (e *environment) remoteEnvoy(o *envoy.Options) error {
	controls, err := e.config.controls()
	if err != nil || len(controls) == 0 {
		return err
	}
	for _, at := range controls {
		o.Bootstrap.Controls = append(o.Bootstrap.Controls, envoy.Address{Host: at.Host, Port: at.Port})
	}
	o.Bootstrap.ControlURI = mtls.Control.URI()
	o.Bootstrap.NodeID = e.config.NodeID
	o.WorkDir = e.config.DataDir
	o.Secrets = &envoy.Secrets{}
	for _, file := range []struct {
		to   *string
		path string
	}{
		{&o.Secrets.CA, e.config.TLSCA},
		{&o.Secrets.Cert, e.config.TLSCert},
		{&o.Secrets.Key, e.config.TLSKey},
		{&o.Dir, o.Dir},
		{&o.Bootstrap.AdminSocket, o.Bootstrap.AdminSocket},
		{&o.Binary, o.Binary},
	} {
		if file.path == "" {
			continue
		}
		if *file.to, err = filepath.Abs(file.path); err != nil {
			return err
		}
	}
	return nil
}
