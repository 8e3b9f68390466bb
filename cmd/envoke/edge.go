package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"envoke/internal/tlsfiles"
	"envoke/xds"
)

// Edge is what the public listener shows browsers and other clients.
type Edge struct {
	TLSCertFile, TLSKeyFile, TLSClientCAFile string
	HTTPRedirectPort, HTTPRedirectToPort     int
	HSTSMaxAgeSeconds                        int
	CORSOrigins                              string
	Compression                              bool
}

// flagsOfEdge belong to control, which configures Envoy.
var flagsOfEdge = []string{
	"tls-cert-file", "tls-key-file", "tls-client-ca-file", "http-redirect-port", "http-redirect-to-port",
	"hsts-max-age-seconds", "cors-origins", "compression",
}

func (c *Config) bindEdge(f *pflag.FlagSet) {
	f.StringVar(&c.TLSCertFile, "tls-cert-file", "", "file of the public certificate and of those in between, in PEM: with it --port speaks HTTPS; read again when it changes (docs/tls.md)")
	f.StringVar(&c.TLSKeyFile, "tls-key-file", "", "file of the public certificate's key, in PEM")
	f.StringVar(&c.TLSClientCAFile, "tls-client-ca-file", "", "file of the authorities whose certificates clients may show, in PEM; empty: clients are not asked for any")
	f.IntVar(&c.HTTPRedirectPort, "http-redirect-port", 0, "second port, of plain HTTP, that sends everybody to https; 0: none")
	f.IntVar(&c.HTTPRedirectToPort, "http-redirect-to-port", 0, "port that everybody is sent to, where another one than --port is in front of Envoke; 0: --port")
	f.IntVar(&c.HSTSMaxAgeSeconds, "hsts-max-age-seconds", 0, "for how long browsers shall come by https only (Strict-Transport-Security); 0: nothing is said of it")
	f.StringVar(&c.CORSOrigins, "cors-origins", "", "origins whose pages may call, such as https://app.example.com, with commas between, or *; empty: none")
	f.BoolVar(&c.Compression, "compression", false, "compress answers of text and JSON from 1 KiB on for clients that take them so")
	c.bindRoutes(f)
	c.bindOpenFaaS(f)
}

// publicTLS tells whether the public listener speaks HTTPS.
func (c *Config) publicTLS() bool { return c.TLSCertFile != "" }

// scheme is that of the public listener's URL.
func (c *Config) scheme() string {
	if c.publicTLS() {
		return "https"
	}
	return "http"
}

func (c *Config) certificateFiles() tlsfiles.Files {
	return tlsfiles.Files{Cert: c.TLSCertFile, Key: c.TLSKeyFile, ClientCA: c.TLSClientCAFile}
}

// checkEdge refuses halves of settings. The files are another matter: see checkPublicFiles.
func (c *Config) checkEdge() []error {
	faults := checkNumbers([]number{
		{"HTTP_REDIRECT_PORT", c.HTTPRedirectPort, 0, 65535},
		{"HTTP_REDIRECT_TO_PORT", c.HTTPRedirectToPort, 0, 65535},
		{"HSTS_MAX_AGE_SECONDS", c.HSTSMaxAgeSeconds, 0, 10 * 365 * 24 * 3600},
	})
	wrong := func(is bool, text string) {
		if is {
			faults = append(faults, errors.New(text))
		}
	}
	plain := c.TLSCertFile == "" && c.TLSKeyFile == ""
	wrong(c.TLSCertFile != "" && c.TLSKeyFile == "", "TLS_CERT_FILE is set and TLS_KEY_FILE is not: HTTPS needs both")
	wrong(c.TLSKeyFile != "" && c.TLSCertFile == "", "TLS_KEY_FILE is set and TLS_CERT_FILE is not: HTTPS needs both")
	wrong(plain && c.TLSClientCAFile != "", "TLS_CLIENT_CA_FILE is set, but clients show certificates by HTTPS only: set TLS_CERT_FILE and TLS_KEY_FILE too")
	wrong(plain && c.HTTPRedirectPort != 0, "HTTP_REDIRECT_PORT is set, but PORT speaks no HTTPS to send anybody to: set TLS_CERT_FILE and TLS_KEY_FILE too")
	wrong(plain && c.HSTSMaxAgeSeconds != 0, "HSTS_MAX_AGE_SECONDS is set, but browsers believe it by HTTPS only: set TLS_CERT_FILE and TLS_KEY_FILE too")
	wrong(c.HTTPRedirectPort != 0 && c.HTTPRedirectPort == c.Port, "HTTP_REDIRECT_PORT is the same as PORT: choose another")
	wrong(c.HTTPRedirectPort != 0 && cmp.Or(c.HTTPRedirectToPort, c.Port) == 0, "HTTP_REDIRECT_PORT cannot send anybody to a port that the system chooses: set PORT or HTTP_REDIRECT_TO_PORT")
	wrong(c.HTTPRedirectPort == 0 && c.HTTPRedirectToPort != 0, "HTTP_REDIRECT_TO_PORT is set and HTTP_REDIRECT_PORT is not: nobody would be sent there")
	origins := c.origins()
	for _, origin := range origins {
		if err := xds.CheckOrigin(origin); err != nil {
			faults = append(faults, fmt.Errorf("CORS_ORIGINS: %w", err))
		}
	}
	wrong(len(origins) > 1 && strings.Contains(","+strings.Join(origins, ",")+",", ",*,"), "CORS_ORIGINS has * and others: * is all of them")
	return faults
}

