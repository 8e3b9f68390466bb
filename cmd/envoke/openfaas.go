package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"envoke/internal/faas"
	"envoke/internal/openfaas"
	"envoke/runtimes/relay"
	"envoke/xds"
)

// OpenFaaS are the settings of the gateway of one, which has the functions that are not ours.
type OpenFaaS struct {
	OpenFaaSGatewayURL, OpenFaaSCAFile string
	OpenFaaSUser, OpenFaaSPassword     string
	OpenFaaSRuntimes                   string
}

// flagsOfOpenFaaS belong to control, which configures Envoy and asks the gateway.
var flagsOfOpenFaaS = []string{"openfaas-gateway-url", "openfaas-user", "openfaas-password", "openfaas-ca-file"}

// flagsOfRelay belong to hosts, whose code OpenFaaS may run.
var flagsOfRelay = []string{"openfaas-gateway-url", "openfaas-ca-file", "openfaas-runtimes"}

func (o *OpenFaaS) bindOpenFaaS(f *pflag.FlagSet) {
	f.StringVar(&o.OpenFaaSGatewayURL, "openfaas-gateway-url", "", "http(s)://<host>[:<port>] of an OpenFaaS gateway: calls of /function/ and /async-function/ that no function here has the name for go there (docs/openfaas.md); empty: there is none")
	f.StringVar(&o.OpenFaaSUser, "openfaas-user", "admin", "user of the gateway's API, which is asked for its functions")
	f.StringVar(&o.OpenFaaSPassword, "openfaas-password", "", "password of that user; empty: the gateway asks for none")
	f.StringVar(&o.OpenFaaSCAFile, "openfaas-ca-file", "", "file of the authorities that the gateway's certificate may be of, in PEM, at the same path where Envoy runs (default: those of the system)")
	f.StringVar(&o.OpenFaaSRuntimes, "openfaas-runtimes", "", "languages, with commas between, whose code runs at the gateway's function <language>-runtime by the runtime protocol, and not in workers here; empty: none")
}

func (o *OpenFaaS) checkOpenFaaS() (faults []error) {
	if o.OpenFaaSGatewayURL == "" {
		for name, value := range map[string]string{"OPENFAAS_PASSWORD": o.OpenFaaSPassword, "OPENFAAS_CA_FILE": o.OpenFaaSCAFile, "OPENFAAS_RUNTIMES": o.OpenFaaSRuntimes} {
			if value != "" {
				faults = append(faults, fmt.Errorf("%s is set, but OPENFAAS_GATEWAY_URL is not: nobody would be asked", name))
			}
		}
		return faults
	}
	at, err := o.gateway()
	if err != nil {
		return []error{fmt.Errorf("OPENFAAS_GATEWAY_URL: %w", err)}
	}
	if at.Scheme == "http" && o.OpenFaaSCAFile != "" {
		faults = append(faults, errors.New("OPENFAAS_CA_FILE is set, but OPENFAAS_GATEWAY_URL is plain http: nobody would look at it"))
	}
	if _, err := o.authorities(at); err != nil {
		faults = append(faults, fmt.Errorf("OPENFAAS_CA_FILE: %w", err))
	}
	if o.OpenFaaSPassword != "" && o.OpenFaaSUser == "" {
		faults = append(faults, errors.New("OPENFAAS_PASSWORD is set and OPENFAAS_USER is empty: say whose it is"))
	}
	for _, language := range o.relayed() {
		if !language.Known() {
			faults = append(faults, fmt.Errorf("OPENFAAS_RUNTIMES has %q, which is no language", language))
		}
	}
	return faults
}

// relayed are the languages whose code OpenFaaS runs.
func (o *OpenFaaS) relayed() (all []faas.Language) {
	for language := range strings.SplitSeq(o.OpenFaaSRuntimes, ",") {
		if language = strings.TrimSpace(language); language != "" {
			all = append(all, faas.Language(language))
		}
	}
	return all
}

// relayed tells whether OpenFaaS runs the language's code.
func (l language) relayed(c *Config) bool { return slices.Contains(c.relayed(), l.Language) }

