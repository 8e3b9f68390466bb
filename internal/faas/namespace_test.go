package faas

import (
	"regexp"
	"strings"
	"testing"
)

func TestNamespaces(t *testing.T) {
	pattern, long := regexp.MustCompile("^("+NamespacePattern+")$"), regexp.MustCompile("^("+LongNamespace+")$")
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{"a", true},
		{"7", true},
		{"team-a", true},
		{"a--b", true},
		{strings.Repeat("a", MaxNamespace), true},
		{strings.Repeat("a", MaxNamespace+1), false},
		{"", false},
		{"-", false},
		{"-a", false},
		{"a-", false},
		{"Team", false},
		{"a.b", false},
		{"a_b", false},
		{"a b", false},
		{"a/b", false},
		{"a,b", false},
		{"a\tb", false},
		{"a\n", false},
		{"ä", false},
	} {
		n, err := ParseNamespace(tt.text)
		if (err == nil) != tt.ok || tt.ok && n.String() != tt.text {
			t.Errorf("%q is %q, %v", tt.text, n, err)
		}
		if (pattern.MatchString(tt.text) && !long.MatchString(tt.text)) != tt.ok || tt.text != "" && Namespace(tt.text).Valid() != tt.ok {
			t.Errorf("%q: pattern and Valid differ", tt.text)
		}
	}
	if n, err := ParseNamespace(DefaultNamespace); err != nil || n != "" || n.String() != DefaultNamespace || !n.Valid() {
		t.Errorf("the default one is %q, %v", n, err)
	}
	if Namespace(DefaultNamespace).Valid() {
		t.Error("another is called as the default one")
	}
}

// TestOwners: no two users have the same text, whatever their ids are.
func TestOwners(t *testing.T) {
	seen := map[string]Caller{}
	for _, c := range []Caller{
		{UserID: "ann"},
		{UserID: ""},
		{UserID: "a ann"},
		{UserID: "a/ann"},
		{UserID: "a:ann"},
		{Namespace: "a", UserID: "ann"},
		{Namespace: "a"},
		{Namespace: "a", UserID: "a/ann"},
		{Namespace: "ann"},
		{Namespace: "b", UserID: "ann"},
	} {
		if other, there := seen[c.Owner()]; there {
			t.Errorf("%+v and %+v are both %q", c, other, c.Owner())
		}
		seen[c.Owner()] = c
		if UserOf(c.Owner()) != c.UserID {
			t.Errorf("%q is of %q, not of %q", c.Owner(), UserOf(c.Owner()), c.UserID)
		}
		f := Function{Name: Name{Namespace: c.Namespace}, UserID: c.UserID}
		if s := (Session{Owner: f.Owner()}); s.FunctionOwner() != c.Owner() {
			t.Errorf("a session of %q's function has the owner %q", c.Owner(), s.FunctionOwner())
		}
	}
	if got := (Caller{UserID: "ann"}).Owner(); got != "ann" {
		t.Errorf("in the default namespace ann is %q", got)
	}
}

func TestMay(t *testing.T) {
	admin := Scopes{Admin}
	for _, tt := range []struct {
		name      string
		caller    Caller
		namespace Namespace
		may       bool
	}{
		{"one's own", Caller{UserID: "ann"}, "", true},
		{"one's own in a namespace", Caller{Namespace: "a", UserID: "ann"}, "a", true},
		{"the same id elsewhere", Caller{UserID: "ann"}, "a", false},
		{"the same id in the default one", Caller{Namespace: "a", UserID: "ann"}, "", false},
		{"another's", Caller{UserID: "bob"}, "", false},
		{"another's, by an administrator", Caller{Namespace: "a", UserID: "bob", Scopes: admin}, "a", true},
		{"another's elsewhere, by an administrator", Caller{Namespace: "a", UserID: "ann", Scopes: admin}, "b", false},
		{"in the default one, by an administrator of another", Caller{Namespace: "a", UserID: "ann", Scopes: admin}, "", false},
		{"anybody's, by the installation's", Caller{UserID: "bob", Scopes: admin}, "a", true},
	} {
		if got := tt.caller.May(tt.namespace, "ann"); got != tt.may {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestKeysOfNames(t *testing.T) {
	for _, text := range []string{"nodejs-f", "team-a/nodejs-f", "a/nodejs-f@3", "a/nodejs-f:prod", "nodejs-f:prod"} {
		ref, err := ParseRefKey(text)
		if err != nil || ref.Key() != text {
			t.Errorf("%q is %q, %v", text, ref.Key(), err)
		}
		if name, err := ParseKey(text); (err == nil) != ref.Bare() || err == nil && name.Key() != text {
			t.Errorf("%q as a name is %q, %v", text, name.Key(), err)
		}
	}
	for _, text := range []string{"", "/nodejs-f", "A/nodejs-f", "default/nodejs-f", "a/", "a/b/nodejs-f", "a/perl-f"} {
		if ref, err := ParseRefKey(text); err == nil {
			t.Errorf("%q is %+v", text, ref)
		}
	}
	if (Ref{Name: Name{Namespace: "a", Language: NodeJS, Title: "f"}}).String() != "nodejs-f" {
		t.Error("callers are shown the namespace")
	}
}
