package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// teams are callers of the same id in two namespaces and in the default one, each by a key.
type teams struct {
	*door
	a, b, none []string
}

const teamScopes = `["execute:nodejs","read:functions","write:functions"]`

func openTeams(t *testing.T, args ...string) teams {
	t.Helper()
	d := openDoorWith(t, args...)
	key := func(query string) []string {
		t.Helper()
		var made struct{ Secret, Namespace string }
		r := d.mustAs(t, d.caller(t, "admin"), 201, "POST /api/v1/keys"+query, `{"name":"ann's","user_id":"ann","scopes":`+teamScopes+`}`)
		if err := json.Unmarshal(r.body, &made); err != nil || !strings.HasSuffix(query, made.Namespace) && made.Namespace != "default" {
			t.Fatalf("%v: %s", err, r.body)
		}
		return []string{"X-API-Key", made.Secret}
	}
	return teams{d, key("?namespace=team-a"), key("?namespace=team-b"), key("")}
}

func (s teams) each(do func(name string, caller []string)) {
	do("team-a", s.a)
	do("team-b", s.b)
	do("default", s.none)
}

// define registers a function of each team's under one name.
func (s teams) define(t *testing.T, title, more string, script func(team string) string) {
	t.Helper()
	s.each(func(team string, caller []string) {
		body := fmt.Sprintf(`{"language":"nodejs","title":%q,"script_content":%q%s}`, title, script(team), more)
		s.mustAs(t, caller, 201, "POST "+functionsPath, body)
	})
}

func same(script string) func(string) string { return func(string) string { return script } }

func with(caller []string, more ...string) []string {
	return append(caller[:len(caller):len(caller)], more...)
}

// TestNamespaces: two teams whose users, functions and secrets are called alike see nothing of
// each other, with the filter and without, and whatever keeps what is theirs.
func TestNamespaces(t *testing.T) {
	for _, filter := range []string{"false", "true"} {
		t.Run("filter "+filter, func(t *testing.T) {
			s := openTeams(t, "--filter="+filter)
			if filter == "true" {
				testrig.Eventually(t, "the filter", func() bool { return s.awaitFilter() == nil })
			}
			s.testAll(t)
			t.Run("rows", s.testRows)
		})
	}
	t.Run("PostgreSQL and Redis", func(t *testing.T) {
		openTeams(t, "--database-url", testrig.Postgres(t), "--redis-url", testrig.Redis(t).URL(), "--secrets-key-file", keyFile(t, "a")).testAll(t)
	})
}

func (s teams) testAll(t *testing.T) {
	t.Run("functions", s.testFunctions)
	t.Run("sessions", s.testSessions)
	t.Run("results", s.testResults)
	t.Run("workers", s.testWorkers)
	t.Run("secrets", s.testSecrets)
	t.Run("keys", s.testKeys)
}

