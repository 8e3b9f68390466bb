package xds

import (
	"testing"

	"envoke/internal/routing"
	"envoke/internal/testrig"
)

// TestDeclaredAccess: services check their callers themselves, unless their rule says who may;
// functions are for those who may run them.
func TestDeclaredAccess(t *testing.T) {
	issuer := testrig.NewIssuer(t, "https://issuer", "1")
	theirs := testrig.NewIssuer(t, "https://theirs", "2")
	s := newStack(t, func(s *State) {
		team := issuerOf(theirs)
		team.Namespace = "team-b"
		s.Auth = &Auth{Issuers: []Issuer{issuerOf(issuer), team}}
		s.Rates = Rates{Executes: 1000}
	})
	s.declare("shop")
	s.state.Routing.Routes = []routing.Route{{Name: "shop", Hostnames: []string{"a"}, Rules: []routing.Rule{
		{Matches: onPath(routing.PathPrefix, "/open"), BackendRefs: to("shop")},
		{Matches: onPath(routing.PathPrefix, "/scoped"), BackendRefs: to("shop"), Access: routing.Access{Scopes: []string{"execute:nodejs", "admin"}}},
		{Matches: onPath(routing.PathPrefix, "/call"), BackendRefs: toFunction("nodejs-a")},
		{Matches: onPath(routing.PathPrefix, "/public"), BackendRefs: toFunction("nodejs-a"), Access: routing.Access{Public: true}},
		{Matches: onPath(routing.PathPrefix, "/theirs"), BackendRefs: []routing.BackendRef{{Kind: routing.ToFunction, Name: "nodejs-a", Namespace: "team-b"}}},
	}}}
	s.publish(s.state)
	good := "Bearer " + issuer.Token(t, map[string]any{"sub": "ada", "scope": "execute:nodejs", "aud": "envoke"})
	other := "Bearer " + issuer.Token(t, map[string]any{"sub": "ada", "scope": "read:functions", "aud": "envoke"})
	team := "Bearer " + theirs.Token(t, map[string]any{"sub": "ada", "scope": "execute:nodejs admin", "aud": "envoke"})
	for _, tt := range []struct {
		path, shown string
		status      int
		seen        string // of what is shown
	}{
		{"/open", "", 200, ""},
		{"/open", "Bearer of.another.service", 200, "Bearer of.another.service"},
		{"/open", "Bearer ek_another", 200, "Bearer ek_another"},
		{"/scoped", "", 401, ""},
		{"/scoped", other, 403, ""},
		{"/scoped", "Bearer of.another.service", 401, ""},
		{"/scoped", good, 200, ""},
		{"/scoped", "Bearer " + goodKey, 200, ""},
		{"/call", "", 401, ""},
		{"/call", other, 403, ""},
		{"/call", good, 200, ""},
		{"/scoped", team, 403, ""}, // a team says itself who is its admin
		{"/call", team, 403, ""},
		{"/theirs", good, 403, ""},
		{"/theirs", team, 200, ""},
		{"/public", "", 200, ""},
		{"/public", "Bearer of.another.service", 200, ""},
	} {
		var headers []string
		if tt.shown != "" {
			headers = []string{"Authorization", tt.shown}
		}
		reply := s.at("a", "GET", tt.path, headers...)
		if reply.Status != tt.status {
			t.Errorf("%s by %.20q: status %d, want %d: %s", tt.path, tt.shown, reply.Status, tt.status, reply.Body)
			continue
		}
		if tt.status != 200 {
			continue
		}
		if got := decode(t, reply).Header.Get("Authorization"); got != tt.seen {
			t.Errorf("%s by %.20q: what is behind got %q, want %q", tt.path, tt.shown, got, tt.seen)
		}
	}
}