// openRelay sends a language's code to the function of OpenFaaS that is reserved for it.
func openRelay(e *environment, l language) (engine, error) {
	at, err := e.config.gateway()
	if err != nil {
		return nil, err
	}
	authorities, err := e.config.authorities(at)
	if err != nil {
		return nil, err
	}
	at.Path = "/function/" + string(l.Language) + "-runtime/execute"
	return relay.New(relay.Options{
		URL: at.String(), Authorities: authorities, Calls: e.config.MaxWorkers, MaxResult: maxResult, Logger: e.logger,
	}), nil
}

// gateway is the URL, which is not quoted: somebody may have put a password there.
func (o *OpenFaaS) gateway() (*url.URL, error) {
	at, err := url.Parse(o.OpenFaaSGatewayURL)
	switch {
	case err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Hostname() == "":
		return nil, errors.New("it must be http://<host>:<port> or https://<host>")
	case at.User != nil:
		return nil, errors.New("user and password have settings of their own: OPENFAAS_USER and OPENFAAS_PASSWORD_FILE")
	case at.Path != "" && at.Path != "/" || at.RawQuery != "" || at.Fragment != "":
		return nil, errors.New("it must end with the host and the port: paths go there as callers send them")
	}
	if _, err := strconv.ParseUint(portOfURL(at), 10, 16); err != nil || portOfURL(at) == "0" {
		return nil, errors.New("its port must be 1 to 65535")
	}
	at.Path = ""
	return at, nil
}

func portOfURL(at *url.URL) string {
	if at.Scheme == "https" {
		return cmp.Or(at.Port(), "443")
	}
	return cmp.Or(at.Port(), "80")
}

// systemAuthorities are where systems keep those that they believe: Envoy has no way to say
// just that.
var systemAuthorities = []string{
	"/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, Arch
	"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
	"/etc/ssl/ca-bundle.pem",             // SUSE
	"/etc/ssl/cert.pem",
}

// caFile is the file of the authorities that are believed; empty: it is plain HTTP.
func (o *OpenFaaS) caFile(at *url.URL) (string, error) {
	if at.Scheme == "http" || o.OpenFaaSCAFile != "" {
		return o.OpenFaaSCAFile, nil
	}
	for _, path := range systemAuthorities {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("this system has no file of authorities where they usually are: name one")
}

func (o *OpenFaaS) authorities(at *url.URL) (*x509.CertPool, error) {
	path, err := o.caFile(at)
	if err != nil || path == "" {
		return nil, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s has no certificate in PEM", path)
	}
	return pool, nil
}

// openOpenFaaS knows the gateway's functions as soon as it serves.
func (c *control) openOpenFaaS(e *environment) error {
	o := &e.config.OpenFaaS
	if o.OpenFaaSGatewayURL == "" {
		return nil
	}
	at, err := o.gateway()
	if err != nil {
		return err
	}
	authorities, err := o.authorities(at)
	if err != nil {
		return err
	}
	options := openfaas.Options{URL: at, Authorities: authorities, Logger: e.logger, Registerer: e.metrics}
	if o.OpenFaaSPassword != "" {
		options.User, options.Password = o.OpenFaaSUser, o.OpenFaaSPassword
	}
	c.openfaas = openfaas.New(options)
	return nil
}

// elsewhere tells whether OpenFaaS may have a function; nil: there is no OpenFaaS.
func (c *control) elsewhere() func(context.Context, string) bool {
	if c.openfaas == nil {
		return nil
	}
	return c.openfaas.Has
}

// openFaaSState is how the gateway is, for /health; nil: there is none.
func (c *control) openFaaSState() func() string {
	if c.openfaas == nil {
		return nil
	}
	return c.openfaas.State
}

// openFaaSGateway is what Envoy is told of the gateway.
func (o *OpenFaaS) openFaaSGateway() xds.OpenFaaS {
	at, err := o.gateway() // it was checked, if it is there
	if o.OpenFaaSGatewayURL == "" || err != nil {
		return xds.OpenFaaS{}
	}
	port, _ := strconv.Atoi(portOfURL(at))
	file, _ := o.caFile(at)
	return xds.OpenFaaS{Host: at.Hostname(), Port: port, Authority: at.Host, CAFile: file}
}
