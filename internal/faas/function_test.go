package faas

import (
	"encoding/json"
	"fmt"
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
	want := Script{DigestOf(Rust, "fn main() {}", options), Rust, "fn main() {}", options, nil}
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

func TestPick(t *testing.T) {
	key := NewSessionKey()
	for name, test := range map[string]struct {
		weights map[int]int
		least   map[int]int // of 1000 picks
	}{
		"no weights":    {nil, map[int]int{2: 1000}},
		"a canary":      {map[int]int{3: 10}, map[int]int{2: 850, 3: 60}},
		"halves":        {map[int]int{1: 50}, map[int]int{1: 430, 2: 430}},
		"all elsewhere": {map[int]int{1: 30, 3: 70}, map[int]int{1: 230, 3: 630}},
	} {
		f, picked := Function{Version: 2, Weights: test.weights}, map[int]int{}
		for range 1000 {
			id := string(key.NewID(NodeJS, true))
			version := f.Pick(id)
			if again := f.Pick(id); again != version {
				t.Fatalf("%s: %s picks %d, then %d", name, id, version, again)
			}
			picked[version]++
		}
		for version, least := range test.least {
			if picked[version] < least {
				t.Errorf("%s: version %d was picked %d times of 1000, want %d at least", name, version, picked[version], least)
			}
		}
		if len(picked) != len(test.least) {
			t.Errorf("%s: picked %v", name, picked)
		}
	}
}

// Hosts must agree on what a key picks, those of another release too.
func TestPickIsStable(t *testing.T) {
	f := Function{Version: 1, Weights: map[int]int{2: 40, 3: 30}}
	var got []int
	for i := range 12 {
		got = append(got, f.Pick(fmt.Sprint("request-", i)))
	}
	if diff := cmp.Diff([]int{1, 3, 2, 1, 1, 1, 2, 2, 2, 2, 2, 3}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a script depends on is part of its digest; a script without has the one that it had
// before there were dependencies.
func TestDependenciesArePartOfTheDigest(t *testing.T) {
	plain := NewScript(NodeJS, "x", nil)
	if got := plain.With(nil); got.Digest != plain.Digest {
		t.Errorf("without dependencies the digest is %s, want %s", got.Digest, plain.Digest)
	}
	a, b := plain.With(json.RawMessage(`{"a":""}`)), plain.With(json.RawMessage(`{"b":""}`))
	if a.Digest == plain.Digest || a.Digest == b.Digest {
		t.Errorf("digests are the same: %s, %s, %s", plain.Digest, a.Digest, b.Digest)
	}
	if again := b.With(a.Dependencies); again.Digest != a.Digest {
		t.Errorf("the digest depends on what was there before: %s, want %s", again.Digest, a.Digest)
	}
}
