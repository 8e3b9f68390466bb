package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// fakeEnvoke answers as the documented API does. What it keeps it answers from the
// filter, or from ext_proc.
type fakeEnvoke struct {
	refuses  bool // to register functions
	keeps    bool
	byFilter bool
	asked    atomic.Int64 // ext_proc
}

func (f *fakeEnvoke) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if !f.byFilter || !f.keeps {
		f.asked.Add(1)
	}
	switch {
	case r.URL.Path == "/metrics":
		fmt.Fprintf(w, "# HELP x\nenvoke_extproc_requests_total{operation=\"a\",outcome=\"b\"} 1\n"+
			"envoke_extproc_requests_total{operation=\"c\",outcome=\"d\"} %d\nenvoke_extproc_streams 9\n", f.asked.Load())
		return
	case f.keeps:
		w.Header().Set("Age", "0")
	}
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/api/v1/functions" && !f.refuses:
		var function struct {
			Language, Title string
			TTL             int `json:"cache_ttl_seconds"`
		}
		if err := json.Unmarshal(body, &function); err != nil || function.Language+"-"+function.Title != cachedTitle || function.TTL != 60 {
			http.Error(w, string(body), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
	case r.URL.Path == "/api/v1/initialize" && string(body) == "{}" && r.Header.Get("Language-Title") == cachedTitle:
		_, _ = io.WriteString(w, `{"request_id":"id"}`)
	case r.Method == http.MethodGet && r.URL.Path == cachedPath, r.Method == http.MethodPost && r.URL.Path == "/api/v1/execute/id":
		_, _ = io.WriteString(w, `{"result":100000002}`)
	default:
		http.NotFound(w, r)
	}
}

// start returns the address of the fake, and a stand for the cached cases.
func (f *fakeEnvoke) start(t *testing.T) (target, *stand) {
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	s := newStand(Config{Parts: []Part{Cache}, Envoke: "envoke"}, t.TempDir())
	s.filtered = target{name: envokeName, address: address, operators: address}
	return s.filtered, s
}

func TestAddCached(t *testing.T) {
	for _, test := range []struct {
		name  string
		fake  *fakeEnvoke
		wrong string
	}{
		{"kept", &fakeEnvoke{keeps: true}, ""},
		{"not kept", &fakeEnvoke{}, "no reply had an Age header"},
		{"not registered", &fakeEnvoke{refuses: true}, "register nodejs-bench-cached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, s := test.fake.start(t)
			err := s.addCached(t.Context(), ours, byFilter)
			if test.wrong == "" && (err != nil || len(s.endpoints) != 2) {
				t.Errorf("error %v, endpoints %v", err, s.endpoints)
			}
			if test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong) || len(s.endpoints) != 0) {
				t.Errorf("error %v, want %q; endpoints %v", err, test.wrong, s.endpoints)
			}
		})
	}
}

// A case says that the filter answers it: where ext_proc does, it must not be measured.
func TestCheckFilter(t *testing.T) {
	for _, test := range []struct {
		name    string
		fake    *fakeEnvoke
		missing int
	}{
		{"by the filter", &fakeEnvoke{keeps: true, byFilter: true}, 0},
		{"by ext_proc", &fakeEnvoke{keeps: true}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, s := test.fake.start(t)
			if err := s.addCached(t.Context(), ours, byFilter); err != nil {
				t.Fatal(err)
			}
			if err := s.checkFilter(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(s.missing) != test.missing || len(s.endpoints) != 2-test.missing {
				t.Errorf("missing %+v, endpoints %v", s.missing, s.endpoints)
			}
			if slices.ContainsFunc(s.missing, func(m Missing) bool { return !strings.Contains(m.Why, "ext_proc") }) {
				t.Errorf("missing %+v", s.missing)
			}
		})
	}
}

func TestExtProcRequestsOfSomethingElse(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	if _, err := readMetric(t.Context(), strings.TrimPrefix(server.URL, "http://"), extProcRequests); err == nil {
		t.Error("no error")
	}
}
