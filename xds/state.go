package xds

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"envoke/internal/faas"
	"envoke/internal/routing"
)

// State is all that Envoy's configuration depends on.
type State struct {
	Listener    Listener  `json:"listener"`
	ExtProcPath string    `json:"ext_proc_path"` // Unix socket of control's gRPC server
	APIPath     string    `json:"api_path"`      // Unix socket of control's HTTP API
	Runtimes    []Runtime `json:"runtimes"`
	// OwnFolder is where the sockets of Envoke's parts are: none of them is an upstream.
	OwnFolder string `json:"own_folder"`
	// Controls are the ports of all controls, where parts are on several machines: every link
	// is TLS then, by Secrets, and the two sockets are not used. A host may be a name here.
	Controls []Endpoint `json:"controls"`
	Secrets  Secrets    `json:"secrets"`
	// Filter is the Wasm module of the filter; empty: requests pass by it.
	Filter []byte `json:"filter"`
	// FilterGeneration tells apart what is published of one module: with another number
	// every thread of Envoy begins a new VM, also one whose VM trapped.
	FilterGeneration int `json:"filter_generation"`
	// FilterSlots is how many results it keeps; 0: the default of 1024.
	FilterSlots int `json:"filter_slots"`

	// Auth is who may call; nil: everybody may do everything.
	Auth *Auth `json:"auth"`
	// Rates are how often callers may, where Auth says who they are.
	Rates Rates `json:"rates"`
	// SharedRates is how long each request waits for the budget that all Envoys share, which
	// control keeps; 0: each Envoy counts by itself.
	SharedRates time.Duration `json:"shared_rates"`

	// Routing is what operators declare beside the API.
	Routing routing.Routing `json:"routing"`

	// OpenFaaS has the functions that are not ours.
	OpenFaaS OpenFaaS `json:"openfaas"`

	// MappedNames says that ext_proc maps functions' names to languages, so that a
	// name in a path does not say where to go.
	MappedNames bool `json:"mapped_names"`

	// AccessLog is the file that gets one line of JSON per request; empty: none.
	AccessLog string `json:"access_log"`
	// AccessLogStream has the same sent to control by gRPC, for Envoys that cannot write the
	// file: what is sent while control is away is lost.
	AccessLogStream bool `json:"access_log_stream"`
	// MaxTimeout is the longest that any execute may take. Routes wait longer, so that it is
	// the host that answers a timeout.
	MaxTimeout time.Duration `json:"max_timeout"`
	// MaxRequests is how many requests the hosts of one language have at once, at most, of
	// one Envoy; others are answered 429. 0: 8192.
	MaxRequests int `json:"max_requests"`
}

// Secrets are the files of Envoy's SDS, as Envoy's working folder has them.
type Secrets struct {
	Identity  string `json:"identity"`  // of the secret named so: Envoy's certificate
	Authority string `json:"authority"` // of the one whose certificates Envoy believes
}

// remote tells whether the parts are on several machines.
func (s State) remote() bool { return len(s.Controls) > 0 }

// Listener is the public port and what it demands of clients.
type Listener struct {
	Host string `json:"host"` // an IP address
	Port int    `json:"port"` // 0: the system chooses

	// HeadersTimeout is how long a request's headers may take; 0 means 10 s.
	HeadersTimeout time.Duration `json:"headers_timeout"`
	// RequestTimeout is how long a whole request may take to arrive; 0 means 60 s.
	RequestTimeout time.Duration `json:"request_timeout"`
	// IdleTimeout is how long a connection without a request is kept; 0 means 5 min.
	IdleTimeout time.Duration `json:"idle_timeout"`

	TLS      TLS      `json:"tls"`
	Redirect Redirect `json:"redirect"`
	// HSTS is for how long browsers shall come by https only; 0: nothing is said of it.
	HSTS time.Duration `json:"hsts"`
	// Origins are those whose pages may call, or the one "*"; empty: none may.
	Origins []string `json:"origins"`
	// Compress has answers compressed for those who take them so.
	Compress bool `json:"compress"`
}

// Runtime is a language that is served, and where.
type Runtime struct {
	Language  faas.Language `json:"language"`
	Endpoints []Endpoint    `json:"endpoints"` // may be empty: requests get 503
	GRPC      []Endpoint    `json:"grpc"`      // where its hosts answer gRPC; empty: nowhere
}

// Endpoint is the address of one runtime host: a Unix socket, or an IP address and
// a port.
type Endpoint struct {
	Path string `json:"path"`
	Host string `json:"host"`
	Port int    `json:"port"`
	Zone string `json:"zone,omitempty"` // where it is; empty: nobody knows
}

// maxSocketPath is what sockaddr_un holds, less its final NUL.
const maxSocketPath = 107

