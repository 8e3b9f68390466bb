package api_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
	"envoke/internal/keys"
)

// withKeys gives the rig keys on its store.
func withKeys(t *testing.T) (*rig, *keys.Keys) {
	t.Helper()
	r := newRig(t)
	k := keys.New(keys.Options{Store: r.store, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	r.options.Keys, r.options.Auth = k, true
	return r, k
}

// madeKey is a new key as the API shows it.
type madeKey struct {
	ID, Name, Secret string
	UserID           string `json:"user_id"`
	Scopes           []string
	Languages        []string
	CreatedAt        time.Time  `json:"created_at"`
	ExpiresAt        *time.Time `json:"expires_at"`
	LastUsedAt       *time.Time `json:"last_used_at"`
	RevokedAt        *time.Time `json:"revoked_at"`
}

func (r *rig) makeKey(body string) (made madeKey) {
	r.Helper()
	status, reply, header := r.send("POST", "/api/v1/keys", body)
	raw, _ := json.Marshal(reply)
	if err := json.Unmarshal(raw, &made); err != nil || status != 201 || header.Get("Cache-Control") != "no-store" {
		r.Fatalf("%d %s, %v", status, raw, header)
	}
	return made
}

func (r *rig) listKeys(query string) (listed []madeKey, raw string) {
	r.Helper()
	status, reply, _ := r.request("GET", "/api/v1/keys"+query)
	text, _ := json.Marshal(reply)
	var list struct{ Keys []madeKey }
	if err := json.Unmarshal(text, &list); err != nil || status != 200 {
		r.Fatalf("%d %s", status, text)
	}
	return list.Keys, string(text)
}

func TestKeys(t *testing.T) {
	r, k := withKeys(t)
	full := r.makeKey(`{"name":"the shop","user_id":"ada","scopes":["execute:all","read:functions"],"languages":["nodejs"],"expires_in_seconds":60}`)
	bare := r.makeKey(`{"name":"bob's","user_id":"bob","scopes":["admin"],"languages":null,"expires_in_seconds":null}`)
	if full.Name != "the shop" || full.UserID != "ada" || fmt.Sprint(full.Scopes, full.Languages) != "[execute:all read:functions] [nodejs]" ||
		full.ExpiresAt == nil || time.Until(*full.ExpiresAt) > time.Minute || time.Since(full.CreatedAt) > time.Minute || full.LastUsedAt != nil || full.RevokedAt != nil {
		t.Errorf("the key is %+v", full)
	}
	if bare.Languages != nil || bare.ExpiresAt != nil {
		t.Errorf("the key is %+v", bare)
	}
	for _, made := range []madeKey{full, bare} {
		if key, err := k.Verify(t.Context(), made.Secret); err != nil || key.ID != made.ID || key.UserID != made.UserID {
			t.Errorf("its secret is that of %+v, %v", key, err)
		}
	}
	listed, raw := r.listKeys("?user_id=ada")
	if len(listed) != 1 || listed[0].ID != full.ID || listed[0].Secret != "" || strings.Contains(raw, "secret") {
		t.Errorf("ada's are %s", raw)
	}
	if _, raw := r.listKeys("?per_page=1&page=2"); !strings.Contains(raw, full.ID) || !strings.Contains(raw, `"page":2,"per_page":1,"total":2`) {
		t.Errorf("the second page is %s", raw)
	}
	for range 2 {
		r.wantReply("DELETE", "/api/v1/keys/"+full.ID, 204, "")
	}
	if listed, _ := r.listKeys("?user_id=ada"); listed[0].RevokedAt == nil {
		t.Errorf("after it was revoked it is %+v", listed[0])
	}
	if _, err := k.Verify(t.Context(), full.Secret); faas.AsError(err).Code != faas.Unauthorized {
		t.Errorf("after it was revoked: %v", err)
	}
	r.wantError("DELETE", "/api/v1/keys/000000000000", faas.NotFound, "API key")
	r.wantError("DELETE", "/api/v1/keys/"+bare.Secret, faas.NotFound, "API key")
	for _, made := range []madeKey{full, bare} {
		if strings.Contains(r.log.String()+fmt.Sprint(r.failed), made.Secret[16:]) {
			t.Errorf("a secret is in the log: %s", r.log.String())
		}
	}
}

// TestKeyFaults: each names the member, and none says what was sent.
func TestKeyFaults(t *testing.T) {
	r, _ := withKeys(t)
	for body, names := range map[string]string{
		`{}`:                              "name is missing",
		`{"name":"a","scopes":["admin"]}`: "user_id is missing",
		`{"name":"a","user_id":"u"}`:      "scopes is missing",
		`{"name":"","user_id":"u","scopes":["admin"]}`:                                              "name must be text",
		`{"name":"` + strings.Repeat("x", 129) + `","user_id":"u","scopes":["admin"]}`:              "name must be text",
		`{"name":"a","user_id":"` + strings.Repeat("x", 257) + `","scopes":["admin"]}`:              "user_id must be text",
		`{"name":"a","user_id":"a\nx-y: z","scopes":["admin"]}`:                                     "user_id must be text",
		`{"name":"a","user_id":" a","scopes":["admin"]}`:                                            "user_id must be text",
		`{"name":"a","user_id":"u","scopes":[]}`:                                                    "scopes may not be empty",
		`{"name":"a","user_id":"u","scopes":["all"]}`:                                               "scopes.0 must be one of",
		`{"name":"a","user_id":"u","scopes":"admin"}`:                                               "scopes must be a list",
		`{"name":"a","user_id":"u","scopes":["admin","admin"]}`:                                     "scopes.1 is there twice",
		`{"name":"a","user_id":"u","scopes":["execute:all"],"languages":[]}`:                        "languages may not be empty",
		`{"name":"a","user_id":"u","scopes":["execute:all"],"languages":["cobol"]}`:                 "languages.0 must be one of",
		`{"name":"a","user_id":"u","scopes":["admin"],"languages":["nodejs"]}`:                      "languages means nothing",
		`{"name":"a","user_id":"u","scopes":["admin"],"expires_in_seconds":0}`:                      "expires_in_seconds must be",
		`{"name":"a","user_id":"u","scopes":["admin"],"expires_in_seconds":315360001}`:              "expires_in_seconds must be",
		`{"name":"a","user_id":"u","scopes":["admin"],"secret":"ek_000000000000_mine"}`:             "secret is not known here",
		`{"name":"a","user_id":"u","scopes":["admin"],"expires_in_seconds":"ek_000000000000_mine"}`: "expires_in_seconds must be a whole number",
	} {
		r.wantErrorTo("POST", "/api/v1/keys", body, faas.InvalidRequest, names)
		if _, reply, _ := r.send("POST", "/api/v1/keys", body); strings.Contains(fmt.Sprint(reply), "mine") {
			t.Errorf("the error of %s says what was sent: %v", body, reply)
		}
	}
	r.wantErrorTo("POST", "/api/v1/keys", strings.Repeat(" ", 65<<10), faas.PayloadTooLarge, "the body")
	for query, names := range map[string]string{"?user=a": "user", "?page=0": "page", "?per_page=101": "per_page", "?%": "query"} {
		r.wantError("GET", "/api/v1/keys"+query, faas.InvalidRequest, names)
	}
	if listed, raw := r.listKeys(""); len(listed) > 0 || !strings.Contains(raw, `"keys":[]`) {
		t.Errorf("keys were made: %s", raw)
	}
}
