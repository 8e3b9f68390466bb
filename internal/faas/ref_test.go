package faas

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestParseRef(t *testing.T) {
	name := Name{Language: NodeJS, Title: "hello"}
	longest := strings.Repeat("a", MaxAlias)
	for in, want := range map[string]Ref{
		"nodejs-hello":             {Name: name},
		"nodejs-hello@1":           {Name: name, Version: 1},
		"nodejs-hello@999999999":   {Name: name, Version: MaxVersion},
		"nodejs-hello:prod":        {Name: name, Alias: "prod"},
		"nodejs-hello:2fa.B_c-d":   {Name: name, Alias: "2fa.B_c-d"},
		"nodejs-hello:" + longest:  {Name: name, Alias: longest},
		"rust-a.b_c-9@12":          {Name: Name{Language: Rust, Title: "a.b_c-9"}, Version: 12},
		"nodejs-python-bridge:v10": {Name: Name{Language: NodeJS, Title: "python-bridge"}, Alias: "v10"},
	} {
		got, err := ParseRef(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("ParseRef(%q) = %+v (%s), %v; want %+v", in, got, got, err, want)
		}
		if got.Bare() != !strings.ContainsAny(in, "@:") {
			t.Errorf("%s: Bare() = %v", in, got.Bare())
		}
	}
}

func TestParseRefRefuses(t *testing.T) {
	for in, message := range map[string]string{
		"":                           "is missing",
		"@1":                         "is missing",
		"perl-x@1":                   "must begin with nodejs-",
		"nodejs-@1":                  "is empty",
		"nodejs-x@":                  "a version",
		"nodejs-x@0":                 "a version",
		"nodejs-x@01":                "a version",
		"nodejs-x@+1":                "a version",
		"nodejs-x@-1":                "a version",
		"nodejs-x@1\t":               "a version",
		"nodejs-x@1000000000":        "a version",
		"nodejs-x@99999999999999999": "a version",
		"nodejs-x@v1":                "a version",
		"nodejs-x@1:prod":            "a version",
		"nodejs-x@1@2":               "a version",
		"nodejs-x:":                  "alias is empty",
		"nodejs-x:1":                 "alias must not be a number",
		"nodejs-x:.a":                "alias must begin with",
		"nodejs-x:a/b":               "alias may hold",
		"nodejs-x:a:b":               "alias may hold",
		"nodejs-x:a@1":               "alias may hold",
		"nodejs-x:a..b":              "alias must not contain",
		"nodejs-x:a\x00":             "alias may hold",
		"nodejs-x:" + strings.Repeat("a", MaxAlias+1): "longer than 64 bytes",
	} {
		got, err := ParseRef(in)
		var refusal *Error
		if !errors.As(err, &refusal) || refusal.Code != InvalidRequest || got != (Ref{}) {
			t.Errorf("ParseRef(%q) = %+v, %v; want INVALID_REQUEST and nothing else", in, got, err)
		} else if !strings.Contains(refusal.Message, message) {
			t.Errorf("%q: message %q does not say %q", in, refusal.Message, message)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{"nodejs-hello", "nodejs-a@1", "python-a:prod", "rust-a@01", "nodejs-a:12", "nodejs-a:b@1", "@", ":", "nodejs-\xff:\xff"} {
		f.Add(seed)
	}
	// The grammar, said another way than in the parser.
	grammar := regexp.MustCompile(`^(nodejs|python|rust|ruby)-[A-Za-z0-9][A-Za-z0-9._-]{0,127}(@[1-9][0-9]{0,8}|:[A-Za-z0-9][A-Za-z0-9._-]{0,63})?$`)
	number := regexp.MustCompile(`:[0-9]+$`)
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseRef(s)
		want := grammar.MatchString(s) && !strings.Contains(s, "..") && !number.MatchString(s)
		if (err == nil) != want {
			t.Fatalf("ParseRef(%q) = %+v, %v; the grammar accepts it: %t", s, ref, err, want)
		}
		if err == nil && ref.String() != s {
			t.Fatalf("ParseRef(%q).String() = %q", s, ref)
		}
	})
}
