package faas

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Digests are stored and name bundles in caches: what they are must not change
// from one release to the next.
func TestDigestIsStable(t *testing.T) {
	const want = "fb50456408cf9d562125114f05fbec6e316ac1393f3c3a0f5c10624e4f683e92"
	if got := DigestOf(NodeJS, "return 1", json.RawMessage(`{"features":[]}`)); got != want {
		t.Errorf("DigestOf = %s, want %s", got, want)
	}
}

func TestDigestTellsPartsApart(t *testing.T) {
	scripts := map[Digest]Script{}
	for _, s := range []Script{
		NewScript(NodeJS, "", nil),
		NewScript(NodeJS, "a", nil),
		NewScript(NodeJS, "", json.RawMessage("a")),
		NewScript(NodeJS, "ab", json.RawMessage("c")),
		NewScript(NodeJS, "a", json.RawMessage("bc")),
		NewScript(Python, "a", nil),
	} {
		if twin, taken := scripts[s.Digest]; taken {
			t.Errorf("%+v and %+v have one digest", s, twin)
		}
		scripts[s.Digest] = s
	}
}

func TestNewScriptKeepsWhatItWasGiven(t *testing.T) {
	options := json.RawMessage(`{"optimization_level":"release"}`)
	want := Script{DigestOf(Rust, "fn main() {}", options), Rust, "fn main() {}", options}
	if diff := cmp.Diff(want, NewScript(Rust, "fn main() {}", options)); diff != "" {
		t.Errorf("NewScript (-want +got):\n%s", diff)
	}
}

func TestFunctionType(t *testing.T) {
	if got := (Function{Version: 1}).Type(); got != Predefined {
		t.Errorf("a registered function is %s", got)
	}
	if got := (Function{}).Type(); got != Dynamic {
		t.Errorf("a session's script is %s", got)
	}
}
