package faas

import (
	"regexp"
	"strings"
	"testing"
)

// canonical is the layout that Envoy's routes match; the parser must agree.
var canonical = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[1234][0-9a-f]{2}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestSessionIDCarriesLanguageAndPlain(t *testing.T) {
	key := NewSessionKey()
	for _, language := range Languages() {
		for _, plain := range []bool{false, true} {
			id := key.NewID(language, plain)
			if !canonical.MatchString(string(id)) {
				t.Errorf("NewID(%s, %t) = %s, not a UUIDv8 of the layout", language, plain, id)
			}
			if got, ok := id.Language(); !ok || got != language {
				t.Errorf("%s: Language() = %q, %t; want %q", id, got, ok, language)
			}
			if id.Plain() != plain {
				t.Errorf("%s: Plain() = %t, want %t", id, id.Plain(), plain)
			}
			if !key.Check(id) {
				t.Errorf("%s: the key that made it does not check it", id)
			}
		}
	}
}

func TestNewIDsDiffer(t *testing.T) {
	key, seen := NewSessionKey(), map[SessionID]bool{}
	for range 1000 {
		id := key.NewID(NodeJS, true)
		if seen[id] {
			t.Fatalf("NewID made %s twice", id)
		}
		seen[id] = true
	}
}

func TestCheckNeedsTheKey(t *testing.T) {
	id := NewSessionKey().NewID(Python, false)
	if NewSessionKey().Check(id) {
		t.Error("another key checks the id")
	}
	for _, key := range []SessionKey{nil, {}} {
		if key.Check(key.NewID(Python, false)) {
			t.Error("an id made without a key checks: anybody could make it")
		}
	}
}

func TestNewIDPanicsOnUnknownLanguage(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("NewID of an unknown language returned")
		}
	}()
	NewSessionKey().NewID("cobol", false)
}

func TestSessionIDRejectsOtherSpellings(t *testing.T) {
	key := NewSessionKey()
	id := string(key.NewID(Rust, true))
	replace := func(at int, with string) string { return id[:at] + with + id[at+len(with):] }
	tests := []struct{ name, id string }{
		{"empty", ""},
		{"upper case", "ABCDEFAB" + id[8:]},
		{"without dashes", strings.ReplaceAll(id, "-", "")},
		{"a dash missing", replace(8, "0")},
		{"a dash too many", replace(24, "-")},
		{"two dashes for the last byte", replace(34, "--")},
		{"two dashes for the first byte", replace(0, "--")},
		{"only dashes", strings.Repeat("-", SessionIDLen)},
		{"no hexadecimal digit", replace(5, "g")},
		{"braces", "{" + id + "}"},
		{"a space before", " " + id},
		{"one byte longer", id + "0"},
		{"one byte shorter", id[:SessionIDLen-1]},
		{"version 4", replace(14, "4")},
		{"language 0", replace(15, "0")},
		{"language 5", replace(15, "5")},
		{"Microsoft variant", replace(19, "c")},
		{"bytes that are no UTF-8", replace(0, "\xff\xfe")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := SessionID(test.id)
			if _, ok := got.Language(); ok || got.Plain() || key.Check(got) {
				t.Errorf("%q was accepted", test.id)
			}
		})
	}
}

// A last byte of the HMAC that is zero must not let "--" stand for it.
func TestCheckedIDHasOneSpelling(t *testing.T) {
	key := NewSessionKey()
	for range 10_000 {
		id := key.NewID(NodeJS, true)
		if short, found := strings.CutSuffix(string(id), "00"); found {
			if key.Check(SessionID(short + "--")) {
				t.Errorf("%s-- checks as %s", short, id)
			}
			return
		}
	}
	t.Fatal("no id of 10,000 ended in 00")
}

func FuzzSessionID(f *testing.F) {
	key := SessionKey("a key that is the same on every run")
	id := string(key.NewID(NodeJS, true))
	for _, seed := range []string{
		id, strings.ToUpper(id), "", strings.Repeat("-", SessionIDLen), id[:24] + "-" + id[25:], id[:34] + "--",
	} {
		f.Add(seed, uint16(len(seed)))
	}
	f.Fuzz(func(t *testing.T, s string, bit uint16) {
		given := SessionID(s)
		checked := key.Check(given)
		language, parsed := given.Language()
		if parsed != canonical.MatchString(s) {
			t.Fatalf("Language(%q) = %q, %t: the layout says otherwise", s, language, parsed)
		}
		if !parsed && (checked || given.Plain()) {
			t.Fatalf("%q is malformed and was accepted", s)
		}
		made := key.NewID(NodeJS, bit%2 == 0)
		if !key.Check(made) {
			t.Fatalf("%s does not check, and was just made", made)
		}
		flipped := []byte(made)
		at := int(bit) % (8 * len(flipped))
		flipped[at/8] ^= 1 << (at % 8)
		if key.Check(SessionID(flipped)) {
			t.Fatalf("%s checks, with bit %d flipped", flipped, at)
		}
	})
}

func BenchmarkSessionKeyCheck(b *testing.B) {
	key := NewSessionKey()
	id := key.NewID(NodeJS, true)
	b.ReportAllocs()
	for b.Loop() {
		if !key.Check(id) {
			b.Fatal("the id does not check")
		}
	}
}
