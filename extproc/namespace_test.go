package extproc_test

import (
	"testing"
	"time"

	"envoke/internal/faas"
)

// TestNamespaces: who calls is a user of a namespace, and what is called is a function of it.
func TestNamespaces(t *testing.T) {
	id := key.NewID(faas.NodeJS, false)
	server, _ := newServer(t, registry{
		sessions:  map[faas.SessionID]bool{id: true},
		found:     faas.Session{Name: faas.Name{Namespace: "team-a", Language: faas.NodeJS, Title: "s"}, UserID: "ann"},
		functions: map[string]faas.Function{"team-a/nodejs-cached": {Version: 3, CacheTTL: time.Minute}},
	}, t.Output())
	for caller, ours := range map[string]bool{
		"\nx-user-id: ann\nx-envoke-namespace: team-a": true,
		"\nx-user-id: ann\nx-envoke-namespace: team-b": false,
		"\nx-user-id: ann": false,
		"\nx-user-id: bob\nx-envoke-namespace: team-a": false,
		"\nx-envoke-namespace: team-a":                 false,
	} {
		answer := answerOf(t, server, headersOf("POST /api/v1/execute/"+string(id)+caller))
		if refused := answer.GetImmediateResponse() != nil; refused == ours {
			t.Errorf("the session, by%q: %v", caller, answer)
		}
	}
	for caller, cached := range map[string]bool{"\nx-envoke-namespace: team-a": true, "\nx-envoke-namespace: team-b": false, "": false} {
		made := readHeaders(t, answerOf(t, server, headersOf("POST /api/v1/initialize\nlanguage-title: nodejs-cached\nx-user-id: ann"+caller)))
		if plain := faas.SessionID(made["x-envoke-session"]).Plain(); plain == cached {
			t.Errorf("a session of the function, by%q, is plain: %v", caller, plain)
		}
		called := answerOf(t, server, headersOf("POST /runtime/nodejs/cached\nx-user-id: ann"+caller))
		set := called.GetRequestHeaders().GetResponse().GetHeaderMutation().GetSetHeaders()
		if want := map[bool]string{true: "nodejs-cached@3", false: "nodejs-cached"}[cached]; len(set) == 0 || string(set[0].GetHeader().GetRawValue()) != want {
			t.Errorf("the function, by%q, is not %s: %v", caller, want, called)
		}
	}
}
