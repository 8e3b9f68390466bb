package xds

import (
	"net/http"
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// TestNamespacesOfCallers has callers by tokens of three issuers call: one whose namespace is
// fixed, one whose tokens say it, and one that has none.
func TestNamespacesOfCallers(t *testing.T) {
	fixed, claimed, none := testrig.NewIssuer(t, "https://fixed", "1"), testrig.NewIssuer(t, "https://claimed", "2"), testrig.NewIssuer(t, "https://none", "3")
	ofTeam, ofClaim := issuerOf(fixed), issuerOf(claimed)
	ofTeam.Namespace, ofClaim.NamespaceClaim = "team-a", []string{"org", "team"}
	s := newStack(t, withAuth(&Auth{Issuers: []Issuer{ofTeam, ofClaim, issuerOf(none)}, Anonymous: faas.Scopes{faas.ExecuteAll}}))
	plain := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	as := func(i *testrig.Issuer, team any, more ...string) []string {
		claims := map[string]any{"sub": "ann", "aud": "envoke", "scope": "execute:all admin", "org": map[string]any{"team": team}}
		return append([]string{"Authorization", "Bearer " + i.Token(t, claims)}, more...)
	}
	nobody := func(i *testrig.Issuer) []string {
		return []string{"Authorization", "Bearer " + i.Token(t, map[string]any{"aud": "envoke", "org": map[string]any{"team": "team-b"}})}
	}
	spoofed := []string{faas.NamespaceHeader, "team-c", faas.IssuerHeader, "https://fixed"}
	for _, tt := range []struct {
		name      string
		headers   []string
		status    int
		namespace string
	}{
		{"of the fixed one", as(fixed, "team-b"), 200, "team-a"},
		{"of the fixed one, who names another", as(fixed, "team-b", spoofed...), 200, "team-a"},
		{"by a claim", as(claimed, "team-b"), 200, "team-b"},
		{"by a claim that is a number", as(claimed, 7), 200, "7"},
		{"by a claim, who names another", as(claimed, "team-b", spoofed...), 200, "team-b"},
		{"of no namespace", as(none, "team-b"), 200, ""},
		{"of no namespace, who names one", as(none, "team-b", spoofed...), 200, ""},
		{"anonymous, who names one", spoofed, 200, ""},
		{"without the claim", []string{"Authorization", "Bearer " + claimed.Token(t, map[string]any{"sub": "ann", "aud": "envoke", "scope": "execute:all"})}, 403, ""},
		{"without the claim, who names one", as(claimed, nil, spoofed...), 403, ""},
		{"with an empty claim", as(claimed, ""), 403, ""},
		{"with the default one's name", as(claimed, "default"), 403, ""},
		{"in capitals", as(claimed, "Team-b"), 403, ""},
		{"with a list", as(claimed, []string{"team-b"}), 403, ""},
		{"with two", as(claimed, "team-a,team-b"), 403, ""},
		{"with a path", as(claimed, "team-a/x"), 403, ""},
		{"with a line's end", as(claimed, "team-a\n"), 403, ""},
		{"with a dash at its end", as(claimed, "team-"), 403, ""},
		{"too long", as(claimed, strings.Repeat("a", faas.MaxNamespace+1)), 403, ""},
		{"nobody's token, with a claim", nobody(claimed), 401, ""},
		{"nobody's token, of the fixed one", nobody(fixed), 401, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{plain, functionsPath} {
				reply := s.do(map[bool]string{true: http.MethodPost, false: http.MethodGet}[path == plain], path, "", tt.headers...)
				switch {
				case tt.name == "anonymous, who names one" && path == functionsPath: // may not read functions
				case tt.status == 200 && reply.Status == 200:
					if got := decode(t, reply).Header.Get(faas.NamespaceHeader); got != tt.namespace {
						t.Errorf("%s: in %q, want %q", path, got, tt.namespace)
					}
				case reply.Status != tt.status && (tt.status == 200 || reply.Status != 401 && reply.Status != 403):
					t.Errorf("%s: status %d, want %d: %s", path, reply.Status, tt.status, reply.Body)
				}
			}
		})
	}
}

// TestRateOfANamespace: what all of one use up is used up for all of it, and for nobody else.
func TestRateOfANamespace(t *testing.T) {
	claimed, none := testrig.NewIssuer(t, "https://claimed", "1"), testrig.NewIssuer(t, "https://none", "2")
	ofClaim := issuerOf(claimed)
	ofClaim.NamespaceClaim = []string{"team"}
	s := newStack(t, func(s *State) {
		s.Auth = &Auth{Issuers: []Issuer{ofClaim, issuerOf(none)}}
		s.Rates = Rates{Executes: 100, Functions: 100, Namespace: 4}
	})
	plain := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	ask := func(i *testrig.Issuer, team, user, method, path string) int {
		token := i.Token(t, map[string]any{"sub": user, "aud": "envoke", "scope": "admin", "team": team})
		return s.do(method, path, "", "Authorization", "Bearer "+token).Status
	}
	for _, team := range []string{"team-a", "team-b", ""} {
		issuer := claimed
		if team == "" {
			issuer = none
		}
		for n, user := range []string{"ann", "bob", "ann", "cid", "ann", "dan"} {
			path, method := plain, http.MethodPost
			if n%2 > 0 {
				path, method = functionsPath, http.MethodGet
			}
			if got, want := ask(issuer, team, user, method, path), map[bool]int{true: 200, false: http.StatusTooManyRequests}[n < 4]; got != want {
				t.Errorf("request %d of %q: %d, want %d", n+1, team, got, want)
			}
		}
	}
}

// TestRatesOfNamespaces: equal ids in two namespaces are two callers, and the process's own
// exemption is that of the default one alone.
func TestRatesOfNamespaces(t *testing.T) {
	claimed, none := testrig.NewIssuer(t, "https://claimed", "1"), testrig.NewIssuer(t, "https://none", "2")
	ofClaim := issuerOf(claimed)
	ofClaim.NamespaceClaim = []string{"team"}
	s := newStack(t, func(s *State) {
		s.Auth = &Auth{Issuers: []Issuer{ofClaim, issuerOf(none)}}
		s.Rates = Rates{Executes: 3}
	})
	plain := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	for _, tt := range []struct {
		issuer     *testrig.Issuer
		team, user string
	}{{none, "", "ann"}, {claimed, "team-a", "ann"}, {claimed, "team-b", "ann"}, {claimed, "team-b", "bob"}, {claimed, "team-a", faas.OwnUser}} {
		token := tt.issuer.Token(t, map[string]any{"sub": tt.user, "aud": "envoke", "scope": "execute:all", "team": tt.team})
		for n := range 5 {
			reply := s.do(http.MethodPost, plain, "", "Authorization", "Bearer "+token)
			if want := map[bool]int{true: 200, false: http.StatusTooManyRequests}[n < 3]; reply.Status != want {
				t.Errorf("request %d of %s of %q: %d %s", n+1, tt.user, tt.team, reply.Status, reply.Body)
			}
		}
	}
}
