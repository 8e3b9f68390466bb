package xds

import (
	"net/http"
	"strconv"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// TestRates lets each caller use its own requests up, and no other's.
func TestRates(t *testing.T) {
	issuer := testrig.NewIssuer(t, "https://issuer", "1")
	s := newStack(t, func(s *State) {
		s.Auth = &Auth{Issuers: []Issuer{issuerOf(issuer)}, Anonymous: faas.Scopes{faas.ExecuteAll}}
		s.Rates = Rates{Executes: 5, Anonymous: 2, Functions: 3}
	})
	as := func(user string) []string {
		return []string{"Authorization", "Bearer " + issuer.Token(t, map[string]any{
			"sub": user, "aud": "envoke", "scope": "execute:all read:functions",
		})}
	}
	key := faas.NewSessionKey()
	plain := executePath + "/" + string(key.NewID(faas.NodeJS, true))
	other := executePath + "/" + string(key.NewID(faas.NodeJS, false))
	passes := func(n int, method string, paths []string, headers ...string) {
		t.Helper()
		for i := range n + 2 {
			reply := s.do(method, paths[i%len(paths)], "", headers...)
			if want := i < n; (reply.Status == 200) != want {
				t.Fatalf("request %d of %d: %d %s", i+1, n, reply.Status, reply.Body)
			}
			if i < n {
				continue
			}
			wait, err := strconv.Atoi(reply.Header.Get("Retry-After"))
			if reply.Status != http.StatusTooManyRequests || err != nil || wait < 1 || wait > 60 {
				t.Errorf("%d, Retry-After %q: %s", reply.Status, reply.Header["Retry-After"], reply.Body)
			}
			if n := len(reply.Header["Retry-After"]); n != 1 {
				t.Errorf("Retry-After %q", reply.Header["Retry-After"])
			}
			if limit := reply.Header.Get("X-RateLimit-Limit"); limit == "" {
				t.Errorf("no X-RateLimit-Limit: %v", reply.Header)
			}
		}
	}
	executes := []string{plain, other, "/runtime/nodejs/a", "/function/nodejs-a", initializePath}
	passes(5, http.MethodPost, executes, as("ada")...)
	passes(5, http.MethodPost, executes, as("bob")...)
	passes(3, http.MethodGet, []string{functionsPath, sessionsPath + "x"}, as("ada")...)
	passes(2, http.MethodPost, executes)
	refused := []string{"Authorization", "Bearer " + issuer.Token(t, map[string]any{"sub": "mallory", "aud": "envoke", "scope": ""})}
	for n := range 6 { // what is refused counts too
		want := map[bool]int{true: http.StatusForbidden, false: http.StatusTooManyRequests}[n < 5]
		if reply := s.do(http.MethodPost, plain, "", refused...); reply.Status != want {
			t.Errorf("refused request %d: %d %s", n+1, reply.Status, reply.Body)
		}
	}
	for range 20 {
		if reply := s.do(http.MethodGet, healthPath, ""); reply.Status != 200 {
			t.Fatalf("health: %d %s", reply.Status, reply.Body)
		}
	}
}
