package tlsfiles_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envoke/internal/mtls"
	"envoke/internal/tlsfiles"
)

// pair is a certificate and its key.
type pair struct{ cert, key []byte }

func authority(t *testing.T) *mtls.Authority {
	t.Helper()
	a, err := mtls.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *mtls.Authority, from time.Time, life time.Duration) pair {
	t.Helper()
	cert, key, err := a.Issue(mtls.Control, []string{"localhost"}, from, life)
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert, key}
}

func caOf(t *testing.T, a *mtls.Authority) []byte {
	t.Helper()
	cert, _, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// selfSigned has a key of a kind that roles do not have.
func selfSigned(t *testing.T, public, private any) pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
}

func filesIn(dir string) tlsfiles.Files {
	return tlsfiles.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), ClientCA: filepath.Join(dir, "ca.crt")}
}

// write replaces the files; what is nil is not there.
func write(t *testing.T, f tlsfiles.Files, p pair, ca []byte) {
	t.Helper()
	for path, content := range map[string][]byte{f.Cert: p.cert, f.Key: p.key, f.ClientCA: ca} {
		if content == nil {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadKeepsOnlyWhatIsNeeded(t *testing.T) {
	a := authority(t)
	own, f := issue(t, a, time.Now(), time.Hour), filesIn(t.TempDir())
	both := append(append([]byte("a note\n"), own.key...), append(own.cert, caOf(t, a)...)...)
	write(t, f, pair{both, both}, caOf(t, a))
	content, faults := f.Read(time.Now())
	if faults != nil {
		t.Fatal(faults)
	}
	if want := string(own.cert) + string(caOf(t, a)); content.Chain != want {
		t.Errorf("the chain is %q, want %q", content.Chain, want)
	}
	if string(content.Key) != string(own.key) {
		t.Error("the key is another")
	}
	if content.ClientCA != string(caOf(t, a)) || !content.Ends().After(time.Now()) {
		t.Errorf("client CA %q, ends %v", content.ClientCA, content.Ends())
	}
	asJSON, err := json.Marshal(content.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %x", content, *content, *content, content.Key, content.Key), string(asJSON), content.Key.LogValue().String()} {
		if strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, fmt.Sprintf("%x", own.key[:40])) {
			t.Errorf("it prints the key: %s", text)
		}
	}
}

func TestFaults(t *testing.T) {
	a := authority(t)
	now := time.Now()
	own, other := issue(t, a, now, time.Hour), issue(t, a, now, time.Hour)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("no small RSA keys here:", err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	garbage := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
	for name, test := range map[string]struct {
		pair pair
		ca   []byte
		want []string
	}{
		"all is well":           {own, caOf(t, a), nil},
		"no files":              {pair{}, nil, []string{"TLS_CERT_FILE: open ", "TLS_KEY_FILE: open ", "TLS_CLIENT_CA_FILE: open "}},
		"no PEM":                {pair{[]byte("x"), []byte("y")}, []byte("z"), []string{"TLS_CERT_FILE", "has no certificate in PEM", "has no private key in PEM", "TLS_CLIENT_CA_FILE"}},
		"another key":           {pair{own.cert, other.key}, caOf(t, a), []string{"TLS_CERT_FILE and TLS_KEY_FILE", "is not the key of the first certificate"}},
		"ended":                 {issue(t, a, now.Add(-48*time.Hour), time.Hour), caOf(t, a), []string{"TLS_CERT_FILE", "ended at", "Renew it"}},
		"begins later":          {issue(t, a, now.Add(48*time.Hour), time.Hour), caOf(t, a), []string{"TLS_CERT_FILE", "begins at"}},
		"an encrypted key":      {pair{own.cert, encrypted}, caOf(t, a), []string{"TLS_KEY_FILE", "is encrypted", "openssl pkey"}},
		"a broken chain":        {pair{append(own.cert[:len(own.cert):len(own.cert)], garbage...), own.key}, caOf(t, a), []string{"its block 2 is no certificate"}},
		"a client CA that none": {own, other.cert, []string{"TLS_CLIENT_CA_FILE", "is no authority"}},
		"a small RSA key":       {selfSigned(t, small.Public(), small), caOf(t, a), []string{"1024 bits", "2048"}},
		"a kind of key":         {selfSigned(t, public, private), caOf(t, a), []string{"Ed25519", "RSA and ECDSA"}},
		"too large":             {pair{own.cert, make([]byte, 2<<20)}, caOf(t, a), []string{"TLS_KEY_FILE", "is larger than any certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := filesIn(t.TempDir())
			write(t, f, test.pair, test.ca)
			faults := f.Check(now)
			if (faults == nil) != (test.want == nil) {
				t.Fatalf("faults: %v", faults)
			}
			text := fmt.Sprint(errors.Join(faults...))
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("the faults do not say %q:\n%s", want, text)
				}
			}
		})
	}
}
