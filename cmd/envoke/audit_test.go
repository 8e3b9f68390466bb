package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	remote "envoke/internal/client"
)

const auditPath = "/api/v1/audit"

// changes is what an administrator reads of who has changed what, newest first.
func (d *door) changes(t *testing.T, query string) []remote.Change {
	t.Helper()
	r := d.mustAs(t, d.caller(t, "admin"), http.StatusOK, "GET "+auditPath+"?per_page=100&"+query, "")
	var page remote.ChangePage
	if err := json.Unmarshal(r.body, &page); err != nil || page.Total != len(page.Entries) {
		t.Fatalf("%v: %s", err, r.body)
	}
	return page.Entries
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// TestAudit: an administrator sees who has changed what, by what proof and request; nobody else
// does, and what was refused is not in it.
func TestAudit(t *testing.T) {
	d := openDoorWith(t)
	admin, carol, ada := d.caller(t, "admin"), d.caller(t, "carol"), d.caller(t, "ada")
	made := d.mustAs(t, admin, 201, "POST /api/v1/keys", `{"name":"ci","user_id":"ci","scopes":["write:functions"],"expires_in_seconds":3600}`)
	var key struct{ ID, Secret string }
	if err := json.Unmarshal(made.body, &key); err != nil {
		t.Fatal(err)
	}
	ci := []string{"X-API-Key", key.Secret}
	forged := []string{"X-Envoke-Proof", "key forged", "X-Forwarded-For", "203.0.113.9", "X-User-ID", "eve"}
	session := d.sessionOf(t, ada, "nodejs-x", `{"script_content":"return 1"}`)
	const path = "/api/v1/functions"
	for _, step := range []struct {
		caller  []string
		status  int
		request string
		body    string
	}{
		{carol, 201, "POST " + path, `{"language":"nodejs","title":"audited","script_content":"return 'code-1c9'","environment":{"A":"text-77b"}}`},
		{carol, 409, "POST " + path, `{"language":"nodejs","title":"audited","script_content":"return 1"}`},
		{ci, 403, "PUT " + path + "/nodejs-audited", `{"script_content":"return 2"}`},
		{ada, 403, "DELETE " + path + "/nodejs-audited", ""},
		{admin, 200, "PUT " + path + "/nodejs-audited", `{"script_content":"return 2"}`},
		{carol, 200, "PUT " + path + "/nodejs-audited/aliases/prod", `{"version":1,"weights":{"2":10}}`},
		{carol, 404, "PUT " + path + "/nodejs-audited/aliases/prod", `{"version":9}`},
		{append(slices.Clone(carol), forged...), 200, "POST " + path + "/nodejs-audited/rollback", `{"version":1}`},
		{carol, 204, "DELETE " + path + "/nodejs-audited/aliases/prod", ""},
		{carol, 204, "DELETE " + path + "/nodejs-audited", ""},
		{ci, 204, "PUT /api/v1/secrets/DB", `{"value":"canary-5e1"}`},
		{ci, 204, "DELETE /api/v1/secrets/DB", ""},
		{ada, 204, "DELETE /api/v1/sessions/" + d.sessionOf(t, ada, "nodejs-x", `{"script_content":"return 1"}`), ""},
		{admin, 204, "DELETE /api/v1/sessions/" + session, ""},
		{admin, 204, "DELETE /api/v1/keys/" + key.ID, ""},
		{admin, 204, "DELETE /api/v1/keys/" + key.ID, ""},
	} {
		headers := append(slices.Clone(step.caller), "X-Request-ID", "audit "+step.request)
		d.mustAs(t, headers, step.status, step.request, step.body)
	}
	var got []string
	entries := d.changes(t, "")
	for _, e := range slices.Backward(entries) {
		if orEmpty(e.UserID) == "envoke" {
			continue // the seeds
		}
		if address := orEmpty(e.Address); address != "127.0.0.1" {
			t.Errorf("%s was asked for from %q", e.Action, address)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s", orEmpty(e.UserID), strings.ReplaceAll(orEmpty(e.Proof), key.ID, "ID"), e.Action, strings.NewReplacer(key.ID, "ID", session, "SESSION").Replace(e.Target)))
	}
	want := []string{
		"admin token key.create " + got[0][strings.LastIndex(got[0], " ")+1:], // of ada's key
		"admin token key.create ID",
		"carol token function.register nodejs-audited",
		"admin token version.add nodejs-audited",
		"carol token alias.put nodejs-audited:prod",
		"carol token version.activate nodejs-audited",
		"carol token alias.delete nodejs-audited:prod",
		"carol token function.delete nodejs-audited",
		"ci key ID secret.put DB",
		"ci key ID secret.delete DB",
		"admin token session.delete SESSION",
		"admin token key.revoke ID",
	}
	if !slices.Equal(got, want) {
		t.Errorf("changes are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if seeds := d.changes(t, "user=envoke"); len(seeds) == 0 || seeds[0].Action != "function.register" || seeds[0].RequestID != nil {
		t.Errorf("the seeds are %+v", seeds)
	}
	if one := d.changes(t, "action=secret.put&target=DB"); len(one) != 1 || orEmpty(one[0].RequestID) != "audit PUT /api/v1/secrets/DB" {
		t.Errorf("the secret's change is %+v", one)
	}
	if later := d.changes(t, "since="+entries[0].At.Format("2006-01-02T15:04:05.999999Z")); len(later) != 1 {
		t.Errorf("since the last change there are %+v", later)
	}
	d.noSecretsInAudit(t, key.Secret, "canary-5e1", "text-77b", "code-1c9")
}

func (d *door) noSecretsInAudit(t *testing.T, secrets ...string) {
	t.Helper()
	raw := string(d.mustAs(t, d.caller(t, "admin"), 200, "GET "+auditPath+"?per_page=100", "").body)
	for _, secret := range secrets {
		if strings.Contains(raw, secret) {
			t.Errorf("the audit log holds %s", secret)
		}
	}
}
