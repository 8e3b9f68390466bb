package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"envoke/internal/testrig"
)

// door is an installation that checks who calls, and an issuer whom it believes.
type door struct {
	*installation
	issuer *testrig.Issuer
	key    string // an API key of ada's
}

// believed is an issuer, and flags of an installation that believes it.
func believed(t *testing.T) (issuer *testrig.Issuer, flags []string) {
	t.Helper()
	issuer = testrig.NewIssuer(t, "https://issuer.test/", "1")
	dir := t.TempDir()
	keys, file := filepath.Join(dir, "keys.json"), filepath.Join(dir, "issuers.yaml")
	const entry = "- issuer: %s\n  audiences: [envoke]\n  jwks_file: %s\n  user_claim: sub\n"
	text := "issuers:\n" + fmt.Sprintf(entry, issuer.URL, keys) + fmt.Sprintf(entry, teamsURL, keys) + "  namespace_claim: org.team\n"
	for path, content := range map[string]string{keys: testrig.KeySet(issuer), file: text} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return issuer, []string{"--auth", "--jwt-issuers-file", file}
}

func openDoorWith(t *testing.T, args ...string) *door {
	t.Helper()
	issuer, flags := believed(t)
	unbounded := []string{"--rate-execute-per-minute", "0", "--rate-anonymous-per-minute", "0", "--rate-functions-per-minute", "0"}
	d := &door{installation: serve(t, slices.Concat(flags, unbounded, args)...), issuer: issuer}
	r := d.mustAs(t, d.caller(t, "admin"), 201, "POST /api/v1/keys", `{"name":"test","user_id":"ada","scopes":["execute:nodejs"]}`)
	var made struct{ Secret string }
	if err := json.Unmarshal(r.body, &made); err != nil || made.Secret == "" {
		t.Fatalf("%v: %s", err, r.body)
	}
	d.key = made.Secret
	return d
}

// teamsURL issues tokens, by the same keys, that say of which namespace their callers are.
const teamsURL = "https://teams.test/"

// of are the headers of a caller of that name and those scopes in a namespace.
func (d *door) of(t *testing.T, team any, user, scopes string, more ...string) []string {
	t.Helper()
	return append([]string{"Authorization", "Bearer " + d.issuer.Token(t, map[string]any{
		"iss": teamsURL, "sub": user, "scope": scopes, "aud": "envoke", "org": map[string]any{"team": team},
	})}, more...)
}

// as are the headers of a caller of that name and those scopes.
func (d *door) as(t *testing.T, user, scopes string, more ...string) []string {
	t.Helper()
	return append([]string{"Authorization", "Bearer " + d.issuer.Token(t, map[string]any{"sub": user, "scope": scopes, "aud": "envoke"})}, more...)
}

// The kinds of callers. Ada has made the sessions, carol the functions; the key is ada's. Other is
// called ada too, and boss carol, in another namespace, which boss administers.
const callerKinds = "nobody expired other boss ada bob python reader carol dave admin key"

func (d *door) caller(t *testing.T, name string) []string {
	t.Helper()
	switch name {
	case "nobody":
		return nil
	case "expired":
		return []string{"Authorization", "Bearer " + d.issuer.Token(t, map[string]any{
			"sub": "ada", "scope": "admin", "aud": "envoke", "exp": time.Now().Add(-time.Hour).Unix(),
		})}
	case "other":
		return d.of(t, "team-b", "ada", "execute:nodejs write:functions")
	case "boss":
		return d.of(t, "team-b", "carol", "admin")
	case "ada", "bob":
		return d.as(t, name, "execute:nodejs")
	case "python":
		return d.as(t, name, "execute:python")
	case "reader":
		return d.as(t, name, "read:functions")
	case "carol", "dave":
		return d.as(t, name, "write:functions")
	case "key":
		return []string{"X-API-Key", d.key}
	}
	return d.as(t, name, "admin")
}

