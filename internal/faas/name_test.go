package faas

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	long := strings.Repeat("a", MaxTitle)
	tests := []struct {
		name, in string
		want     Name
	}{
		{"a title", "nodejs-hello", Name{Language: NodeJS, Title: "hello"}},
		{"every language", "python-text_processor", Name{Language: Python, Title: "text_processor"}},
		{"every character", "rust-a.B_c-9", Name{Language: Rust, Title: "a.B_c-9"}},
		{"a dash in the title", "nodejs-python-bridge", Name{Language: NodeJS, Title: "python-bridge"}},
		{"begins with a digit", "nodejs-2fa", Name{Language: NodeJS, Title: "2fa"}},
		{"dots apart", "nodejs-v1.2.3", Name{Language: NodeJS, Title: "v1.2.3"}},
		{"as long as allowed", "nodejs-" + long, Name{Language: NodeJS, Title: long}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseName(test.in)
			if err != nil || got != test.want {
				t.Fatalf("ParseName(%q) = %+v, %v; want %+v", test.in, got, err, test.want)
			}
			if got.String() != test.in {
				t.Errorf("String() = %q, want %q", got, test.in)
			}
		})
	}
}

func TestParseNameRefuses(t *testing.T) {
	tests := []struct{ name, in, message string }{
		{"missing", "", "is missing"},
		{"no language", "hello", "must begin with nodejs-"},
		{"unknown language", "perl-hello", "must begin with nodejs-"},
		{"language in capitals", "NodeJS-hello", "must begin with nodejs-"},
		{"language alone", "nodejs", "must begin with nodejs-"},
		{"empty title", "nodejs-", "is empty"},
		{"too long", "nodejs-" + strings.Repeat("a", MaxTitle+1), "longer than 128 bytes"},
		{"begins with a dot", "nodejs-.hidden", "must begin with a letter or a digit"},
		{"begins with a dash", "nodejs--hello", "must begin with a letter or a digit"},
		{"climbs", "nodejs-a..b", "must not contain '..'"},
		{"a path", "nodejs-../../etc/passwd", "must begin with a letter or a digit"},
		{"a slash", "nodejs-a/b", "letters, digits"},
		{"a space", "nodejs-a b", "letters, digits"},
		{"a line break", "nodejs-a\r\nX-Evil: 1", "letters, digits"},
		{"a zero byte", "nodejs-a\x00", "letters, digits"},
		{"no ASCII", "nodejs-é", "must begin with a letter or a digit"},
		{"a version, which is no part of a name", "nodejs-a@2", "letters, digits"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseName(test.in)
			var refusal *Error
			if !errors.As(err, &refusal) || refusal.Code != InvalidRequest {
				t.Fatalf("ParseName(%q) = %+v, %v; want INVALID_REQUEST", test.in, got, err)
			}
			if got != (Name{}) {
				t.Errorf("ParseName(%q) = %+v beside its error", test.in, got)
			}
			if !strings.Contains(refusal.Message, test.message) {
				t.Errorf("message %q does not say %q", refusal.Message, test.message)
			}
		})
	}
}

// Errors name the place of the name that they speak of, and no other.
func TestPlaces(t *testing.T) {
	for _, test := range []struct {
		place    Place
		in, want string
	}{
		{InHeader, "", "the function's name in the Language-Title header is missing: send <language>-<title>, such as nodejs-hello"},
		{InHeader, "perl-x", "the function's name in the Language-Title header must begin with nodejs-, python- or rust-, as nodejs-calculator does"},
		{InHeader, "nodejs-", "the title in the Language-Title header is empty"},
		{InPath, "", "the function's name in the path is missing: send <language>-<title>, such as nodejs-hello"},
		{InPath, "perl-x", "the function's name in the path must begin with nodejs-, python- or rust-, as nodejs-calculator does"},
		{InPath, "nodejs-a..b@1", "the title in the path must not contain '..'"},
		{"", "perl-x", "the function's name must begin with nodejs-, python- or rust-, as nodejs-calculator does"},
		{"", "nodejs-", "the title is empty"},
	} {
		_, err := ParseRefIn(test.place, test.in)
		if got := AsError(err).Message; got != test.want {
			t.Errorf("%q in %q: %q, want %q", test.in, test.place, got, test.want)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, seed := range []string{"nodejs-hello", "python-a.b_c-1", "rust-", "nodejs-..", "nodejs--x", "", "-", "nodejs-\xff"} {
		f.Add(seed)
	}
	// The grammar, said another way than in the parser; RE2 has no look-ahead for "..".
	grammar := regexp.MustCompile(`^(nodejs|python|rust|ruby)-[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseName(s)
		if want := grammar.MatchString(s) && !strings.Contains(s, ".."); (err == nil) != want {
			t.Fatalf("ParseName(%q) = %+v, %v; the grammar accepts it: %t", s, name, err, want)
		}
		if err == nil && name.String() != s {
			t.Fatalf("ParseName(%q).String() = %q", s, name)
		}
	})
}

func TestServed(t *testing.T) {
	for want, served := range map[string]Served{
		"nodejs, python or rust":       nil,
		"nodejs, python, rust or ruby": Languages(),
		"rust":                         {Rust},
	} {
		if got := served.Either(""); got != want {
			t.Errorf("%v: %q, want %q", []Language(served), got, want)
		}
		_, err := served.ParseRefIn("", "perl-x")
		if AsError(err).Message != "the function's name must begin with "+served.Either("-")+", as nodejs-calculator does" {
			t.Errorf("%v: %v", []Language(served), err)
		}
	}
	if ref, err := Served(nil).ParseRefIn("", "ruby-x"); err != nil || ref.Name.Language != Ruby {
		t.Errorf("what is not offered is understood: %v, %v", ref, err)
	}
}
