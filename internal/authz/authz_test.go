package authz

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/url"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"envoke/internal/faas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// verify knows one key, and breaks on others.
func verify(_ context.Context, key, address string) (faas.Caller, error) {
	switch key {
	case "ek_ada":
		return faas.Caller{UserID: "ada@" + address, Scopes: faas.Scopes{faas.ExecuteAll, faas.ReadFunctions}, Proof: "key ada"}, nil
	case "ek_team":
		return faas.Caller{Namespace: "team-a", UserID: "ada", Scopes: faas.Scopes{faas.Admin}, Proof: "key team"}, nil
	case "ek_panic":
		panic("verify")
	case "ek_broken":
		return faas.Caller{}, errors.New("secret detail")
	case "ek_often":
		return faas.Caller{}, &faas.Error{Code: faas.RateLimited, Message: "too often"}
	}
	return faas.Caller{}, &faas.Error{Code: faas.Unauthorized, Message: "there is no such API key"}
}

func TestCheck(t *testing.T) {
	const cert = `Hash=1;Subject="CN=mallory"`
	for _, tt := range []struct {
		name   string
		sent   map[string]string
		status int // 0: it goes on
		code   faas.Code
		set    map[string]string
	}{
		{"a key", map[string]string{"x-api-key": "ek_ada"}, 0, "", map[string]string{"x-user-id": "ada@10.0.0.1", "x-envoke-scopes": "execute:all read:functions", "x-envoke-proof": "key ada"}},
		{"a key as a token", map[string]string{"authorization": "Bearer ek_ada"}, 0, "", map[string]string{"x-user-id": "ada@10.0.0.1", "x-envoke-scopes": "execute:all read:functions", "x-envoke-proof": "key ada"}},
		{"a key of a namespace", map[string]string{"x-api-key": "ek_team", "x-envoke-namespace": "team-b"}, 0, "", map[string]string{"x-user-id": "ada", "x-envoke-scopes": "admin", "x-envoke-namespace": "team-a", "x-envoke-proof": "key team"}},
		{"no key of ours", map[string]string{"x-api-key": "ada"}, 401, faas.Unauthorized, nil},
		{"two keys, joined", map[string]string{"x-api-key": "ek_ada,ek_ada"}, 401, faas.Unauthorized, nil},
		{"a key and a token", map[string]string{"x-api-key": "ek_ada", "x-user-id": "bob"}, 400, faas.InvalidRequest, nil},
		{"a certificate", map[string]string{"x-forwarded-client-cert": cert}, 0, "", map[string]string{"x-user-id": "ada", "x-envoke-scopes": "execute:nodejs", "x-envoke-namespace": "team-c", "x-envoke-proof": "certificate"}},
		{"a certificate and a key", map[string]string{"x-forwarded-client-cert": cert, "x-api-key": "ek_ada"}, 0, "", map[string]string{"x-user-id": "ada@10.0.0.1", "x-envoke-scopes": "execute:all read:functions", "x-envoke-proof": "key ada"}},
		{"a certificate and a token", map[string]string{"x-forwarded-client-cert": cert, "x-user-id": "bob"}, 0, "", nil},
		{"a certificate of nobody", map[string]string{"x-forwarded-client-cert": "nobody"}, 401, faas.Unauthorized, nil},
		{"guessed too often", map[string]string{"x-api-key": "ek_often"}, 429, faas.RateLimited, nil},
		{"a fault", map[string]string{"x-api-key": "ek_broken"}, 500, faas.InternalError, nil},
		{"a panic", map[string]string{"x-api-key": "ek_panic"}, 500, faas.InternalError, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			told := 0
			s := New(Options{
				Verify: verify, Certificates: faas.Scopes{"execute:nodejs"}, CertificateNamespace: "team-c", Failed: func(faas.Failure) { told++ }, Logger: slog.New(slog.DiscardHandler),
			})
			answer, err := s.Check(t.Context(), request(t, tt.sent))
			if err != nil {
				t.Fatal(err)
			}
			if tt.status == 0 {
				checkAdmitted(t, answer.GetOkResponse(), tt.set)
				return
			}
			denied := answer.GetDeniedResponse()
			var body struct{ Error struct{ Code faas.Code } }
			if err := json.Unmarshal([]byte(denied.GetBody()), &body); err != nil || body.Error.Code != tt.code || int(denied.GetStatus().GetCode()) != tt.status {
				t.Errorf("status %d, body %s", denied.GetStatus().GetCode(), denied.GetBody())
			}
			if strings.Contains(denied.GetBody(), "secret") || strings.Contains(denied.GetBody(), "ek_") || told != 1 {
				t.Errorf("told %d times: %s", told, denied.GetBody())
			}
		})
	}
}

