package bench

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseParts(t *testing.T) {
	for _, test := range []struct {
		text  string
		want  []Part
		wrong bool
	}{
		{text: "", want: Parts()},
		{text: "wasm", want: []Part{Wasm}},
		{text: "python,js", want: []Part{Python, JavaScript}},
		{text: "java", wrong: true},
		{text: "js,", wrong: true},
	} {
		got, err := ParseParts(test.text)
		if (err != nil) != test.wrong {
			t.Errorf("%q: error %v", test.text, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q: %s", test.text, diff)
		}
	}
}

func TestAPartBringsWhatItIsComparedWith(t *testing.T) {
	want := []string{"e", "f", "pe", "pf", "nb", "nd", "yb", "yd", "kb", "kd"}
	if diff := cmp.Diff(want, keysOf(casesOf([]Part{Peers}))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"wd", "we", "wf", "wh", "wr"}, keysOf(casesOf([]Part{Wasm}))); diff != "" {
		t.Error(diff)
	}
	want = []string{"a", "b", "ca", "cb", "cd", "cf", "cx", "ce", "cp"}
	if diff := cmp.Diff(want, keysOf(casesOf([]Part{Cache}))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Cases(), casesOf(Parts())); diff != "" {
		t.Error(diff)
	}
}

// Keys are written down in three places.
func TestKeys(t *testing.T) {
	all := keysOf(Cases())
	if sorted := slices.Sorted(slices.Values(all)); len(slices.Compact(sorted)) != len(all) {
		t.Errorf("a key is there twice: %q", all)
	}
	answered := append(cachedKeys(), buildKey, "", "a", "ca") // the latter two Envoy answers by itself
	answered = append(answered, append(callerKeys(), routedKeys()...)...)
	for _, s := range newStand(Config{}, "").servers(make([]string, 4)) {
		answered = append(answered, s.keys()...)
	}
	for _, f := range functions() {
		answered = append(answered, f.alone, f.plain, f.extProc, f.cold, f.empty)
	}
	for _, key := range all {
		if !slices.Contains(answered, key) {
			t.Errorf("nothing answers case %s", key)
		}
	}
	for _, r := range comparisons {
		answered = append(answered, r.Case, r.Beside)
	}
	for _, p := range Parts() {
		answered = append(answered, p.reference())
	}
	for _, key := range answered {
		if key != "" && !slices.Contains(all, key) {
			t.Errorf("there is no case %s", key)
		}
	}
}

// What a part shows must be measured with it.
func TestAPartMeasuresWhatItShows(t *testing.T) {
	for _, part := range Parts() {
		measured := keysOf(casesOf([]Part{part}))
		var shown []string
		if key := part.reference(); key != "" { // some have no cases
			shown = append(shown, key)
		}
		for _, d := range differencesOf([]Part{part}) {
			shown = append(shown, d.Case, d.Beside)
		}
		for _, key := range shown {
			if !slices.Contains(measured, key) {
				t.Errorf("part %s shows case %s and does not measure it", part, key)
			}
		}
		if part.Title() == "" {
			t.Errorf("part %s has no title", part)
		}
	}
}
