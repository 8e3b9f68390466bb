package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/spf13/pflag"

	"envoke/internal/authz"
	"envoke/internal/faas"
	"envoke/internal/issuers"
	"envoke/xds"
)

// Door are the settings of who may call.
type Door struct {
	Auth            bool
	AnonymousScopes string
	JWTIssuersFile  string
	CertScopes      string
	CertNamespace   string

	RateExecute, RateAnonymous, RateFunctions, RateNamespace int // a minute
	RateShared                                               bool
	RateSharedWaitMS                                         int
}

var flagsOfDoor = []string{"auth", "anonymous-scopes", "client-cert-namespace", "client-cert-scopes", "jwt-issuers-file", "rate-execute-per-minute", "rate-anonymous-per-minute", "rate-functions-per-minute", "rate-namespace-per-minute", "rate-shared", "rate-shared-wait-ms"}

func (d *Door) bindDoor(f *pflag.FlagSet) {
	f.BoolVar(&d.Auth, "auth", false, "let callers in who show an API key, a token or a client certificate, with the scopes that these have, and no others")
	f.StringVar(&d.AnonymousScopes, "anonymous-scopes", "", "with --auth: scopes of callers who show nothing, with spaces between, such as execute:nodejs; empty: none")
	f.StringVar(&d.CertScopes, "client-cert-scopes", "execute:all", "with --auth: scopes of callers whose certificate is of --tls-client-ca-file")
	f.StringVar(&d.CertNamespace, "client-cert-namespace", faas.DefaultNamespace, "with --auth: namespace of those callers")
	f.StringVar(&d.JWTIssuersFile, "jwt-issuers-file", "", "with --auth: YAML file of those whose tokens (JWT) are taken; docs/security.md")
	const of = "with --auth: requests a minute that each Envoy takes of "
	f.IntVar(&d.RateExecute, "rate-execute-per-minute", 100, of+"a caller to run functions; 0: any number")
	f.IntVar(&d.RateAnonymous, "rate-anonymous-per-minute", 10, of+"an address whose callers show nothing, to run functions; 0: any number")
	f.IntVar(&d.RateFunctions, "rate-functions-per-minute", 60, of+"a caller, about functions and sessions; 0: any number")
	f.IntVar(&d.RateNamespace, "rate-namespace-per-minute", 0, of+"all callers of one namespace together; 0: any number")
	d.bindShared(f)
}

func (d *Door) checkDoor() (faults []error) {
	if !d.Auth {
		for name, value := range map[string]string{"ANONYMOUS_SCOPES": d.AnonymousScopes, "JWT_ISSUERS_FILE": d.JWTIssuersFile} {
			if value != "" {
				faults = append(faults, fmt.Errorf("%s is set, but AUTH is not: nobody would look at it", name))
			}
		}
		return faults
	}
	faults = append(faults, checkNumbers([]number{
		{"RATE_EXECUTE_PER_MINUTE", d.RateExecute, 0, 1 << 30},
		{"RATE_ANONYMOUS_PER_MINUTE", d.RateAnonymous, 0, 1 << 30},
		{"RATE_FUNCTIONS_PER_MINUTE", d.RateFunctions, 0, 1 << 30},
		{"RATE_NAMESPACE_PER_MINUTE", d.RateNamespace, 0, 1 << 30},
	})...)
	if _, err := d.issuers(); err != nil {
		faults = append(faults, fmt.Errorf("JWT_ISSUERS_FILE: %w", err))
	}
	if _, err := faas.ParseScopes(d.CertScopes); err != nil {
		faults = append(faults, fmt.Errorf("CLIENT_CERT_SCOPES: %w", err))
	}
	if _, err := faas.ParseNamespace(d.CertNamespace); err != nil {
		faults = append(faults, fmt.Errorf("CLIENT_CERT_NAMESPACE: %w", err))
	}
	if _, err := d.anonymous(); err != nil {
		faults = append(faults, fmt.Errorf("ANONYMOUS_SCOPES: %w", err))
	}
	return faults
}