// origins are those of CORS_ORIGINS, each once.
func (c *Config) origins() (all []string) {
	seen := map[string]bool{}
	for origin := range strings.SplitSeq(c.CORSOrigins, ",") {
		if origin = strings.TrimSpace(origin); origin != "" && !seen[origin] {
			seen[origin] = true
			all = append(all, origin)
		}
	}
	return all
}

// checkPublicFiles looks at the files of the public certificate, in the part that reads them.
func (s settings) checkPublicFiles(c *Config) []error {
	if !s.has("tls-cert-file") || c.TLSCertFile == "" || c.TLSKeyFile == "" {
		return nil
	}
	return c.certificateFiles().Check(time.Now())
}

// publicListener is what Envoy is told of the public listener, but for its certificate.
func (c *Config) publicListener() xds.Listener {
	return xds.Listener{
		Host: c.Host, Port: c.Port,
		RequestTimeout: time.Duration(c.RequestTimeoutSeconds) * time.Second,
		Redirect:       xds.Redirect{Port: c.HTTPRedirectPort, To: c.HTTPRedirectToPort},
		HSTS:           time.Duration(c.HSTSMaxAgeSeconds) * time.Second,
		Origins:        c.origins(), Compress: c.Compression,
	}
}

// openCertificate reads the files of the public certificate, if there is one.
func (c *control) openCertificate(e *environment) (err error) {
	if !e.config.publicTLS() {
		return nil
	}
	c.certificate, err = tlsfiles.Open(tlsfiles.Options{
		Files: e.config.certificateFiles(), Logger: e.logger, Registerer: e.metrics,
		Changed: func(ctx context.Context, now *tlsfiles.Content) error { return c.certificateChanged(ctx, e, now) },
	})
	if err != nil {
		return fmt.Errorf("the public certificate: %w", err)
	}
	c.published.tls = toTLS(c.certificate.Current())
	return nil
}

func toTLS(c *tlsfiles.Content) xds.TLS {
	return xds.TLS{Chain: c.Chain, Key: c.Key, ClientCA: c.ClientCA}
}

// certificateChanged gives Envoy the renewed certificate, for connections that come.
func (c *control) certificateChanged(ctx context.Context, e *environment, now *tlsfiles.Content) error {
	c.published.mu.Lock()
	defer c.published.mu.Unlock()
	before := c.published.tls
	c.published.tls = toTLS(now)
	err := c.publishState(ctx, e)
	if err != nil {
		c.published.tls = before
	}
	return err
}

// ownClient is for this process's own requests to the public listener. Its certificate names
// somebody's domain and not this machine: what is known of it is that it is the one in the
// files.
func (c *control) ownClient() *http.Client {
	if c.certificate == nil {
		return http.DefaultClient
	}
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, //nolint:gosec // VerifyConnection compares the certificate itself
			VerifyConnection: func(state tls.ConnectionState) error {
				if !state.PeerCertificates[0].Equal(c.certificate.Current().Leaf) {
					return errors.New("Envoy shows another certificate than TLS_CERT_FILE has") //nolint:staticcheck // a name
				}
				return nil
			},
		},
	}}
}
