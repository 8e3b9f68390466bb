package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newTestStand is a stand in a folder of a short name, with what make installed into
// the project's cache.
func newTestStand(t *testing.T, part Part) *stand {
	t.Helper()
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	peersDir, err := filepath.Abs("../../.envoke/cache/peers")
	if err != nil {
		t.Fatal(err)
	}
	s := newStand(Config{Parts: []Part{part}, PeersDir: peersDir, Node: "node", Python: "python3", Self: "/nonexistent"}, dir)
	t.Cleanup(s.stop)
	return s
}

// needPeers skips the test where make has not installed what it runs. In CI what PyPI
// has must be there, as the rest of make test needs it too; not each machine has npm.
func needPeers(t *testing.T, s *stand, registries ...string) {
	t.Helper()
	for _, name := range registries {
		_, err := os.Stat(filepath.Join(s.config.PeersDir, name))
		switch {
		case err == nil:
		case os.Getenv("CI") != "" && name == "python":
			t.Fatalf("%v: make peers installs it", err)
		default:
			t.Skipf("%v: make peers installs it", err)
		}
	}
}

func TestPeersAnswer(t *testing.T) {
	s := newTestStand(t, Peers)
	needPeers(t, s, "node", "python")
	started, err := s.startServers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.missing) > 0 {
		t.Errorf("missing: %+v", s.missing)
	}
	s.addBareEndpoints("", started)
	for _, key := range []string{"nd", "yd", "kd", "d"} {
		if _, err := measure(t.Context(), s.endpoints[key], Load{Connections: 4, Duration: 50 * time.Millisecond}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestWhatIsNotInstalledIsMissing(t *testing.T) {
	s := newTestStand(t, Peers)
	s.config.PeersDir = t.TempDir()
	if _, err := s.startServers(t.Context()); err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, m := range s.missing {
		missing = append(missing, m.Case)
		if !strings.Contains(m.Why, "make bench") {
			t.Errorf("%s: %s", m.Case, m.Why)
		}
	}
	if diff := cmp.Diff([]string{"nb", "nd", "yb", "yd", "kb", "kd"}, missing); diff != "" {
		t.Error(diff)
	}
	for _, c := range s.cases() {
		t.Errorf("case %s would be measured", c.Key)
	}
}

// A server that is installed and does not start is missing too, with its last words.
func TestAPeerThatDoesNotStartIsMissing(t *testing.T) {
	s := newTestStand(t, Python)
	s.config.PeersDir = t.TempDir()
	if err := os.MkdirAll(filepath.Join(s.config.PeersDir, "python", "uvicorn"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.config.PeersDir, "python", "uvicorn", "__main__.py"), []byte("exit('broken')"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.startServers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.missing) != 3 || !strings.Contains(s.missing[0].Why, "broken") {
		t.Errorf("missing: %+v", s.missing)
	}
}

// What is ours or always there must start.
func TestAServerOfOursThatDoesNotStartIsAnError(t *testing.T) {
	if _, err := newTestStand(t, Wasm).startServers(t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestBarePythonAnswers(t *testing.T) {
	s := newTestStand(t, Python)
	needPeers(t, s, "python")
	started, err := s.startServers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.addBareEndpoints("", started)
	for _, key := range []string{"pd", "gd"} {
		if _, err := measure(t.Context(), s.endpoints[key], Load{Connections: 4, Duration: 50 * time.Millisecond}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}