func (s teams) testFunctions(t *testing.T) {
	s.define(t, "same", "", func(team string) string { return "return '" + team + "'" })
	s.mustAs(t, s.a, 201, "POST "+functionsPath, `{"language":"nodejs","title":"alone","script_content":"return 'alone'"}`)
	s.each(func(team string, caller []string) {
		spoofed := with(caller, "X-Envoke-Namespace", "team-a", "x-envoke-namespace", "team-b")
		for _, path := range []string{"/runtime/nodejs/same", "/function/nodejs-same"} {
			for _, headers := range [][]string{caller, spoofed} {
				if r := s.mustAs(t, headers, 200, "POST "+path, `{}`); !strings.Contains(string(r.body), `"`+team+`"`) {
					t.Errorf("%s of %s: %s", path, team, r.body)
				}
			}
		}
		listed := string(s.mustAs(t, spoofed, 200, "GET "+functionsPath+"?type=predefined", "").body)
		if strings.Contains(listed, "nodejs-alone") != (team == "team-a") || strings.Contains(listed, "nodejs-calculator") != (team == "default") || strings.Count(listed, "nodejs-same") != 1 {
			t.Errorf("%s is shown %s", team, listed)
		}
		for _, request := range []string{"GET " + functionsPath + "/nodejs-alone", "DELETE " + functionsPath + "/nodejs-alone", "POST /runtime/nodejs/alone", "POST /function/nodejs-alone"} {
			if team != "team-a" {
				alone := s.mustAs(t, caller, 404, request, "{}")
				never := s.mustAs(t, caller, 404, strings.Replace(request, "alone", "never", 1), "{}")
				if a, b := errorOf(t, alone), strings.Replace(errorOf(t, never), "never", "alone", 1); a != b {
					t.Errorf("%s: %s is answered %s, and what never was %s", team, request, a, b)
				}
			}
		}
		if code := s.mustAs(t, caller, 200, "GET "+functionsPath+"/nodejs-same", ""); !strings.Contains(string(code.body), "return '"+team+"'") {
			t.Errorf("%s is shown %s", team, code.body)
		}
	})
	// A change of one is none of the other.
	s.mustAs(t, s.a, 200, "PUT "+functionsPath+"/nodejs-same", `{"script_content":"return 'new'"}`)
	s.mustAs(t, s.b, 404, "POST "+functionsPath+"/nodejs-same/rollback", `{"version":2}`)
	for _, want := range []struct {
		caller []string
		result string
	}{{s.a, "new"}, {s.b, "team-b"}, {s.none, "default"}} {
		if r := s.mustAs(t, want.caller, 200, "POST /function/nodejs-same", `{}`); string(r.body) != `"`+want.result+`"` {
			t.Errorf("%s, want %s", r.body, want.result)
		}
	}
	s.mustAs(t, s.b, 204, "DELETE "+functionsPath+"/nodejs-same", "")
	s.mustAs(t, s.b, 404, "POST /function/nodejs-same", `{}`)
	s.mustAs(t, s.a, 200, "POST /function/nodejs-same", `{}`)
}

// errorOf is what an error says, without the request's id.
func errorOf(t *testing.T, r reply) string {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(r.body, &body); err != nil {
		t.Fatalf("%s", r.body)
	}
	return body.Error.Code + " " + body.Error.Message
}

func (s teams) testSessions(t *testing.T) {
	for name, options := range map[string]string{"plain": "", "retained": `,"context":{"retain_session":true}`} {
		s.each(func(team string, caller []string) {
			id := s.sessionOf(t, caller, "nodejs-s", `{"script_content":"return context.user_id"`+options+`}`)
			plain := faas.SessionID(id).Plain()
			if !plain {
				t.Errorf("a %s session of %s is not plain", name, team)
			}
			s.each(func(other string, caller []string) {
				want := map[bool]int{true: 200, false: 404}[other == team]
				for _, headers := range [][]string{caller, with(caller, "X-Envoke-Namespace", team), with(caller, "X-Cache-Control", "max-age=60")} {
					if r := s.send(t, http.MethodPost, "/api/v1/execute/"+id, "{}", headers...); r.status != want {
						t.Errorf("%s session of %s, by %s: %d %s", name, team, other, r.status, r.body)
					}
				}
				s.mustAs(t, caller, want, "GET /api/v1/sessions/"+id, "")
				if other != team {
					s.mustAs(t, caller, 404, "DELETE /api/v1/sessions/"+id, "")
				}
			})
			s.mustAs(t, s.caller(t, "admin"), 404, "GET /api/v1/sessions/"+id+"?namespace=team-c", "")
			s.mustAs(t, s.caller(t, "admin"), 200, "GET /api/v1/sessions/"+id+"?namespace="+team, "")
			s.mustAs(t, caller, 204, "DELETE /api/v1/sessions/"+id, "")
		})
	}
}

