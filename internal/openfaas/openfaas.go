// Package openfaas knows what an OpenFaaS gateway serves: it asks the gateway's API for its
// functions again and again, and about a name that is in no list so far. Calls of functions do
// not come by here: Envoy sends them to the gateway itself.
package openfaas

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/lookup"
)

const (
	// listEvery is how often the gateway is asked for its functions. Whoever calls one that was
	// deployed since asks for it by its name, so this bounds only how long one that was deleted
	// is believed to be there.
	listEvery   = 5 * time.Second
	listTimeout = 3 * time.Second
	maxList     = 8 << 20 // bytes of its answer
	// askTimeout is that of a question about one name, for which a call waits.
	askTimeout = 700 * time.Millisecond
	maxStatus  = 64 << 10 // bytes of its answer that are read, so that the connection can be used again
	// What the gateway said of a name is remembered, maxAnswers times: that it knew it until the
	// name should be in a list, that it did not for unknownFor.
	unknownFor = time.Second
	maxAnswers = 1024
	// maxQuestions bounds the names that are asked about at once.
	maxQuestions = 16
)

// The states of the gateway, as /health names them.
const (
	OK       = "ok"
	Degraded = "degraded" // it answers, but does not tell its functions
	Down     = "down"
)

// Name is what OpenFaaS's gateway takes for a function's name, with its namespace behind the
// last dot if it is of another one than the default.
var Name = regexp.MustCompile(`^[-a-zA-Z_0-9.]{1,253}$`)

// errBusy is the answer where too many names are being asked about.
var errBusy = errors.New("too many names are being asked about")

// Function is what we know of one.
type Function struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	Image     string `json:"image,omitempty"`
	Replicas  uint64 `json:"replicas"`
	Available uint64 `json:"availableReplicas"`
}

// Options make a Gateway.
type Options struct {
	URL            *url.URL // without a path
	User, Password string   // of the gateway's API; empty: it asks for none
	Authorities    *x509.CertPool
	Logger         *slog.Logger
	Registerer     prometheus.Registerer
	Every          time.Duration // 0: 5 s
}

// Gateway knows the functions of one OpenFaaS gateway.
type Gateway struct {
	Options
	client    *http.Client
	known     atomic.Pointer[list]
	answers   *lookup.Memory[string, answer]
	questions chan struct{}
	metrics   metrics
}

// answer is what the gateway said of one name, and until when that is believed.
type answer struct {
	there bool
	until time.Time
}

// list is what one answer of the gateway said, or what became of the question.
type list struct {
	state     string
	at        time.Time // of the functions; zero: it never told any
	functions []Function
	names     map[string]bool // also with their namespaces
}

