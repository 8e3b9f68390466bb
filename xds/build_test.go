package xds

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"envoke/internal/faas"
)

var update = flag.Bool("update", false, "write the golden files anew")

func validState() State {
	return State{
		Listener:    Listener{Host: "127.0.0.1", Port: 9000},
		ExtProcPath: "/run/extproc.sock",
		APIPath:     "/run/api.sock",
		MaxTimeout:  30 * time.Second,
		Runtimes:    []Runtime{{Language: faas.NodeJS, Endpoints: []Endpoint{{Path: "/run/nodejs.sock"}}}},
	}
}

func someTLS() TLS { return TLS{Chain: "chain", Key: "key"} }

// TestGolden builds each testdata/NAME.in.yaml and compares NAME.golden.yaml.
func TestGolden(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	for _, input := range inputs {
		name := strings.TrimSuffix(filepath.Base(input), ".in.yaml")
		t.Run(name, func(t *testing.T) {
			snapshot, err := Build(readState(t, input))
			if err != nil {
				t.Fatal(err)
			}
			got := render(t, snapshot)
			golden := filepath.Join("testdata", name+".golden.yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("run with -update if this is wanted (-want +got):\n%s", diff)
			}
		})
	}
}

func readState(t *testing.T, path string) (state State) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw, err = yaml.YAMLToJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	durations := json.WithUnmarshalers(json.UnmarshalFunc(func(raw []byte, d *time.Duration) (err error) {
		*d, err = time.ParseDuration(strings.Trim(string(raw), `"`))
		return err
	}))
	if err := json.Unmarshal(raw, &state, durations, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return state
}

func render(t *testing.T, s *Snapshot) []byte {
	t.Helper()
	var out strings.Builder
	out.WriteString("version: " + s.Version() + "\n")
	for _, typeURL := range typeURLs {
		resources := s.cache.GetResources(typeURL)
		names := make([]string, 0, len(resources))
		for name := range resources {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			raw, err := protojson.Marshal(withoutKey(resources[name]))
			if err != nil {
				t.Fatal(err)
			}
			// protojson varies its spaces on purpose; YAML does not.
			text, err := yaml.JSONToYAML(raw)
			if err != nil {
				t.Fatal(err)
			}
			out.WriteString("---\n# " + short(typeURL) + " " + name + "\n")
			out.Write(text)
		}
	}
	return []byte(out.String())
}

// withoutKey is what may be in a repository.
func withoutKey(r types.Resource) types.Resource {
	if secret, ok := proto.Clone(r).(*tlsv3.Secret); ok && secret.GetTlsCertificate() != nil {
		secret.GetTlsCertificate().PrivateKey = inline("[redacted]")
		return secret
	}
	return r
}

// TestBuildIsPure builds the same state in another order.
func TestBuildIsPure(t *testing.T) {
	state := readState(t, "testdata/full.in.yaml")
	first, err := Build(state)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(state.Runtimes)
	for i := range state.Runtimes {
		slices.Reverse(state.Runtimes[i].Endpoints)
	}
	given := append([]Runtime(nil), state.Runtimes...)
	second, err := Build(state)
	if err != nil {
		t.Fatal(err)
	}
	if first.Version() != second.Version() {
		t.Errorf("versions %s and %s differ", first.Version(), second.Version())
	}
	if diff := cmp.Diff(given, state.Runtimes); diff != "" {
		t.Errorf("Build changed its input:\n%s", diff)
	}
	state.MaxTimeout++
	if third, err := Build(state); err != nil || third.Version() == first.Version() {
		t.Errorf("another state has the same version (%v)", err)
	}
}

func TestBuildFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*State)
		want   string
	}{
		{"host name", func(s *State) { s.Listener.Host = "localhost" }, `host "localhost" is not an IP address`},
		{"port", func(s *State) { s.Listener.Port = 70000 }, "port 70000 is out of range"},
		{"negative timeout", func(s *State) { s.Listener.IdleTimeout = -1 }, "is negative"},
		{"no timeout", func(s *State) { s.MaxTimeout = 0 }, "max_timeout 0s is not positive"},
		{"no ext_proc", func(s *State) { s.ExtProcPath = "" }, "ext_proc_path is empty"},
		{"long path", func(s *State) { s.APIPath = "/" + strings.Repeat("x", 107) }, "longer than 107 bytes"},
		{"unknown language", func(s *State) { s.Runtimes[0].Language = "cobol" }, `"cobol" is of no known language`},
		{"language twice", func(s *State) { s.Runtimes = append(s.Runtimes, s.Runtimes[0]) }, `"nodejs" is there twice`},
		{"endpoint twice", func(s *State) {
			r := &s.Runtimes[0]
			r.Endpoints = append(r.Endpoints, r.Endpoints[0])
		}, "is there twice"},
		{"endpoint of no kind", func(s *State) { s.Runtimes[0].Endpoints = []Endpoint{{}} }, "endpoint is empty"},
		{"endpoint of both kinds", func(s *State) { s.Runtimes[0].Endpoints[0].Host = "127.0.0.1" }, "both a path"},
		{"endpoint without a port", func(s *State) { s.Runtimes[0].Endpoints = []Endpoint{{Host: "127.0.0.1"}} }, "port 0 is out of range"},
		{"controls without secrets", func(s *State) { s.Controls = []Endpoint{{Host: "control", Port: 1}} }, "need secrets"},
		{"control twice", func(s *State) {
			s.Controls = []Endpoint{{Host: "control", Port: 1}, {Host: "control", Port: 1}}
		}, "is there twice"},
		{"control without a port", func(s *State) { s.Controls = []Endpoint{{Host: "control"}} }, "is no host and port"},
		{"a chain without a key", func(s *State) { s.Listener.TLS.Chain = "chain" }, "it needs both"},
		{"a key without a chain", func(s *State) { s.Listener.TLS.Key = "key" }, "it needs both"},
		{"a client CA without TLS", func(s *State) { s.Listener.TLS.ClientCA = "ca" }, "client_ca without a chain"},
		{"a redirect without TLS", func(s *State) { s.Listener.Redirect.Port = 9080 }, "which the listener does not speak"},
		{"a redirect on the same port", func(s *State) { s.Listener.TLS = someTLS(); s.Listener.Redirect.Port = 9000 }, "is the listener's own"},
		{"a redirect to any port", func(s *State) {
			s.Listener.TLS = someTLS()
			s.Listener.Port, s.Listener.Redirect.Port = 0, 9080
		}, "cannot know which port"},
		{"an origin with a path", func(s *State) { s.Listener.Origins = []string{"https://a.example/"} }, "is no origin"},
		{"an origin without a scheme", func(s *State) { s.Listener.Origins = []string{"a.example"} }, "is no origin"},
		{"an origin in upper case", func(s *State) { s.Listener.Origins = []string{"https://A.example"} }, "is no origin"},
		{"an origin with its own port", func(s *State) { s.Listener.Origins = []string{"https://a.example:443"} }, "browsers leave out"},
		{"any origin beside another", func(s *State) { s.Listener.Origins = []string{"*", "https://a.example"} }, "stands alone"},
		{"an origin twice", func(s *State) { s.Listener.Origins = []string{"https://a.example", "https://a.example"} }, "is there twice"},
		{"bad UTF-8", func(s *State) { s.APIPath = "/\xff" }, "is not UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := validState()
			tt.change(&state)
			if _, err := Build(state); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Build(State{}); err == nil || strings.Count(err.Error(), "\n") < 3 {
		t.Errorf("not every fault is reported: %v", err)
	}
}

// TestCheck takes one resource away, or adds one, and sees the snapshot refused.
func TestCheck(t *testing.T) {
	for _, tt := range []struct{ name, typeURL, remove, want string }{
		{"cluster of a route", resourcev3.ClusterType, "control-api", `cluster "control-api" is named but not there`},
		{"cluster of ext_proc", resourcev3.ClusterType, "extproc", `cluster "extproc" is named but not there`},
		{"endpoints of a cluster", resourcev3.EndpointType, "runtime-nodejs", `endpoint "runtime-nodejs" is named but not there`},
		{"cluster of endpoints", resourcev3.ClusterType, "runtime-nodejs", `endpoint "runtime-nodejs" is there but not named`},
		{"routes of the listener", resourcev3.RouteType, "public", `route "public" is named but not there`},
		{"listener of the routes", resourcev3.ListenerType, "public", `route "public" is there but not named`},
		{"listener of the filter", resourcev3.ListenerType, "public", `filter "envoke" is there but not named`},
		{"certificate of the listener", resourcev3.SecretType, "public", `secret "public" is named but not there`},
		{"client CA of the listener", resourcev3.SecretType, "clients", `secret "clients" is named but not there`},
		{"listener of the secrets", resourcev3.ListenerType, "public", `secret "public" is there but not named`},
		{"the filter, whose default is there", resourcev3.ExtensionConfigType, "envoke", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := validState()
			state.Filter = []byte("a module")
			state.Listener.TLS = someTLS()
			state.Listener.TLS.ClientCA = "ca"
			snapshot, err := Build(state)
			if err != nil {
				t.Fatal(err)
			}
			delete(snapshot.items[tt.typeURL], tt.remove)
			err = snapshot.check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