// testResults: what was answered to one is not answered to another of the same id.
func (s teams) testResults(t *testing.T) {
	s.define(t, "cached", `,"cache_ttl_seconds":60`, same("return Math.random()"))
	sessions := map[string]string{}
	s.each(func(team string, caller []string) { sessions[team] = s.sessionOf(t, caller, "nodejs-cached", "{}") })
	seen := map[string]string{}
	for range 2 {
		s.each(func(team string, caller []string) {
			for _, path := range []string{"/runtime/nodejs/cached", "/api/v1/execute/" + sessions[team]} {
				headers := with(caller, "X-Cache-Control", "max-age=60")
				first := s.mustAs(t, headers, 200, "POST "+path, `{"params":1}`)
				again := s.mustAs(t, headers, 200, "POST "+path, `{"params":1}`)
				result := first.result(t)
				if again.result(t) != result || !again.cached(t) {
					t.Errorf("%s of %s is not cached: %s, then %s", path, team, first.body, again.body)
				}
				if owner := seen[result]; owner != "" && owner != team {
					t.Errorf("%s is answered what %s was", team, owner)
				}
				seen[result] = team
			}
		})
	}
	if len(seen) != 6 {
		t.Errorf("%d results of 6 questions", len(seen))
	}
	// What one team's function says of caching is not for the other's of that name.
	s.mustAs(t, s.none, 201, "POST "+functionsPath, `{"language":"nodejs","title":"mixed","script_content":"return 0","cache_ttl_seconds":60}`)
	s.mustAs(t, s.a, 201, "POST "+functionsPath, `{"language":"nodejs","title":"mixed","script_content":"return 1"}`)
	s.mustAs(t, s.a, 200, "PUT "+functionsPath+"/nodejs-mixed", `{"script_content":"return 2"}`)
	session := s.sessionOf(t, s.a, "nodejs-mixed", "{}")
	for range 2 {
		for _, path := range []string{"/runtime/nodejs/mixed", "/api/v1/execute/" + session} {
			if r := s.mustAs(t, s.a, 200, "POST "+path, "{}"); r.result(t) != "2" || r.cached(t) {
				t.Errorf("%s: %s", path, r.body)
			}
		}
	}
	if r := s.mustAs(t, with(s.a, "X-Cache-Control", "max-age=60"), 200, "POST /runtime/nodejs/mixed", "{}"); r.result(t) != "2" {
		t.Errorf("another team's version runs: %s", r.body)
	}
	if !faas.SessionID(session).Plain() {
		t.Error("its session is not plain")
	}
}

// testWorkers: equal code of users of equal ids runs in workers of their own.
func (s teams) testWorkers(t *testing.T) {
	const script = "globalThis.n = (globalThis.n ?? 0) + 1; return [process.pid, n].join()"
	s.define(t, "worker", "", same(script))
	seen := map[string]string{}
	s.each(func(team string, caller []string) {
		oneShot := fmt.Sprintf(`{"params":1,"script_content":%q}`, script)
		for _, r := range []reply{
			s.mustAs(t, caller, 200, "POST /runtime/nodejs/worker", "{}"),
			s.mustAs(t, with(caller, "Language-Title", "nodejs-one"), 200, "POST /api/v1/execute", oneShot),
		} {
			pid, runs, _ := strings.Cut(strings.Trim(r.result(t), `"`), ",")
			if runs != "1" || seen[pid] != "" {
				t.Errorf("%s: run %s in process %s, which is one of %q", team, runs, pid, seen[pid])
			}
			seen[pid] = team
		}
	})
}

func (s teams) testSecrets(t *testing.T) {
	s.each(func(team string, caller []string) { s.setSecret(t, "NAME", "secret of "+team, caller...) })
	s.mustAs(t, s.a, 204, "PUT "+secretsPath+"/ONLY_A", `{"value":"x"}`)
	s.define(t, "environ", `,"environment":{"S":{"secret":"NAME"}}`, same("return process.env.S"))
	s.each(func(team string, caller []string) {
		want := `"secret of ` + team + `"`
		if r := s.mustAs(t, caller, 200, "POST /function/nodejs-environ", "{}"); string(r.body) != want {
			t.Errorf("%s finds %s", team, r.body)
		}
		session := s.sessionOf(t, caller, "nodejs-environ", "{}")
		if r := s.mustAs(t, caller, 200, "POST /api/v1/execute/"+session, "{}"); r.result(t) != want {
			t.Errorf("a session of %s finds %s", team, r.body)
		}
		listed := string(s.mustAs(t, caller, 200, "GET "+secretsPath, "").body)
		if strings.Contains(listed, "ONLY_A") != (team == "team-a") || !strings.Contains(listed, `"owner":"ann"`) {
			t.Errorf("%s is shown %s", team, listed)
		}
	})
	s.mustAs(t, s.b, 404, "DELETE "+secretsPath+"/ONLY_A", "")
	s.mustAs(t, s.b, 422, "POST "+functionsPath, `{"language":"nodejs","title":"thief","script_content":"return 1","environment":{"S":{"secret":"ONLY_A"}}}`)
}