// matrix is who may do what: of each endpoint, and each kind of caller in their order, the
// status. {plain} and {cached} are sessions of ada's, {own} is carol's function and a new one
// for each request.
var matrix = []struct{ request, header, body, want string }{
	//                                              nobody expired other boss ada bob python reader carol dave admin key
	{"POST /api/v1/initialize", "Language-Title: nodejs-x", `{"script_content":"return 1"}`, "401 401 200 200 200 200 403 403 403 403 200 200"},
	{"POST /api/v1/initialize", "Language-Title: nodejs-calculator", `{}`, "401 401 404 404 200 200 403 403 403 403 200 200"},
	{"POST /api/v1/execute", "Language-Title: nodejs-x", `{"params":1,"script_content":"return 1"}`, "401 401 200 200 200 200 403 403 403 403 200 200"},
	{"POST /api/v1/execute/{plain}", "", `{}`, "401 401 404 404 200 404 403 403 403 403 404 200"},
	{"POST /api/v1/execute/{plain}", "X-Cache-Control: max-age=60", `{}`, "401 401 404 404 200 404 403 403 403 403 404 200"},
	{"POST /api/v1/execute/{plain}", "X-Cache-Control: no-cache", `{}`, "401 401 404 404 200 404 403 403 403 403 404 200"},
	{"POST /api/v1/execute/{cached}", "", `{}`, "401 401 404 404 200 404 403 403 403 403 404 200"},
	{"POST /api/v1/execute/00000000-0000-8110-8000-000000000000", "", `{}`, "401 401 404 404 404 404 403 403 403 403 404 404"},
	{"GET /api/v1/sessions/{plain}", "", "", "401 401 404 404 200 404 404 403 403 403 200 200"},
	{"DELETE /api/v1/sessions/{fresh}", "", "", "401 401 404 404 204 404 404 403 403 403 204 204"},
	{"GET /api/v1/functions", "", "", "401 401 200 200 403 403 403 200 200 200 200 403"},
	{"GET /api/v1/functions?type=dynamic&user_id=ada", "", "", "401 401 200 200 403 403 403 403 403 403 200 403"},
	{"GET /api/v1/functions/nodejs-calculator", "", "", "401 401 404 404 403 403 403 200 200 200 200 403"},
	{"GET /api/v1/functions/nodejs-calculator/versions", "", "", "401 401 404 404 403 403 403 200 200 200 200 403"},
	{"GET /api/v1/functions/nodejs-calculator/aliases", "", "", "401 401 404 404 403 403 403 200 200 200 200 403"},
	{"POST /api/v1/functions", "", `{"language":"nodejs","title":"{new}","script_content":"return 1"}`, "401 401 201 201 403 403 403 403 201 201 201 403"},
	{"PUT /api/v1/functions/{own}", "", `{"script_content":"return 2"}`, "401 401 404 404 403 403 403 403 200 403 200 403"},
	{"POST /api/v1/functions/{own}/rollback", "", `{"version":1}`, "401 401 404 404 403 403 403 403 200 403 200 403"},
	{"PUT /api/v1/functions/{own}/aliases/a", "", `{"version":1}`, "401 401 404 404 403 403 403 403 200 403 200 403"},
	{"DELETE /api/v1/functions/{own}/aliases/b", "", "", "401 401 404 404 403 403 403 403 204 403 204 403"},
	{"DELETE /api/v1/functions/{own}", "", "", "401 401 404 404 403 403 403 403 204 403 204 403"},
	{"DELETE /api/v1/functions/nodejs-calculator@1", "", "", "401 401 400 400 403 403 403 403 400 400 400 403"},
	{"PUT /api/v1/functions/nodejs-calculator", "", `{"script_content":"return 2"}`, "401 401 404 404 403 403 403 403 403 403 200 403"},
	{"GET /api/v1/secrets", "", "", "401 401 200 200 403 403 403 403 200 200 200 403"},
	{"PUT /api/v1/secrets/MATRIX", "", `{"value":"v"}`, "401 401 204 204 403 403 403 403 204 204 204 403"},
	{"PUT /api/v1/secrets/MATRIX?namespace=default", "", `{"value":"v"}`, "401 401 403 403 403 403 403 403 204 204 204 403"},
	{"PUT /api/v1/secrets/MATRIX?namespace=team-b", "", `{"value":"v"}`, "401 401 204 204 403 403 403 403 403 403 403 403"},
	{"DELETE /api/v1/secrets/CAROLS", "", "", "401 401 404 404 403 403 403 403 204 404 404 403"},
	{"DELETE /api/v1/secrets/MATRIX", "", "", "401 401 204 204 403 403 403 403 204 204 204 403"},
	{"POST /runtime/nodejs/own", "", `{}`, "401 401 404 404 200 200 403 403 403 403 200 200"},
	{"POST /runtime/nodejs/own", "X-Cache-Control: max-age=60", `{}`, "401 401 404 404 200 200 403 403 403 403 200 200"},
	{"POST /function/nodejs-own", "", `{}`, "401 401 404 404 200 200 403 403 403 403 200 200"},
	{"GET /function/nodejs-own", "", "", "401 401 404 404 200 200 403 403 403 403 200 200"},
	{"GET /function/nodejs-cached", "", "", "401 401 404 404 200 200 403 403 403 403 200 200"},
	{"POST /function/python-own", "", `{}`, "401 401 403 404 403 403 404 403 403 403 404 403"},
	{"GET /api/v1/initialize", "", "", "401 401 405 405 405 405 405 405 405 405 405 405"},
	{"GET /no/such/path", "", "", "401 401 404 404 404 404 404 404 404 404 404 404"},
	{"GET /api/v1/keys", "", "", "401 401 403 200 403 403 403 403 403 403 200 403"},
	{"POST /api/v1/keys", "", `{"name":"x","user_id":"x","scopes":["admin"]}`, "401 401 403 201 403 403 403 403 403 403 201 403"},
	{"DELETE /api/v1/keys/000000000000", "", "", "401 401 403 404 403 403 403 403 403 403 404 403"},
	{"GET /api/v1/functions?namespace=team-b", "", "", "401 401 200 200 403 403 403 403 403 403 200 403"},
	{"GET /api/v1/functions?namespace=Team", "", "", "401 401 400 400 403 403 403 400 400 400 400 403"},
	{"GET /api/v1/functions?namespace=a&namespace=b", "", "", "401 401 400 400 403 403 403 400 400 400 400 403"},
	{"GET /api/v1/functions/nodejs-calculator?namespace=default", "", "", "401 401 403 403 403 403 403 200 200 200 200 403"},
	{"GET /api/v1/functions/nodejs-calculator?namespace=team-b", "", "", "401 401 404 404 403 403 403 403 403 403 404 403"},
	{"PUT /api/v1/functions/{own}?namespace=default", "", `{"script_content":"return 2"}`, "401 401 403 403 403 403 403 403 200 403 200 403"},
	{"POST /api/v1/functions?namespace=team-c", "", `{"language":"nodejs","title":"{new}","script_content":"return 1"}`, "401 401 403 403 403 403 403 403 403 403 201 403"},
	{"GET /api/v1/sessions/{plain}?namespace=default", "", "", "401 401 403 403 200 404 404 403 403 403 200 200"},
	{"GET /api/v1/sessions/{plain}?namespace=team-b", "", "", "401 401 404 404 403 403 403 403 403 403 404 403"},
	{"GET /api/v1/keys?namespace=team-b", "", "", "401 401 403 200 403 403 403 403 403 403 200 403"},
	{"POST /api/v1/keys?namespace=team-c", "", `{"name":"x","user_id":"x","scopes":["admin"]}`, "401 401 403 403 403 403 403 403 403 403 201 403"},
	{"DELETE /api/v1/keys/000000000000?namespace=team-c", "", "", "401 401 403 403 403 403 403 403 403 403 404 403"},
	{"GET /api/v1/audit", "", "", "401 401 403 200 403 403 403 403 403 403 200 403"},
	{"GET /api/v1/audit?user=ada&action=key.revoke", "", "", "401 401 403 200 403 403 403 403 403 403 200 403"},
	{"DELETE /api/v1/audit", "", "", "401 401 405 405 405 405 405 405 405 405 405 405"},
	{"GET /api/v1/audit?namespace=team-b", "", "", "401 401 403 200 403 403 403 403 403 403 200 403"},
	{"GET /api/v1/config", "", "", "401 401 403 403 403 403 403 403 403 403 200 403"},
	{"PUT /api/v1/config", "", "{}", "401 401 403 403 403 403 403 403 403 403 200 403"},
	{"PUT /api/v1/config?dry_run=true", "", "colour: red", "401 401 403 403 403 403 403 403 403 403 400 403"},
	{"GET /api/v1/config/versions", "", "", "401 401 403 403 403 403 403 403 403 403 200 403"},
	{"GET /api/v1/config/versions/999", "", "", "401 401 403 403 403 403 403 403 403 403 404 403"},
	{"POST /api/v1/config/rollback", "", `{"version":999}`, "401 401 403 403 403 403 403 403 403 403 404 403"},
	{"DELETE /api/v1/config", "", "", "401 401 405 405 405 405 405 405 405 405 405 405"},
	{"GET /health", "", "", "200 200 200 200 200 200 200 200 200 200 200 200"},
	{"GET /api/v1/openapi.json", "", "", "200 200 200 200 200 200 200 200 200 200 200 200"},
}

