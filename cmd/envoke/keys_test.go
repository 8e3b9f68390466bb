package main

import (
	"database/sql"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"envoke/internal/faas"
)

// TestKeys walks a key through its life by the command line, and one into the file of login.
func TestKeys(t *testing.T) {
	const admin = "0123456789abcdef-of-the-operator-s3cr3t"
	t.Setenv("ADMIN_KEY", admin)
	t.Setenv("ENVOKE_API_KEY", admin)
	i := serve(t, "--auth")
	config, user := t.TempDir(), unused("ada")
	t.Setenv("XDG_CONFIG_HOME", config)
	made := i.cli(t, "", "keys", "create", "--name", "a key", "--user", user, "--scope", "execute:all", "--language", "nodejs", "--expires-in", "1h")
	secret := strings.TrimSpace(made.stdout)
	id, ok := faas.ParseKeySecret(secret)
	if !ok || made.code != 0 || strings.Contains(made.stderr, secret) {
		t.Fatalf("%+v", made)
	}
	for _, step := range []struct {
		stdin, args string
		code        int
		want        string // a regular expression over all that is printed
	}{
		{"", "keys list --user " + user, 0, id + ` +` + user + ` +execute:all +nodejs +until \S+ \S+ +never +a key\n`},
		{"", "keys list --user " + user + " -o json", 0, `"total": 1`},
		{secret, "login", 0, `takes the key; it is stored in ` + config},
		{"", "list --tag none", 0, `^NAME`},
		{"", "logout", 0, `is forgotten`},
		{"", "keys revoke " + secret, 0, `^` + id + ` is revoked\n$`},
		{"", "keys revoke " + id, 0, `is revoked`},
		{"", "keys list --user " + user, 0, `revoked \S+ \S+ +(never|\S+ \S+) +a key`},
		{"", "keys revoke 000000000000", 1, `no such API key \(NOT_FOUND from control`},
		{"", "keys create --name a --user b --scope all", 1, `scopes\.0 must be one of`},
		{"", "keys create --name a --user b", 2, `"scope" not set`},
	} {
		got := i.cli(t, step.stdin, strings.Fields(step.args)...)
		if text := got.stdout + got.stderr; got.code != step.code || !regexp.MustCompile(step.want).MatchString(text) {
			t.Errorf("envoke %.40s: exit code %d, want %d and %q:\n%s", step.args, got.code, step.code, step.want, text)
		}
	}
	for path, allow := range map[string]string{"/api/v1/keys": "GET, HEAD, POST", "/api/v1/keys/" + id: "DELETE"} {
		if r := i.send(t, http.MethodPut, path, "{}", "X-API-Key", admin); r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != allow {
			t.Errorf("PUT %s: %d, %v", path, r.status, r.header)
		}
	}
}

// TestSecretsAreKeptNowhere: neither a key's nor the operator's is in what is stored, logged,
// printed or shown to operators, wherever a caller puts it.
func TestSecretsAreKeptNowhere(t *testing.T) {
	const admin = "0123456789abcdef-of-the-operator-s3cr3t"
	file := filepath.Join(t.TempDir(), "admin.key")
	writeFile(t, file, admin+"\n")
	t.Setenv("ADMIN_KEY_FILE", file)
	i := serve(t, "--log-payloads", "--auth")
	r := i.send(t, http.MethodPost, "/api/v1/keys", `{"name":"a","user_id":"ada","scopes":["admin"]}`, "X-API-Key", admin, "X-Request-ID", "made")
	var made struct{ ID, Secret string }
	if err := json.Unmarshal(r.body, &made); err != nil || r.status != http.StatusCreated || r.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s %v", r.status, r.body, r.header)
	}
	hidden := made.Secret[len(made.Secret)-43:]
	session := i.sessionOf(t, []string{"X-API-Key", made.Secret}, "nodejs-test",
		`{"script_content":"if (event.params.fail) throw new Error(event.params.fail); return event.params"}`)
	path := "/api/v1/execute/" + session
	for id, request := range map[string][]string{
		"payload": {http.MethodPost, path, `{"params":{"text":"it is ` + made.Secret + `","api_key":"` + admin + `"}}`},
		"header":  {http.MethodPost, path, `{"params":{}}`},
		"path":    {http.MethodDelete, "/api/v1/keys/" + made.Secret, ""},
		"query":   {http.MethodGet, "/api/v1/keys?key=" + made.Secret, ""},
		"member":  {http.MethodPost, "/api/v1/keys", `{"name":"a","user_id":"u","scopes":["` + made.Secret + `"]}`},
		"name":    {http.MethodPost, "/api/v1/execute", `{"params":1}`},
		"thrown":  {http.MethodPost, path, `{"params":{"fail":"` + made.Secret + `"}}`},
	} {
		got := i.send(t, request[0], request[1], request[2], "X-API-Key", made.Secret, "Language-Title", made.Secret, "X-Request-ID", id)
		if id != "payload" && id != "thrown" && strings.Contains(string(got.body), hidden) {
			t.Errorf("%s: the answer is %s", id, got.body)
		}
	}
	db, err := sql.Open("sqlite", filepath.Join(i.dataDir, "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for question, want := range map[string]string{
		"SELECT request_payload FROM request_logs WHERE request_id = 'payload'":  `{"text":"it is ek_` + made.ID + `_***","api_key":"***"}`,
		"SELECT response_payload FROM request_logs WHERE request_id = 'payload'": `ek_` + made.ID + `_***`,
		"SELECT path FROM request_logs WHERE request_id = 'path'":                `/api/v1/keys/ek_` + made.ID + `_***`,
		"SELECT error_message FROM error_logs WHERE request_id = 'thrown'":       `ek_` + made.ID + `_***`,
		"SELECT operation FROM request_logs WHERE request_id = 'made'":           "key",
		"SELECT language_title FROM request_logs WHERE request_id = 'name'":      `ek_` + made.ID + `_***`,
	} {
		eventually(t, db, question, want)
	}
	metrics, err := send(http.MethodGet, i.operators+"/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{
		"printed": i.stdout.String(), "logged": i.stderr.String(), "metrics": string(metrics.body), "/logs": i.logs(t, ""),
	}
	err = filepath.WalkDir(i.dataDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(path, filepath.Join(i.dataDir, "log")) { // Envoy's own
			return err
		}
		content, err := os.ReadFile(path)
		places[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for place, content := range places {
		for _, secret := range []string{hidden, admin} {
			if at := strings.Index(content, secret); at >= 0 {
				t.Errorf("%s has %.5s…: …%.200q", place, secret, content[max(0, at-60):at])
			}
		}
	}
}