func request(t *testing.T, headers map[string]string) *authv3.CheckRequest {
	t.Helper()
	certificate := ""
	if headers["x-forwarded-client-cert"] != "nobody" {
		certificate = issued(t, x509.Certificate{Subject: pkix.Name{CommonName: "ada"}})
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Certificate: certificate, Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "10.0.0.1"},
		}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Headers: headers}},
	}}
}

func checkAdmitted(t *testing.T, ok *authv3.OkHttpResponse, want map[string]string) {
	t.Helper()
	var set map[string]string
	for _, h := range ok.GetHeaders() {
		if set == nil {
			set = map[string]string{}
		}
		set[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	if diff := cmp.Diff(want, set); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	removed := []string{"x-api-key", "x-forwarded-client-cert", "authorization"}
	if want != nil {
		removed = append(removed, "x-envoke-issuer")
		if want["x-envoke-namespace"] == "" {
			removed = append(removed, "x-envoke-namespace")
		}
	}
	if diff := cmp.Diff(removed, ok.GetHeadersToRemove()); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}

// issued is a certificate as Envoy sends it.
func issued(t *testing.T, template x509.Certificate) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	raw, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})))
}

func TestSubject(t *testing.T) {
	uri := func(texts ...string) (uris []*url.URL) {
		for _, text := range texts {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			uris = append(uris, u)
		}
		return uris
	}
	named := func(names ...string) (all pkix.Name) {
		for _, name := range names {
			all.ExtraNames = append(all.ExtraNames, pkix.AttributeTypeAndValue{Type: commonName, Value: name})
		}
		return all
	}
	for _, tt := range []struct {
		name string
		cert x509.Certificate
		want string
	}{
		{"a URI comes first", x509.Certificate{URIs: uri("spiffe://x/y"), DNSNames: []string{"z"}, Subject: named("a")}, "spiffe://x/y"},
		{"a URI with what separates fields", x509.Certificate{URIs: uri("spiffe://x/y;URI=root,CN=admin")}, "spiffe://x/y;URI=root,CN=admin"},
		{"two URIs", x509.Certificate{URIs: uri("spiffe://x", "spiffe://y"), DNSNames: []string{"z"}}, ""},
		{"a DNS name", x509.Certificate{DNSNames: []string{"z.example"}, Subject: named("a")}, "z.example"},
		{"two DNS names", x509.Certificate{DNSNames: []string{"y.example", "z.example"}, Subject: named("a")}, ""},
		{"a common name", x509.Certificate{Subject: named("a b")}, "a b"},
		{"one behind an organization that pretends", x509.Certificate{Subject: pkix.Name{CommonName: "bob", Organization: []string{"x,CN=admin"}}}, "bob"},
		{"one that pretends", x509.Certificate{Subject: named("smith, CN=admin")}, "smith, CN=admin"},
		{"two common names", x509.Certificate{Subject: named("bob", "admin")}, ""},
		{"no ASCII", x509.Certificate{Subject: named("josé")}, ""},
		{"nothing", x509.Certificate{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := subjectOf(issued(t, tt.cert)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	for _, text := range []string{"", "%", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", strings.Repeat("a", maxCertificate+1)} {
		if got := subjectOf(text); got != "" {
			t.Errorf("%.40q is %q", text, got)
		}
	}
}

func FuzzSubject(f *testing.F) {
	f.Add("-----BEGIN CERTIFICATE-----%0AAAAA%0A-----END CERTIFICATE-----")
	f.Fuzz(func(t *testing.T, text string) {
		if user := subjectOf(text); user != "" && !faas.ValidUser(user) {
			t.Errorf("%q", user)
		}
	})
}
