package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// lookEvery is how often the files are looked at, at most, and only where somebody
	// connects.
	lookEvery = time.Second
	// maxFile bounds each of the files, in bytes.
	maxFile = 1 << 20
	// expiresSoon is when the end of a certificate is said at start.
	expiresSoon = 30 * 24 * time.Hour
)

// Files are where a part's certificate is, in PEM.
type Files struct {
	CA        string // the authorities that it believes, one or more
	Cert, Key string // its own; the certificate may be followed by those in between
}

// Options open an Identity. All are required.
type Options struct {
	Files
	Role       Role // that the certificate must have
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Identity is who a part is. It follows its files: what replaces them is used for the next
// connection. It is safe for concurrent use.
type Identity struct {
	Options
	reloads *prometheus.CounterVec
	current atomic.Pointer[material]

	mu     sync.Mutex // guards what follows
	looked time.Time
	seen   [3]stamp
	failed bool // the last look found files that are no identity
}

// material is what the files held.
type material struct {
	pair  tls.Certificate
	roots *x509.CertPool
}

// stamp tells whether a file is another than before.
type stamp struct {
	changed time.Time
	size    int64
}

// Open reads the files. The error says which of them is not as it must be.
func Open(o Options) (*Identity, error) {
	i := &Identity{Options: o, looked: time.Now(), seen: o.stamps()}
	found, err := o.load()
	if err != nil {
		return nil, err
	}
	i.current.Store(found)
	i.measure()
	if left := time.Until(found.pair.Leaf.NotAfter); left < expiresSoon {
		o.Logger.Warn("the certificate ends soon: make another with `envoke certs --renew`",
			"file", o.Cert, "ends", found.pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return i, nil
}

func (i *Identity) measure() {
	i.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_tls_reloads_total",
		Help: "Times that the files of this part's certificate had changed, by what came of reading them.",
	}, []string{"outcome"})
	i.Registerer.MustRegister(i.reloads, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "envoke_tls_certificate_ends_timestamp_seconds",
		Help: "When this part's certificate ends, in Unix time.",
	}, func() float64 { return float64(i.latest().pair.Leaf.NotAfter.Unix()) }))
}

// latest is what the files hold, or held when they last made sense.
func (i *Identity) latest() *material {
	i.mu.Lock()
	defer i.mu.Unlock()
	if time.Since(i.looked) >= lookEvery {
		i.looked = time.Now()
		i.look()
	}
	return i.current.Load()
}

// look is called with the lock held. Files that are replaced one after the other do not fit
// each other in between: what was there stays until they do.
func (i *Identity) look() {
	now := i.stamps()
	if now == i.seen && !i.failed {
		return
	}
	found, err := i.load()
	if err != nil {
		if !i.failed || now != i.seen {
			i.reloads.WithLabelValues("failed").Inc()
			i.Logger.Warn("the files of the certificate changed and make no sense: the one before stays in use", "error", err)
		}
		i.seen, i.failed = now, true
		return
	}
	i.seen, i.failed = now, false
	i.current.Store(found)
	i.reloads.WithLabelValues("taken").Inc()
	i.Logger.Info("took the new certificate", "file", i.Cert, "ends", found.pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
}

func (f Files) stamps() (all [3]stamp) {
	for n, path := range []string{f.CA, f.Cert, f.Key} {
		if stat, err := os.Stat(path); err == nil {
			all[n] = stamp{stat.ModTime(), stat.Size()}
		}
	}
	return all
}

// Check names all that is wrong with the files of a part of that role.
func (f Files) Check(role Role) []error {
	_, faults := (&Options{Files: f, Role: role}).read()
	return faults
}

func (o *Options) load() (*material, error) {
	found, faults := o.read()
	return found, errors.Join(faults...)
}

// read reads the files, unless one of them is not as it must be.
func (o *Options) read() (_ *material, faults []error) {
	var content [3][]byte
	for n, file := range [...]struct{ setting, path string }{{"TLS_CA", o.CA}, {"TLS_CERT", o.Cert}, {"TLS_KEY", o.Key}} {
		var err error
		if content[n], err = readFile(file.path); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", file.setting, err))
		}
	}
	if faults != nil {
		return nil, faults
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(content[0]) {
		faults = append(faults, fmt.Errorf("TLS_CA: %s has no certificate", o.CA))
	}
	pair, err := tls.X509KeyPair(content[1], content[2])
	if err != nil {
		faults = append(faults, fmt.Errorf("TLS_CERT and TLS_KEY (%s, %s): %w", o.Cert, o.Key, err))
	}
	if faults != nil {
		return nil, faults
	}
	found := &material{pair: pair, roots: roots}
	if err := found.check(o.Role); err != nil {
		return nil, []error{fmt.Errorf("TLS_CERT (%s): %w", o.Cert, err)}
	}
	return found, nil
}

// check tells whether others will take the certificate for one of the role.
func (m *material) check(role Role) error {
	between := x509.NewCertPool()
	for _, raw := range m.pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return err
		}
		between.AddCert(cert)
	}
	leaf := m.pair.Leaf
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: m.roots, Intermediates: between, KeyUsages: usages}); err != nil {
		return fmt.Errorf("it is not of an authority in TLS_CA: %w", err)
	}
	has, err := roleOf(leaf)
	if err == nil && has != role {
		err = fmt.Errorf("its role is %s: this part needs one of the role %s", has, role)
	}
	return err
}

func readFile(path string) ([]byte, error) {
	stat, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case stat.Size() > maxFile:
		return nil, errors.New(path + " is no certificate: it is too large")
	}
	return os.ReadFile(path)
}
