package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"envoke/internal/cli"
	"envoke/internal/mtls"
	"envoke/internal/testrig"
	"envoke/runtimes/runtimepb"
)

// publicFiles are those of a public certificate, of an authority of the test's own.
type publicFiles struct {
	t             *testing.T
	authority     *mtls.Authority
	ca, cert, key string
}

func newPublicFiles(t *testing.T) *publicFiles {
	t.Helper()
	a, err := mtls.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := &publicFiles{t, a, filepath.Join(dir, "ca.crt"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	ca, _, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, f.ca, string(ca))
	f.renew(time.Now(), time.Hour)
	return f
}

// renew replaces certificate and key.
func (f *publicFiles) renew(from time.Time, life time.Duration) {
	f.t.Helper()
	cert, key, err := f.authority.Issue(mtls.Control, []string{"127.0.0.1"}, from, life)
	if err != nil {
		f.t.Fatal(err)
	}
	writeFile(f.t, f.cert, string(cert))
	writeFile(f.t, f.key, string(key))
}

func (f *publicFiles) args(more ...string) []string {
	return append([]string{"--tls-cert-file", f.cert, "--tls-key-file", f.key}, more...)
}

// client believes the authority, and shows a certificate where there is one.
func (f *publicFiles) client(shown ...tls.Certificate) *http.Client {
	f.t.Helper()
	raw, err := os.ReadFile(f.ca)
	if err != nil {
		f.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: shown}, ForceAttemptHTTP2: true, DisableCompression: true,
	}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// issued is a certificate of the authority for a client.
func (f *publicFiles) issued(name string) tls.Certificate {
	f.t.Helper()
	cert, key, err := f.authority.Issue(mtls.Host, []string{name}, time.Now(), time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		f.t.Fatal(err)
	}
	return pair
}

// portOf is the last part of an address.
func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// TestHTTPS: what is served by HTTP is served by HTTPS, and everything says so.
func TestHTTPS(t *testing.T) {
	f := newPublicFiles(t)
	port, plain := portOf(freePort(t)), portOf(freePort(t))
	i := serve(t, f.args("--port", port, "--http-redirect-port", plain, "--hsts-max-age-seconds", "60")...)
	if want := "https://127.0.0.1:" + port; i.base != want || !strings.Contains(i.stdout.String(), "curl -sk "+want) {
		t.Errorf("the greeting is %s", i.stdout.String())
	}
	client := f.client()
	r, err := sendBy(client, http.MethodPost, i.base+"/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`)
	if err != nil || r.status != http.StatusOK || r.header.Get("Strict-Transport-Security") != "max-age=60" || r.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%d %s %v, %v", r.status, r.body, r.header, err)
	}
	r, err = sendBy(client, http.MethodPost, "http://127.0.0.1:"+plain+"/api/v1/execute?a=b", "{}")
	if want := i.base + "/api/v1/execute?a=b"; err != nil || r.status != http.StatusPermanentRedirect || r.header.Get("Location") != want {
		t.Errorf("the redirect: %d to %s, %v", r.status, r.header.Get("Location"), err)
	}
	t.Run("gRPC", func(t *testing.T) {
		config := client.Transport.(*http.Transport).TLSClientConfig.Clone()
		conn, err := grpc.NewClient(strings.TrimPrefix(i.base, "https://"), grpc.WithTransportCredentials(credentials.NewTLS(config)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		script := "return params.a + 1"
		reply, err := runtimepb.NewRuntimeServiceClient(conn).Execute(naming(t, "nodejs-x"), &runtimepb.ExecuteRequest{ScriptContent: &script, Params: `{"a":41}`})
		if err != nil || reply.GetResult() != "42" {
			t.Errorf("%v, %v", reply, err)
		}
	})
	t.Run("health", func(t *testing.T) {
		var out bytes.Buffer
		getenv := func(string) string { return "" }
		if err := run(t.Context(), []string{"health", "--admin-port", portOf(i.operators)}, getenv, &out, &out); err != nil || out.String() != "ready, by https\n" {
			t.Errorf("%q, %v", out.String(), err)
		}
	})
	t.Run("command line", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "hello.js")
		writeFile(t, file, "return 'Hello'")
		if got := i.cli(t, "", "invoke", file); got.code != 3 || !strings.Contains(got.stderr, "--ca-file or ENVOKE_CA_FILE") {
			t.Errorf("without the authority: %+v", got)
		}
		if got := i.cli(t, "", "invoke", file, "--ca-file", f.ca); got.code != 0 || !strings.Contains(got.stdout, "Hello") {
			t.Errorf("with --ca-file: %+v", got)
		}
		if got := i.cli(t, "", "list", "--ca-file", file); got.code != 2 || !strings.Contains(got.stderr, "has no certificate in PEM") {
			t.Errorf("with another file: %+v", got)
		}
		t.Setenv("ENVOKE_CA_FILE", f.ca)
		if got := i.cli(t, "", "list"); got.code != 0 || !strings.Contains(got.stdout, "nodejs-calculator") {
			t.Errorf("with ENVOKE_CA_FILE: %+v", got)
		}
	})
	t.Run("renewals", func(t *testing.T) { i.renews(t, f) })
}

// renews replaces the files: by sound ones, by broken ones, by ones that have ended.
func (i *installation) renews(t *testing.T, f *publicFiles) {
	shown := func() *x509.Certificate {
		client := f.client()
		reply, err := client.Get(i.base + "/health")
		if err != nil {
			t.Fatal(err)
		}
		_ = reply.Body.Close()
		client.CloseIdleConnections()
		return reply.TLS.PeerCertificates[0]
	}
	failures := func() string { return i.metricLine(t, "envoke_xds_tls_reload_failures_total") }
	kept := f.client()
	if _, err := sendBy(kept, http.MethodGet, i.base+"/health", ""); err != nil {
		t.Fatal(err)
	}
	first := shown()
	f.renew(time.Now(), 100*time.Hour)
	testrig.Eventually(t, "the renewed certificate", func() bool { return !shown().Equal(first) })
	second := shown()
	reply, err := kept.Get(i.base + "/health")
	if err != nil || !reply.TLS.PeerCertificates[0].Equal(first) {
		t.Errorf("the connection of before: %v", err)
	} else {
		_, _ = io.Copy(io.Discard, reply.Body)
		_ = reply.Body.Close()
	}
	if line := i.metricLine(t, "envoke_xds_tls_certificate_ends_timestamp_seconds"); line != "envoke_xds_tls_certificate_ends_timestamp_seconds "+strconv.FormatFloat(float64(second.NotAfter.Unix()), 'g', -1, 64) {
		t.Errorf("the metric is %q, and the certificate ends at %d", line, second.NotAfter.Unix())
	}
	before := failures()
	writeFile(t, f.key, "no key")
	testrig.Eventually(t, "a failure", func() bool { return failures() != before })
	f.renew(time.Now().Add(-9*time.Hour), time.Hour)
	before = failures()
	testrig.Eventually(t, "another failure", func() bool { return failures() != before })
	if !shown().Equal(second) {
		t.Error("a broken renewal was taken")
	}
	f.renew(time.Now(), 50*time.Hour)
	testrig.Eventually(t, "a sound one", func() bool { return !shown().Equal(second) })
	if log := i.stderr.String(); strings.Contains(log, "MIG") || strings.Count(log, "cannot be used: the one before stays") != 2 {
		t.Errorf("the log:\n%s", tail(log, 4<<10))
	}
	for _, path := range []string{"/debug/xds", "/metrics"} {
		if r, err := send(http.MethodGet, i.operators+path, ""); err != nil || strings.Contains(string(r.body), "MIG") {
			t.Errorf("%s shows a key (%v)", path, err)
		}
	}
}

// metricLine is that of a metric without labels.
func (i *installation) metricLine(t *testing.T, name string) string {
	t.Helper()
	r, err := send(http.MethodGet, i.operators+"/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(r.body), "\n") {
		if strings.HasPrefix(line, name+" ") {
			return line
		}
	}
	return ""
}

// TestPublicFaults: what is wrong is told together, in words.
func TestPublicFaults(t *testing.T) {
	f, other := newPublicFiles(t), newPublicFiles(t)
	old := newPublicFiles(t)
	old.renew(time.Now().Add(-48*time.Hour), time.Hour)
	for name, test := range map[string]struct {
		args, want []string
	}{
		"only a certificate": {[]string{"--tls-cert-file", f.cert}, []string{"TLS_CERT_FILE is set and TLS_KEY_FILE is not"}},
		"only a key":         {[]string{"--tls-key-file", f.key}, []string{"TLS_KEY_FILE is set and TLS_CERT_FILE is not"}},
		"what needs TLS": {
			[]string{"--tls-client-ca-file", f.ca, "--http-redirect-port", "9080", "--hsts-max-age-seconds", "1"},
			[]string{"TLS_CLIENT_CA_FILE is set, but", "HTTP_REDIRECT_PORT is set, but", "HSTS_MAX_AGE_SECONDS is set, but"},
		},
		"files and others": {
			[]string{"--tls-cert-file", "/no/such/cert", "--tls-key-file", "/no/such/key", "--tls-client-ca-file", "/no/such/ca", "--worker-queue", "-1", "--host", "0.0.0.0"},
			[]string{"TLS_CERT_FILE: open /no/such/cert: no such file", "TLS_KEY_FILE: open /no/such/key", "TLS_CLIENT_CA_FILE: open /no/such/ca", "WORKER_QUEUE is -1", "--insecure-public"},
		},
		"another key": {[]string{"--tls-cert-file", f.cert, "--tls-key-file", other.key}, []string{"is not the key of the first certificate in " + f.cert}},
		"ended":       {old.args(), []string{"TLS_CERT_FILE: " + old.cert + " ended at", "Renew it"}},
		"ports": {
			f.args("--port", "9443", "--http-redirect-port", "9443"), []string{"HTTP_REDIRECT_PORT is the same as PORT"},
		},
		"any port": {f.args("--http-redirect-port", "9080"), []string{"HTTP_REDIRECT_PORT cannot send anybody to a port that the system chooses"}},
		"origins": {
			[]string{"--cors-origins", "https://a.example/, app.example.com,*"},
			[]string{`CORS_ORIGINS: "https://a.example/" is no origin`, `"app.example.com" is no origin`, "CORS_ORIGINS has * and others"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := newInstallation()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(filepath.Dir(i.dataDir)) }()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err = run(ctx, append(append([]string{"serve"}, i.settings()...), test.args...), os.Getenv, &i.stdout, &i.stderr)
			if err == nil || cli.ExitCode(err) != 1 {
				t.Fatalf("exit code %d, %v", cli.ExitCode(err), err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

// TestVariablesThatEndInFile: TLS_CERT_FILE is a setting of its own, and not a file that holds
// TLS_CERT.
func TestVariablesThatEndInFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "value")
	writeFile(t, path, "from the file\n")
	c, err := loadConfig(t, nil, map[string]string{
		"TLS_CERT_FILE": path, "TLS_KEY_FILE": path, "TLS_CA_FILE": path,
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.TLSCertFile != path || c.TLSKeyFile != path || c.TLSCert != "" || c.TLSKey != "" || c.TLSCA != "from the file" {
		t.Errorf("files %q, %q; links %q, %q, %q", c.TLSCertFile, c.TLSKeyFile, c.TLSCert, c.TLSKey, c.TLSCA)
	}
}

// TestRemoteEnvoySpeaksHTTPS: the certificate comes to Envoys of other machines by their link to
// control, which has the files.
func TestRemoteEnvoySpeaksHTTPS(t *testing.T) {
	files, f := newPublicFiles(t), newFleet(t)
	f.ofControl, f.controls = files.args(), f.controls[:1]
	f.startControl(t, 0)
	_, at := f.startHost(t)
	f.startEnvoy(t)
	f.awaitHost(t, at, true)
	client, url := files.client(), strings.Replace(f.base, "http:", "https:", 1)
	testrig.Succeeds(t, func() error {
		r, err := sendBy(client, http.MethodPost, url+"/api/v1/execute", `{"script_content":"return 1"}`, "Language-Title", "nodejs-first")
		if err == nil && r.status != http.StatusOK {
			err = fmt.Errorf("%d %s", r.status, r.body)
		}
		return err
	})
	files.renew(time.Now(), 100*time.Hour)
	testrig.Eventually(t, "the renewed certificate", func() bool {
		again := files.client()
		defer again.CloseIdleConnections()
		reply, err := again.Get(url + "/health")
		if err != nil {
			return false
		}
		_ = reply.Body.Close()
		return time.Until(reply.TLS.PeerCertificates[0].NotAfter) > 90*time.Hour
	})
	dump, err := f.askAdmin("/config_dump")
	if err != nil || !strings.Contains(dump, "dynamic_active_secrets") || strings.Contains(dump, "PRIVATE KEY") {
		t.Errorf("the dump shows a key, or no secrets (%v)", err)
	}
}
