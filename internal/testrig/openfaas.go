package testrig

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// OpenFaaS stands for the gateway of one: what it answers, with which statuses and headers, is
// what OpenFaaS's gateway and the provider behind it do, whose sources were read. Its functions
// are handlers of the test.
type OpenFaaS struct {
	URL            string
	User, Password string // of /system/; empty: it asks for none

	server *httptest.Server
	async  sync.WaitGroup

	mu        sync.Mutex // guards what follows
	functions map[string]http.Handler
	asked     map[string]int // questions of the API, by their paths
	away      bool           // of the API: it answers 500
	called    []http.Header  // of the functions'
}

// openFaaSNamespace is where its functions are whose names say no other.
const openFaaSNamespace = "openfaas-fn"

// NewOpenFaaS starts one whose API takes that password of the user admin; empty: it asks for none.
func NewOpenFaaS(t testing.TB, password string) *OpenFaaS {
	return startOpenFaaS(t, password, httptest.NewServer)
}

// NewOpenFaaSTLS is NewOpenFaaS by HTTPS, with the certificate that httptest has.
func NewOpenFaaSTLS(t testing.TB, password string) *OpenFaaS {
	return startOpenFaaS(t, password, httptest.NewTLSServer)
}

// Server is its HTTP server.
func (o *OpenFaaS) Server() *httptest.Server { return o.server }

func startOpenFaaS(t testing.TB, password string, start func(http.Handler) *httptest.Server) *OpenFaaS {
	t.Helper()
	o := &OpenFaaS{functions: map[string]http.Handler{}, asked: map[string]int{}}
	if o.Password = password; password != "" {
		o.User = "admin"
	}
	o.server = start(o.handler())
	o.URL = o.server.URL
	t.Cleanup(o.Close)
	return o
}

// Close ends it, once what it does later is done.
func (o *OpenFaaS) Close() {
	o.async.Wait()
	o.server.CloseClientConnections()
	o.server.Close()
}

// Deploy has a function answer to a name, of the default namespace or name.namespace.
func (o *OpenFaaS) Deploy(name string, function http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.functions[qualified(name)] = function
}

// Remove deletes a function.
func (o *OpenFaaS) Remove(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.functions, qualified(name))
}

// Break has the API answer 500, or well again.
func (o *OpenFaaS) Break(broken bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = broken
}

// Asked is how many requests of the API there were, by path.
func (o *OpenFaaS) Asked(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[path]
}

// Called are the headers with which functions were called.
func (o *OpenFaaS) Called() []http.Header {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]http.Header(nil), o.called...)
}

// qualified has the namespace in the name: what is behind the last dot is one.
func qualified(name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return name + "." + openFaaSNamespace
}

func (o *OpenFaaS) function(name string) http.Handler {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.functions[qualified(name)]
}

func (o *OpenFaaS) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /system/functions", o.system(o.list))
	m.HandleFunc("GET /system/function/{name}", o.system(o.status))
	m.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	m.HandleFunc("/function/{name}", o.call)
	m.HandleFunc("/function/{name}/{path...}", o.call)
	m.HandleFunc("POST /async-function/{name}", o.queue)
	m.HandleFunc("POST /async-function/{name}/{path...}", o.queue)
	return m
}

// system is a path of the API, which asks for the password.
func (o *OpenFaaS) system(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.asked[r.URL.Path]++
		away := o.away
		o.mu.Unlock()
		user, password, _ := r.BasicAuth()
		switch {
		case o.Password != "" && (user != o.User || password != o.Password):
			w.Header().Set("WWW-Authenticate", `Basic realm="Restricted"`)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "invalid credentials")
		case away:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			h(w, r)
		}
	}
}

// functionStatus is types.FunctionStatus of OpenFaaS's provider, as far as it is filled here.
type functionStatus struct {
	Name              string            `json:"name"`
	Image             string            `json:"image"`
	Namespace         string            `json:"namespace,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	InvocationCount   float64           `json:"invocationCount,omitempty"`
	Replicas          uint64            `json:"replicas,omitempty"`
	AvailableReplicas uint64            `json:"availableReplicas,omitempty"`
	CreatedAt         time.Time         `json:"createdAt"`
}

func statusOf(name string) functionStatus {
	title, namespace, _ := strings.Cut(name, ".")
	return functionStatus{
		Name: title, Namespace: namespace, Image: "ghcr.io/example/" + title + ":latest",
		Labels:   map[string]string{"faas_function": title},
		Replicas: 1, AvailableReplicas: 1, CreatedAt: time.Unix(1700000000, 0).UTC(),
	}
}

func namespaceOf(r *http.Request) string {
	if namespace := r.URL.Query().Get("namespace"); namespace != "" {
		return namespace
	}
	return openFaaSNamespace
}

func (o *OpenFaaS) list(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := []functionStatus{}
	for name := range o.functions {
		if strings.HasSuffix(name, "."+namespaceOf(r)) {
			all = append(all, statusOf(name))
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all)
}

func (o *OpenFaaS) status(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name") + "." + namespaceOf(r)
	if o.function(name) == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(statusOf(name))
}

// tag is what the gateway adds to each call, and says of it in its answer.
func tag(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Call-Id") == "" {
		r.Header.Set("X-Call-Id", rand.Text())
	}
	now := strconv.FormatInt(time.Now().UnixNano(), 10)
	r.Header.Set("X-Start-Time", now)
	for name, value := range map[string]string{"X-Call-Id": r.Header.Get("X-Call-Id"), "X-Start-Time": now, "X-Served-By": "openfaas-ce/0.27.12"} {
		w.Header().Set(name, value)
	}
}

// call runs a function, which sees the path behind its name. One that is not there is what the
// gateway says while it wants to scale it.
func (o *OpenFaaS) call(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	f := o.function(name)
	tag(w, r)
	if f == nil {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, "error finding function %s: server returned non-200 status code (404) for function, %s, body: ", qualified(name), name)
		return
	}
	f.ServeHTTP(w, o.behind(r))
}

func (o *OpenFaaS) behind(r *http.Request) *http.Request {
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = "/"+r.PathValue("path"), ""
	if inner.Header.Get("X-Forwarded-Host") == "" {
		inner.Header.Set("X-Forwarded-Host", r.Host)
	}
	o.mu.Lock()
	o.called = append(o.called, r.Header.Clone())
	o.mu.Unlock()
	return inner
}

// queue answers at once, calls the function later, and posts what it answered to X-Callback-Url.
func (o *OpenFaaS) queue(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	tag(w, r)
	w.WriteHeader(http.StatusAccepted)
	f := o.function(r.PathValue("name"))
	inner := o.behind(r).WithContext(context.Background())
	inner.Body = io.NopCloser(bytes.NewReader(body))
	o.async.Go(func() {
		answer := httptest.NewRecorder()
		if f == nil {
			answer.WriteHeader(http.StatusNotFound)
		} else {
			f.ServeHTTP(answer, inner)
		}
		to := r.Header.Get("X-Callback-Url")
		if to == "" {
			return
		}
		callback, err := http.NewRequest(http.MethodPost, to, answer.Body)
		if err != nil {
			return
		}
		callback.Header.Set("X-Call-Id", r.Header.Get("X-Call-Id"))
		callback.Header.Set("X-Function-Status", strconv.Itoa(answer.Code))
		callback.Header.Set("X-Function-Name", r.PathValue("name"))
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		if reply, err := client.Do(callback); err == nil {
			_ = reply.Body.Close()
		}
	})
}

// Port is where it listens.
func (o *OpenFaaS) Port() string {
	_, port, _ := net.SplitHostPort(o.server.Listener.Addr().String())
	return port
}
