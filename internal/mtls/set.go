package mtls

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Names of a set's files. Each folder but the authority's is what one kind of part gets: it
// can be mounted or copied as it is, and holds no key but that role's.
const (
	AuthorityFolder = "ca"
	AuthorityFile   = "ca.crt"
	authorityKey    = "ca.key"
	CertFile        = "tls.crt"
	KeyFile         = "tls.key"
)

// FilesIn are those of a role's folder.
func FilesIn(dir string) Files {
	return Files{CA: filepath.Join(dir, AuthorityFile), Cert: filepath.Join(dir, CertFile), Key: filepath.Join(dir, KeyFile)}
}

// Set is a folder with an authority and a certificate for each role.
type Set struct {
	Dir   string
	Names []string // of machines, see Authority.Issue
	Life  time.Duration
	Now   time.Time
}

// ErrExists tells that a file of the set is there already.
var ErrExists = errors.New("there is a set already")

// Make makes the whole set. What is there is overwritten only where force says so.
func (s Set) Make(force bool) error {
	if found := s.found(); found != "" && !force {
		return fmt.Errorf("%w: %s", ErrExists, found)
	}
	authority, err := NewAuthority(s.Now)
	if err != nil {
		return err
	}
	cert, key, err := authority.PEM()
	if err != nil {
		return err
	}
	dir := filepath.Join(s.Dir, AuthorityFolder)
	if err := errors.Join(write(dir, authorityKey, key, 0o600), write(dir, AuthorityFile, cert, 0o644)); err != nil {
		return err
	}
	return s.issue(authority)
}

// Renew makes new certificates for the roles, of the authority that is there.
func (s Set) Renew() error {
	authority, err := s.authority()
	if err != nil {
		return err
	}
	return s.issue(authority)
}

// Ends is when the first of the roles' certificates ends, and when the authority does. It
// is an error where one of them is missing or of another authority.
func (s Set) Ends() (roles, authority time.Time, err error) {
	a, err := s.authority()
	if err != nil {
		return roles, authority, err
	}
	for _, role := range Roles() {
		ends, err := s.endOf(role, a)
		if err != nil {
			return roles, authority, fmt.Errorf("the certificate of the role %s: %w", role, err)
		}
		if roles.IsZero() || ends.Before(roles) {
			roles = ends
		}
	}
	return roles, a.Ends(), nil
}

func (s Set) endOf(role Role, a *Authority) (time.Time, error) {
	raw, err := readFile(filepath.Join(s.Dir, string(role), CertFile))
	if err != nil {
		return time.Time{}, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return time.Time{}, errors.New("its file holds no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, err
	}
	if _, err := os.Stat(filepath.Join(s.Dir, string(role), KeyFile)); err != nil {
		return time.Time{}, err
	}
	return cert.NotAfter, cert.CheckSignatureFrom(a.cert)
}

func (s Set) authority() (*Authority, error) {
	dir := filepath.Join(s.Dir, AuthorityFolder)
	cert, err := readFile(filepath.Join(dir, AuthorityFile))
	if err != nil {
		return nil, err
	}
	key, err := readFile(filepath.Join(dir, authorityKey))
	if err != nil {
		return nil, err
	}
	return ParseAuthority(cert, key)
}

func (s Set) issue(authority *Authority) error {
	ca, _, err := authority.PEM()
	if err != nil {
		return err
	}
	for _, role := range Roles() {
		cert, key, err := authority.Issue(role, s.Names, s.Now, s.Life)
		if err != nil {
			return err
		}
		dir := filepath.Join(s.Dir, string(role))
		err = errors.Join(write(dir, AuthorityFile, ca, 0o644), write(dir, KeyFile, key, 0o600), write(dir, CertFile, cert, 0o644))
		if err != nil {
			return err
		}
	}
	return nil
}

// found is the first file of the set that is there.
func (s Set) found() string {
	paths := []string{filepath.Join(s.Dir, AuthorityFolder, authorityKey), filepath.Join(s.Dir, AuthorityFolder, AuthorityFile)}
	for _, role := range Roles() {
		f := FilesIn(filepath.Join(s.Dir, string(role)))
		paths = append(paths, f.CA, f.Cert, f.Key)
	}
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

// write replaces a file by a rename: who reads it sees the old or the new, and Envoy takes
// notice of renames only.
func write(dir, name string, content []byte, mode fs.FileMode) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}