// TestMatrix walks the table.
func TestMatrix(t *testing.T) { openDoorWith(t).walkMatrix(t) }

// TestMatrixWithASharedBudget: nobody may more where each request is counted first.
func TestMatrixWithASharedBudget(t *testing.T) {
	many := []string{"--rate-execute-per-minute", "1000000", "--rate-anonymous-per-minute", "1000000", "--rate-functions-per-minute", "1000000"}
	openDoorWith(t, append(many, "--rate-shared", "--redis-url", testrig.Redis(t).URL())...).walkMatrix(t)
}

func (d *door) walkMatrix(t *testing.T) {
	t.Helper()
	carol, ada := d.caller(t, "carol"), d.caller(t, "ada")
	for title, seconds := range map[string]int{"own": 0, "cached": 60} {
		d.mustAs(t, carol, 201, "POST /api/v1/functions", fmt.Sprintf(`{"language":"nodejs","title":%q,"script_content":"return 1","cache_ttl_seconds":%d}`, title, seconds))
	}
	d.mustAs(t, carol, 204, "PUT /api/v1/secrets/CAROLS", `{"value":"v"}`)
	plain := d.sessionOf(t, ada, "nodejs-x", `{"script_content":"return 1"}`)
	cached := d.sessionOf(t, ada, "nodejs-cached", `{}`)
	for n, row := range matrix {
		for m, name := range strings.Fields(callerKinds) {
			want := strings.Fields(row.want)[m]
			t.Run(fmt.Sprintf("%s %s as %s", row.request, row.header, name), func(t *testing.T) {
				request, body := row.request, strings.ReplaceAll(row.body, "{new}", fmt.Sprintf("new-%d-%d", n, m))
				request = strings.NewReplacer("{plain}", plain, "{cached}", cached).Replace(request)
				if strings.Contains(request, "{fresh}") {
					request = strings.ReplaceAll(request, "{fresh}", d.sessionOf(t, ada, "nodejs-x", `{"script_content":"return 1"}`))
				}
				if strings.Contains(request, "{own}") {
					own := fmt.Sprintf("own-%d-%d", n, m)
					d.mustAs(t, carol, 201, "POST /api/v1/functions", fmt.Sprintf(`{"language":"nodejs","title":%q,"script_content":"return 1"}`, own))
					d.mustAs(t, carol, 200, "PUT /api/v1/functions/nodejs-"+own+"/aliases/b", `{"version":1}`)
					request = strings.ReplaceAll(request, "{own}", "nodejs-"+own)
				}
				headers := d.caller(t, name)
				if key, value, ok := strings.Cut(row.header, ": "); ok {
					headers = append(headers, key, value)
				}
				method, path, _ := strings.Cut(request, " ")
				if r := d.send(t, method, path, body, headers...); fmt.Sprint(r.status) != want {
					t.Errorf("%d, want %s: %s", r.status, want, r.body)
				}
			})
		}
	}
}

func (i *installation) mustAs(t *testing.T, caller []string, status int, request, body string) reply {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r := i.send(t, method, path, body, caller...)
	if r.status != status {
		t.Fatalf("%s: %d %s", request, r.status, r.body)
	}
	return r
}

func (i *installation) sessionOf(t *testing.T, caller []string, title, body string) string {
	t.Helper()
	r := i.send(t, http.MethodPost, "/api/v1/initialize", body, append(caller[:len(caller):len(caller)], "Language-Title", title)...)
	var session struct {
		ID string `json:"request_id"`
	}
	if err := json.Unmarshal(r.body, &session); err != nil || r.status != http.StatusOK {
		t.Fatalf("initialize: %d %s", r.status, r.body)
	}
	return session.ID
}