func (d *Door) anonymous() (faas.Scopes, error) {
	scopes, err := faas.ParseScopes(d.AnonymousScopes)
	if err == nil && scopes.Allow(faas.Admin) {
		err = errors.New("admin is for nobody who does not say who he is")
	}
	return scopes, err
}

func (d *Door) issuers() ([]issuers.Issuer, error) {
	if d.JWTIssuersFile == "" {
		return nil, nil
	}
	return issuers.Read(d.JWTIssuersFile)
}

// checkHost refuses a public bind: without auth an open port is remote code
// execution.
func (c *Config) checkHost() []error {
	ip := net.ParseIP(c.Host)
	switch {
	case c.Host == "localhost":
		c.Host = "127.0.0.1"
	case ip == nil:
		return []error{fmt.Errorf("HOST: %q is no IP address", c.Host)}
	case !ip.IsLoopback() && !c.InsecurePublic && !c.Auth:
		return []error{fmt.Errorf("HOST is %s, which others can reach, and nobody checks who calls: anybody could run code here. Say --auth, use 127.0.0.1, or say --insecure-public if something else guards the port", c.Host)}
	}
	return nil
}

// openDoor has the keys of token issuers, and answers Envoy who calls.
func (c *control) openDoor(ctx context.Context, e *environment) error {
	if !e.config.Auth {
		return nil
	}
	list, err := e.config.issuers()
	if err != nil {
		return err
	}
	c.issuers = issuers.New(issuers.Options{
		Issuers: list, Logger: e.logger, Registerer: e.metrics,
		Changed: func(ctx context.Context) {
			if err := c.republish(ctx, e); err != nil {
				e.logger.ErrorContext(ctx, "tell Envoy of new keys", "error", err)
			}
		},
	})
	c.issuers.Open(ctx)
	certScopes, _ := faas.ParseScopes(e.config.CertScopes) // they were checked, as is the next
	certNamespace, _ := faas.ParseNamespace(e.config.CertNamespace)
	authv3.RegisterAuthorizationServer(c.grpc, authz.New(authz.Options{
		Verify: func(ctx context.Context, key, address string) (faas.Caller, error) {
			if subtle.ConstantTimeCompare([]byte(key), []byte(e.ownKey)) == 1 {
				return faas.Caller{UserID: faas.OwnUser, Scopes: faas.Scopes{faas.ExecuteAll}, Proof: "key " + faas.OwnUser}, nil
			}
			known, err := c.keys.VerifyFrom(ctx, address, key)
			return known.Caller(), err
		},
		Certificates:         append(faas.Scopes{}, certScopes...), // not nil: these are what certificates have
		CertificateNamespace: certNamespace,
		Failed:               e.failed(c.records), Logger: e.logger,
	}))
	return nil
}

// keyOfOwn is what this process shows at the door; empty: there is none.
func (e *environment) keyOfOwn() string {
	if !e.config.Auth {
		return ""
	}
	return e.ownKey
}

// authState is what Envoy is told of who may call; nil: everybody may.
func (c *control) authState(e *environment) *xds.Auth {
	if c.issuers == nil {
		return nil
	}
	anonymous, _ := e.config.anonymous() // it was checked
	auth := &xds.Auth{Anonymous: anonymous}
	keys := c.issuers.Keys()
	for n, i := range c.issuers.Issuers {
		home, _ := i.Home() // it was checked
		auth.Issuers = append(auth.Issuers, xds.Issuer{
			Issuer: i.Issuer, Audiences: i.Audiences, Keys: keys[n], UserClaim: i.User(), ScopeClaim: i.Scope(), ClockSkew: i.Skew(),
			Namespace: home, NamespaceClaim: i.NamespacePath(),
		})
	}
	return auth
}