// testKeys: who administers a namespace makes keys of it and sees its own, and nobody else's.
func (s teams) testKeys(t *testing.T) {
	boss := s.of(t, "team-a", "boss", "admin")
	var made struct{ ID, Namespace string }
	r := s.mustAs(t, boss, 201, "POST /api/v1/keys", `{"name":"x","user_id":"x","scopes":["admin"]}`)
	if err := json.Unmarshal(r.body, &made); err != nil || made.Namespace != "team-a" {
		t.Fatalf("%v: %s", err, r.body)
	}
	listed := string(s.mustAs(t, boss, 200, "GET /api/v1/keys", "").body)
	if strings.Count(listed, `"namespace"`) != strings.Count(listed, `"team-a"`) || !strings.Contains(listed, made.ID) {
		t.Errorf("the boss of team-a is shown %s", listed)
	}
	s.mustAs(t, s.of(t, "team-b", "boss", "admin"), 404, "DELETE /api/v1/keys/"+made.ID, "")
	s.mustAs(t, s.caller(t, "admin"), 404, "DELETE /api/v1/keys/"+made.ID, "")
	s.mustAs(t, s.caller(t, "admin"), 204, "DELETE /api/v1/keys/"+made.ID+"?namespace=team-a", "")
}

// testRows: rows of requests tell of which namespace their callers were.
func (s teams) testRows(t *testing.T) {
	count := func(where string) (n int) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dataDir, "envoke.db")+"?mode=ro&_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRow("SELECT count(*) FROM request_logs WHERE user_id = 'ann' AND " + where).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	testrig.Eventually(t, "rows of each", func() bool {
		return count("namespace = 'team-a'") > 0 && count("namespace = 'team-b'") > 0 && count("namespace IS NULL") > 0
	})
	if n := count("namespace NOT IN ('team-a', 'team-b')"); n > 0 {
		t.Errorf("%d rows of other namespaces", n)
	}
}

// TestOddNamespaces: what a token claims and is none lets nobody in, least of all into the
// default one.
func TestOddNamespaces(t *testing.T) {
	d := openDoorWith(t, "--anonymous-scopes", "execute:nodejs")
	for _, team := range []any{
		nil, "", " ", "default", "Team", "team a", "team\ta", "team-a,team-b", "../team", "team-a/nodejs-calculator", "-", "*", "a\x00", "é",
		strings.Repeat("a", 64),
		[]string{"team-a"},
		map[string]any{"a": 1},
		true, -1, 1.5,
	} {
		r := d.send(t, http.MethodPost, "/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`, d.of(t, team, "ada", "admin")...)
		if r.status < 400 {
			t.Errorf("%v: %d %s", team, r.status, r.body)
		}
		if r.status == http.StatusForbidden && !strings.Contains(string(r.body), "of which namespace its caller is") {
			t.Errorf("%v: %s", team, r.body)
		}
	}
	// A key is of its own namespace, whatever a token beside it claims that names nobody.
	token := d.of(t, "team-b", "", "admin")
	r := d.send(t, http.MethodPost, "/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`, with(d.caller(t, "key"), token...)...)
	if r.status != http.StatusOK { // the function is in the default one
		t.Errorf("%d %s", r.status, r.body)
	}
}
