package issuers

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRead(t *testing.T) {
	for _, tt := range []struct{ name, file, fault string }{
		{"whole", "issuers:\n- {issuer: a, audiences: [b], jwks_url: 'https://c/d', clock_skew_seconds: 0, user_claim: e.f, scope_claim: g}", ""},
		{"of a namespace", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c, namespace: team-a}", ""},
		{"whose tokens say a namespace", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c, namespace_claim: org.team}", ""},
		{"of what is no namespace", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c, namespace: Team}", "no namespace"},
		{"of two namespaces", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c, namespace: a, namespace_claim: b}", "too many"},
		{"a namespace's claim of nothing", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c, namespace_claim: a.}", "empty part"},
		{"a file", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c}", ""},
		{"keys of this machine", "issuers:\n- {issuer: a, audiences: [b], jwks_url: 'http://127.0.0.1:1/d'}", ""},
		{"nothing", "", "0 issuers"},
		{"no YAML", "{", "yaml"},
		{"a word that is misspelt", "issuers:\n- {issuer: a, audience: [b], jwks_file: /c}", "audience"},
		{"no issuer", "issuers:\n- {audiences: [b], jwks_file: /c}", "issuer is missing"},
		{"no audience", "issuers:\n- {issuer: a, jwks_file: /c}", "audiences is missing"},
		{"no keys", "issuers:\n- {issuer: a, audiences: [b]}", "jwks_url and jwks_file"},
		{"keys twice", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c, jwks_url: 'https://c'}", "jwks_url and jwks_file"},
		{"keys that anybody can change", "issuers:\n- {issuer: a, audiences: [b], jwks_url: 'http://c/d'}", "https://"},
		{"skew", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c, clock_skew_seconds: -1}", "clock_skew_seconds"},
		{"a claim of nothing", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c, user_claim: a..b}", "empty part"},
		{"two of one name", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c, user_claim: e}\n- {issuer: a, audiences: [b], jwks_file: /c, user_claim: e}", "twice"},
		{"two whose users may meet", "issuers:\n- {issuer: a, audiences: [b], jwks_file: /c}\n- {issuer: d, audiences: [b], jwks_file: /c}", "user_claim is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "issuers.yaml")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Read(path)
			if (err == nil) != (tt.fault == "") || err != nil && (!strings.Contains(err.Error(), tt.fault) || !strings.Contains(err.Error(), path)) {
				t.Errorf("error %v, want %q", err, tt.fault)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	rsa := func(more string) string {
		return `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("A", 342) + `"` + more + `}`
	}
	ec := func(crv string, n int) string {
		x := strings.Repeat("A", n)
		return `{"kty":"EC","crv":"` + crv + `","x":"` + x + `","y":"` + x + `"}`
	}
	for _, tt := range []struct {
		name, keys string
		kept       int
	}{
		{"one", rsa(""), 1},
		{"of each kind", rsa(`,"use":"sig","alg":"PS256"`) + "," + ec("P-256", 43) + "," + ec("P-521", 88) + `,{"kty":"OKP","crv":"Ed25519","x":"` + strings.Repeat("A", 43) + `"}`, 4},
		{"a secret, which is none for all to have", `{"kty":"oct","k":"a"},` + rsa(""), 1},
		{"for encryption", rsa(`,"use":"enc"`), 0},
		{"a short one", `{"kty":"RSA","e":"AQAB","n":"AAAA"}`, 0},
		{"a curve that Envoy does not know", ec("secp256k1", 43), 0},
		{"a point of another curve", ec("P-384", 43), 0},
		{"an algorithm that is not the key's", rsa(`,"alg":"HS256"`), 0},
		{"no key", `1,null,{"kty":7}`, 0},
		{"none", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseKeys([]byte(`{"keys":[` + tt.keys + `]}`))
			if err != nil || len(got) != tt.kept {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	for _, set := range []string{`[]`, `x`, `{}`, `{"keys":[` + strings.Repeat(rsa("")+",", maxKeys) + rsa("") + `]}`} {
		if keys, err := parseKeys([]byte(set)); err == nil {
			t.Errorf("%.20s: %v", set, keys)
		}
	}
}

// server is an issuer's key set, which may be away.
type server struct {
	mu   sync.Mutex
	set  string
	code int
}

func (s *server) is(set string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set, s.code = set, code
}

func (s *server) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.WriteHeader(s.code)
	fmt.Fprint(w, s.set)
}

// Keys change with their issuer's, and stay while it is away.
func TestRotation(t *testing.T) {
	one, two := testrig.NewIssuer(t, "a", "one"), testrig.NewIssuer(t, "a", "two")
	set := &server{}
	set.is("", http.StatusServiceUnavailable)
	at := httptest.NewServer(set)
	defer at.Close()
	file := filepath.Join(t.TempDir(), "keys.json")
	changes := make(chan struct{}, 10)
	s := New(Options{
		Issuers: []Issuer{{Issuer: "a", JWKSURL: at.URL}, {Issuer: "b", JWKSFile: file}}, Changed: func(context.Context) { changes <- struct{}{} },
		Logger: slog.New(slog.DiscardHandler), Interval: time.Millisecond,
	})
	s.Open(t.Context())
	if keys := s.Keys(); keys[0] != noKeys || keys[1] != noKeys {
		t.Fatalf("keys of nobody: %q", keys)
	}
	testrig.Serve(t, s.Serve)
	has := func(issuer int, id string) {
		t.Helper()
		testrig.Eventually(t, "the keys are there", func() bool { return strings.Contains(s.Keys()[issuer], `"`+id+`"`) })
		<-changes
	}
	set.is(testrig.KeySet(one), 200)
	has(0, "one")
	set.is(testrig.KeySet(one, two), 200)
	has(0, "two")
	set.is("away", http.StatusInternalServerError)
	if err := os.WriteFile(file, []byte(testrig.KeySet(two)), 0o600); err != nil {
		t.Fatal(err)
	}
	has(1, "two")
	if !strings.Contains(s.Keys()[0], "one") {
		t.Error("the keys are gone with their issuer's server")
	}
	set.is(testrig.KeySet(two), 200)
	testrig.Eventually(t, "the first key to be gone", func() bool { return !strings.Contains(s.Keys()[0], `"one"`) })
	<-changes
	set.is(`{"keys":[]}`, 200) // it withdraws all
	testrig.Eventually(t, "all keys to be gone", func() bool { return s.Keys()[0] == noKeys })
	<-changes
}

func TestDocumentsAreBounded(t *testing.T) {
	set := &server{}
	set.is(testrig.KeySet(testrig.NewIssuer(t, "a", "b"))+strings.Repeat(" ", maxDocument), 200)
	at := httptest.NewServer(set)
	defer at.Close()
	s := New(Options{Issuers: []Issuer{{Issuer: "a", JWKSURL: at.URL}}, Logger: slog.New(slog.DiscardHandler)})
	s.Open(t.Context())
	defer s.client.CloseIdleConnections()
	if s.Keys()[0] != noKeys {
		t.Error("a document without end is taken")
	}
}