// New makes a Gateway that knows nothing yet.
func New(o Options) *Gateway {
	if o.Every == 0 {
		o.Every = listEvery
	}
	g := &Gateway{
		Options: o,
		client: &http.Client{
			Transport: &http.Transport{
				TLSClientConfig:     &tls.Config{RootCAs: o.Authorities, MinVersion: tls.VersionTLS12},
				MaxIdleConnsPerHost: maxQuestions, MaxConnsPerHost: maxQuestions + 1, IdleConnTimeout: time.Minute,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		answers:   lookup.New[string, answer](maxAnswers, 0, nil),
		questions: make(chan struct{}, maxQuestions),
		metrics:   newMetrics(o.Registerer),
	}
	g.known.Store(&list{state: Down})
	return g
}

// Serve asks the gateway for its functions until the context ends.
func (g *Gateway) Serve(ctx context.Context) error {
	defer g.client.CloseIdleConnections()
	tick := time.NewTicker(g.Every)
	defer tick.Stop()
	for {
		g.renew(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// renew keeps what is known where the gateway tells nothing new. The first of several failures
// is logged.
func (g *Gateway) renew(ctx context.Context) {
	before := g.known.Load()
	functions, err := g.list(ctx)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		g.metrics.functions.Set(float64(len(functions)))
		g.known.Store(newList(functions))
		if before.state != OK {
			g.Logger.InfoContext(ctx, "OpenFaaS tells its functions", "functions", len(functions))
		}
		return
	}
	g.metrics.failures.Inc()
	now := *before
	now.state = Down
	if errors.As(err, new(*refusal)) {
		now.state = Degraded
	}
	g.known.Store(&now)
	if before.state == OK || before.at.IsZero() && before.state != now.state {
		g.Logger.WarnContext(ctx, "OpenFaaS does not tell its functions; what is known stays", "error", err)
	}
}

func newList(functions []Function) *list {
	l := &list{state: OK, at: time.Now(), functions: functions, names: make(map[string]bool, 2*len(functions))}
	for _, f := range functions {
		l.names[f.Name] = true
		if f.Namespace != "" {
			l.names[f.Name+"."+f.Namespace] = true
		}
	}
	return l
}

// Has tells whether OpenFaaS may have a function of that name: false is certain. A name that is
// in no list is asked about, so that a function can be called as soon as it is deployed; where
// the gateway does not say, it may have it, and will answer the call itself.
func (g *Gateway) Has(ctx context.Context, name string) bool {
	if !Name.MatchString(name) {
		return false
	}
	if g.known.Load().names[name] {
		return true
	}
	if said, ok := g.answers.Held(name); ok && time.Now().Before(said.until) {
		return said.there
	}
	said, err := g.answers.Find(ctx, name, askTimeout, func(ctx context.Context) (answer, error) {
		there, err := g.ask(ctx, name)
		if err != nil {
			g.metrics.failures.Inc()
			return answer{}, err
		}
		believed := unknownFor
		if there {
			believed = 2 * g.Every
		}
		return answer{there, time.Now().Add(believed)}, nil
	})
	return err != nil || said.there
}

// State is ok, degraded or down.
func (g *Gateway) State() string { return g.known.Load().state }

// Status is what operators are shown.
type Status struct {
	State     string     `json:"state"`
	Listed    *time.Time `json:"listed"` // when it told its functions last; null: never
	Functions []Function `json:"functions"`
}

// Status tells what is known.
func (g *Gateway) Status() Status {
	l := g.known.Load()
	s := Status{State: l.state, Functions: slices.Clone(l.functions)}
	if !l.at.IsZero() {
		s.Listed = &l.at
	}
	return s
}

// refusal is an answer of the gateway that is not the one that was asked for.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

func (g *Gateway) list(ctx context.Context) (functions []Function, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	reply, err := g.get(ctx, "/system/functions", nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Body.Close() }()
	if reply.StatusCode != http.StatusOK {
		return nil, refused(reply)
	}
	raw, err := io.ReadAll(io.LimitReader(reply.Body, maxList+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the list of functions: %w", err)
	case len(raw) > maxList:
		return nil, &refusal{fmt.Sprintf("the list of functions is longer than %d bytes", maxList)}
	}
	if err := json.Unmarshal(raw, &functions); err != nil {
		return nil, &refusal{"the list of functions is not the JSON that OpenFaaS sends"}
	}
	return functions, nil
}

// ask asks about one name. The gateway takes the namespace apart from the name.
func (g *Gateway) ask(ctx context.Context, name string) (bool, error) {
	select {
	case g.questions <- struct{}{}:
		defer func() { <-g.questions }()
	default:
		return false, errBusy
	}
	query := url.Values{}
	if dot := strings.LastIndexByte(name, '.'); dot > 0 {
		query.Set("namespace", name[dot+1:])
		name = name[:dot]
	}
	reply, err := g.get(ctx, "/system/function/"+url.PathEscape(name), query)
	if err != nil {
		return false, err
	}
	defer func() { _ = reply.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(reply.Body, maxStatus))
	switch reply.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusNotFound:
		return false, nil
	}
	return false, refused(reply)
}

func refused(reply *http.Response) error {
	if reply.StatusCode == http.StatusUnauthorized {
		return &refusal{"the gateway's API does not take these credentials (401)"}
	}
	return &refusal{fmt.Sprintf("the gateway's API answers %d", reply.StatusCode)}
}

func (g *Gateway) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	at := *g.URL
	at.Path, at.RawQuery = path, query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	if g.User != "" {
		request.SetBasicAuth(g.User, g.Password)
	}
	request.Header.Set("User-Agent", "envoke")
	return g.client.Do(request)
}

type metrics struct {
	functions prometheus.Gauge
	failures  prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) metrics {
	m := metrics{
		functions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "envoke_openfaas_functions", Help: "Functions of the OpenFaaS gateway, when it told them last.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "envoke_openfaas_failures_total", Help: "Questions that the OpenFaaS gateway did not answer.",
		}),
	}
	if registerer != nil {
		registerer.MustRegister(m.functions, m.failures)
	}
	return m
}