// normal returns the state with defaults filled in and lists in canonical order, so
// that equal states give equal snapshots.
func (s State) normal() State {
	l := &s.Listener
	l.HeadersTimeout = cmp.Or(l.HeadersTimeout, 10*time.Second)
	l.RequestTimeout = cmp.Or(l.RequestTimeout, time.Minute)
	l.IdleTimeout = cmp.Or(l.IdleTimeout, 5*time.Minute)
	s.MaxRequests = cmp.Or(s.MaxRequests, 8192)
	s.Controls = sorted(s.Controls)
	s.Runtimes = slices.Clone(s.Runtimes)
	slices.SortFunc(s.Runtimes, func(a, b Runtime) int { return cmp.Compare(a.Language, b.Language) })
	for i, r := range s.Runtimes {
		s.Runtimes[i].Endpoints = sorted(r.Endpoints)
		s.Runtimes[i].GRPC = sorted(r.GRPC)
	}
	return s
}

func sorted(endpoints []Endpoint) []Endpoint {
	return slices.SortedFunc(slices.Values(endpoints), compareEndpoints)
}

func compareEndpoints(a, b Endpoint) int {
	return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Zone, b.Zone))
}

// check reports every fault of the state at once.
func (s State) check() error {
	faults := []error{
		checkAddress("listener", s.Listener.Host, s.Listener.Port, 0),
		s.checkControls(),
		s.Auth.check(), s.Rates.check(),
		s.Listener.TLS.check(),
		s.Listener.checkRedirect(),
		s.Listener.checkOrigins(),
		s.checkListeners(),
		s.OpenFaaS.check(),
	}
	if !utf8.ValidString(s.AccessLog) {
		faults = append(faults, fmt.Errorf("access_log %q is not UTF-8", s.AccessLog))
	}
	if s.MaxRequests < 0 {
		faults = append(faults, fmt.Errorf("max_requests %d is negative", s.MaxRequests))
	}
	if s.SharedRates < 0 {
		faults = append(faults, fmt.Errorf("shared_rates %v is negative", s.SharedRates))
	}
	if s.MaxTimeout <= 0 {
		faults = append(faults, fmt.Errorf("max_timeout %v is not positive", s.MaxTimeout))
	}
	for _, d := range []time.Duration{s.Listener.HeadersTimeout, s.Listener.RequestTimeout, s.Listener.IdleTimeout, s.Listener.HSTS} {
		if d < 0 {
			faults = append(faults, fmt.Errorf("listener: timeout %v is negative", d))
		}
	}
	seen := map[faas.Language]bool{}
	for _, r := range s.Runtimes {
		if seen[r.Language] {
			faults = append(faults, fmt.Errorf("runtime %q is there twice", r.Language))
		}
		seen[r.Language] = true
		faults = append(faults, r.check())
	}
	return errors.Join(faults...)
}

// checkControls checks how control is reached.
func (s State) checkControls() error {
	if !s.remote() {
		return errors.Join(checkPath("ext_proc_path", s.ExtProcPath), checkPath("api_path", s.APIPath))
	}
	var faults []error
	if s.Secrets.Identity == "" || s.Secrets.Authority == "" {
		faults = append(faults, errors.New("controls on other machines need secrets"))
	}
	seen := map[Endpoint]bool{}
	for _, e := range s.Controls {
		if seen[e] {
			faults = append(faults, fmt.Errorf("control %v is there twice", e))
		}
		seen[e] = true
		if e.Path != "" || e.Host == "" || !utf8.ValidString(e.Host) || e.Port < 1 || e.Port > 65535 {
			faults = append(faults, fmt.Errorf("control %v is no host and port", e))
		}
	}
	return errors.Join(faults...)
}

func (r Runtime) check() error {
	var faults []error
	if !r.Language.Known() {
		faults = append(faults, fmt.Errorf("runtime %q is of no known language", r.Language))
	}
	for _, endpoints := range [][]Endpoint{r.Endpoints, r.GRPC} {
		seen := map[Endpoint]bool{}
		for _, e := range endpoints {
			if seen[e] {
				faults = append(faults, fmt.Errorf("runtime %q: endpoint %v is there twice", r.Language, e))
			}
			seen[e] = true
			if err := e.check(); err != nil {
				faults = append(faults, fmt.Errorf("runtime %q: %w", r.Language, err))
			}
		}
	}
	return errors.Join(faults...)
}

func (e Endpoint) check() error {
	if e.Path != "" && e.Host != "" {
		return fmt.Errorf("endpoint has both a path (%s) and a host (%s)", e.Path, e.Host)
	}
	if e.Host != "" {
		return checkAddress("endpoint", e.Host, e.Port, 1)
	}
	return checkPath("endpoint", e.Path)
}

func checkPath(what, path string) error {
	switch {
	case path == "":
		return fmt.Errorf("%s is empty", what)
	case !utf8.ValidString(path):
		return fmt.Errorf("%s %q is not UTF-8", what, path)
	case len(path) > maxSocketPath:
		return fmt.Errorf("%s %s is longer than %d bytes", what, path, maxSocketPath)
	}
	return nil
}

// checkAddress wants an IP address: Envoy resolves no names here.
func checkAddress(what, host string, port, minPort int) error {
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("%s: host %q is not an IP address", what, host)
	}
	if port < minPort || port > 65535 {
		return fmt.Errorf("%s: port %d is out of range", what, port)
	}
	return nil
}
