package mtls_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"envoke/internal/mtls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSet(t testing.TB) mtls.Set {
	t.Helper()
	s := mtls.Set{Dir: t.TempDir(), Life: time.Hour * 24, Now: time.Now(), Names: []string{"host.example", "10.0.0.7"}}
	if err := s.Make(false); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSet: a set is made once, its keys are for their owner only, and no role's folder has the
// key of the authority.
func TestSet(t *testing.T) {
	s := newSet(t)
	if err := s.Make(false); !errors.Is(err, mtls.ErrExists) {
		t.Errorf("made again: %v", err)
	}
	for _, path := range []string{"ca/ca.key", "envoy/tls.key", "host/tls.key", "control/tls.key"} {
		stat, err := os.Stat(filepath.Join(s.Dir, path))
		if err != nil || stat.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, stat.Mode(), err)
		}
	}
	for _, role := range mtls.Roles() {
		entries, err := os.ReadDir(filepath.Join(s.Dir, string(role)))
		if err != nil || len(entries) != 3 {
			t.Errorf("%s has %v, %v", role, entries, err)
		}
	}
	roles, authority, err := s.Ends()
	if err != nil || roles.Sub(s.Now) > s.Life || authority.Sub(s.Now) < mtls.AuthorityLife-time.Minute {
		t.Errorf("it ends at %v and %v, %v", roles, authority, err)
	}
}

// TestRenewKeepsTheAuthority: what was issued before is still believed.
func TestRenewKeepsTheAuthority(t *testing.T) {
	s := newSet(t)
	read := func(path string) string {
		raw, err := os.ReadFile(filepath.Join(s.Dir, path))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	ca, cert := read("ca/ca.crt"), read("host/tls.crt")
	if err := s.Renew(); err != nil {
		t.Fatal(err)
	}
	if read("ca/ca.crt") != ca || read("host/ca.crt") != ca || read("host/tls.crt") == cert {
		t.Error("the authority is another, or the certificate is not")
	}
	if err := s.Make(true); err != nil {
		t.Fatal(err)
	}
	if read("ca/ca.crt") == ca {
		t.Error("--force kept the authority")
	}
}
