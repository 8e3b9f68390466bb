package faas

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// leaked is what docs/security.md gives to those who look for secrets that leaked.
var leaked = regexp.MustCompile(`\bek_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}\b`)

func TestNewKeySecret(t *testing.T) {
	seen := map[string]bool{}
	count := map[rune]int{}
	for range 2000 {
		id, secret := NewKeySecret()
		got, ok := ParseKeySecret(secret)
		if !ok || got != id || leaked.FindString("key="+secret+"\n") != secret {
			t.Fatalf("%q of the id %q", secret, id)
		}
		if seen[id] || seen[secret] {
			t.Fatal("one was made twice")
		}
		seen[id], seen[secret] = true, true
		for _, c := range secret[len(keyPrefix)+KeyIDLen+1:] {
			count[c]++
		}
	}
	const each = 2000 * keyRandomLen / 62 // 1387, of a deviation of 37
	for _, c := range alphabet {
		if n := count[c]; n < each*4/5 || n > each*6/5 {
			t.Errorf("%c is there %d times, others %d", c, n, each)
		}
	}
}

func TestParseKeySecret(t *testing.T) {
	const id, random = "0aZ9bY8cX7dW", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"
	for name, test := range map[string]struct {
		text string
		ok   bool
	}{
		"a secret":          {"ek_" + id + "_" + random, true},
		"nothing":           {"", false},
		"an id":             {id, false},
		"cut off":           {"ek_" + id + "_" + random[1:], false},
		"too long":          {"ek_" + id + "_" + random + "0", false},
		"a space before":    {" ek_" + id + "_" + random[1:], false},
		"a line's end":      {"ek_" + id + "_" + random[1:] + "\n", false},
		"another prefix":    {"EK_" + id + "_" + random, false},
		"another divider":   {"ek_" + id + "-" + random, false},
		"a dash in the id":  {"ek_" + id[1:] + "-_" + random, false},
		"a dash at the end": {"ek_" + id + "_" + random[1:] + "-", false},
		"a letter of two":   {"ek_" + id + "_" + random[2:] + "é", false},
		"NUL":               {"ek_" + id + "_" + random[1:] + "\x00", false},
	} {
		got, ok := ParseKeySecret(test.text)
		if ok != test.ok || ok && got != id || !ok && got != "" {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

// FuzzParseKeySecret: what is taken is one spelling, which scanners find, and nothing of it
// is left where secrets are masked.
func FuzzParseKeySecret(f *testing.F) {
	_, secret := NewKeySecret()
	for _, seed := range []string{"", "ek_", secret, secret[1:], secret + "x", strings.ToUpper(secret), "ek_" + secret} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := ParseKeySecret(text)
		if ok != (leaked.FindString(text) == text && text != "") {
			t.Fatalf("%q: %v", text, ok)
		}
		if parsed, err := ParseKeyHash(HashKeySecret(text).String()); err != nil || parsed != HashKeySecret(text) || ok && !IsKeyID(id) {
			t.Fatalf("%q: %q, %v", text, id, err)
		}
		masked := MaskKeySecrets(text)
		if len(masked) > len(text)+3*strings.Count(text, keyPrefix) || MaskKeySecrets(masked) != masked {
			t.Fatalf("%q is masked as %q", text, masked)
		}
		if found := leaked.FindString(masked); found != "" {
			t.Fatalf("%q shows %q", text, found)
		}
	})
}

func TestMaskKeySecrets(t *testing.T) {
	const id = "0aZ9bY8cX7dW"
	for text, want := range map[string]string{
		"":                               "",
		"no key":                         "no key",
		"ek_":                            "ek_",
		"ek_" + id:                       "ek_" + id,
		"ek_" + id + "_":                 "ek_" + id + "_",
		"ek_" + id + "_abc":              "ek_" + id + "_***",
		"/a/ek_" + id + "_abc/b":         "/a/ek_" + id + "_***/b",
		"ek_ek_" + id + "_a,ek_" + id:    "ek_ek_" + id + "_***,ek_" + id,
		"ek_" + id + "_aek_" + id + "_b": "ek_" + id + "_***_" + id + "_b",
		"week_view_of_things_and_more":   "week_view_of_things_and_more",
	} {
		if got := MaskKeySecrets(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestKeyCaller: a key has no scope of languages that it may not run.
func TestKeyCaller(t *testing.T) {
	for name, test := range map[string]struct {
		scopes    Scopes
		languages []Language
		want      string
	}{
		"all languages":   {Scopes{ExecuteAll, ReadFunctions}, nil, "execute:all read:functions"},
		"some":            {Scopes{ExecuteAll, WriteFunctions}, []Language{NodeJS, Python}, "execute:nodejs execute:python write:functions"},
		"one of two":      {Scopes{"execute:nodejs", "execute:python"}, []Language{Python}, "execute:python"},
		"none of its own": {Scopes{"execute:nodejs"}, []Language{Python}, ""},
	} {
		key := APIKey{UserID: "ada", Scopes: test.scopes, Languages: test.languages}
		if got := key.Caller(); got.UserID != "ada" || got.Scopes.String() != test.want {
			t.Errorf("%s: %+v, want %q", name, got, test.want)
		}
	}
}

func TestParseKeyHash(t *testing.T) {
	whole := HashKeySecret("x").String()
	for text, ok := range map[string]bool{whole: true, "": false, whole[1:]: false, whole + "00": false, "x" + whole[1:]: false} {
		if _, err := ParseKeyHash(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCheckKey(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		key  APIKey
		want error
	}{
		"for ever":            {APIKey{}, nil},
		"until later":         {APIKey{ExpiresAt: now.Add(1)}, nil},
		"until now":           {APIKey{ExpiresAt: now}, ErrKeyExpired},
		"revoked":             {APIKey{RevokedAt: now}, ErrKeyRevoked},
		"revoked and expired": {APIKey{RevokedAt: now, ExpiresAt: now}, ErrKeyRevoked},
	} {
		if err := test.key.Check(now); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if diff := cmp.Diff([]Scope{Admin}, KeyWrite.Needs("")); diff != "" {
		t.Error(diff)
	}
}
