package main

import (
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/testrig"
)

// keyFile has keys of 32 equal bytes, one a line.
func keyFile(t *testing.T, bytes ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	lines := make([]string, len(bytes))
	for n, b := range bytes {
		lines[n] = hex.EncodeToString([]byte(strings.Repeat(b, 32)))
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSecretsOnPostgres: without a key file secrets cannot be used, and say so; with one, what
// one control is told holds for the hosts of another, and keys are rotated at a start.
func TestSecretsOnPostgres(t *testing.T) {
	address := testrig.Postgres(t)
	none := serve(t, "--database-url", address)
	if e := none.send(t, http.MethodPut, secretsPath+"/DB", `{"value":"x"}`).isError(t, 503, "UNAVAILABLE", "control"); !strings.Contains(e.Error.Message, "SECRETS_KEY_FILE") {
		t.Errorf("%+v", e)
	}
	one, other := serve(t, "--database-url", address, "--secrets-key-file", keyFile(t, "a", "b")), serve(t, "--database-url", address, "--secrets-key-file", keyFile(t, "b", "a"))
	one.setSecret(t, "DB", "first")
	name := other.environ(t, "nodejs", "shared", `{"DB":{"secret":"DB"}}`)
	finds := func(i *installation, want string) {
		t.Helper()
		testrig.Eventually(t, "it finds "+want, func() bool {
			r := i.send(t, http.MethodPost, "/function/"+name, `["DB"]`)
			return r.status == 200 && string(r.body) == `["`+want+`"]`
		})
	}
	finds(other, "first")
	finds(one, "first")
	one.setSecret(t, "DB", "second")
	finds(other, "second")
	none.send(t, http.MethodPost, "/function/"+name, `["DB"]`).isError(t, 500, "RUNTIME_ERROR", "control")

	third := serve(t, "--database-url", address, "--secrets-key-file", keyFile(t, "b", "a"))
	testrig.Eventually(t, "the secret has the first key", func() bool { return strings.Contains(third.stderr.String(), "sealed secrets with the first key") })
	told := third.must(t, 200, http.MethodGet, auditPath+"?action=secret.reseal", "").describe()
	if !strings.Contains(told, `"total":1,`) || !strings.Contains(told, `"user_id":"envoke"`) || !strings.Contains(told, `"target":"DB"`) {
		t.Errorf("of the new seal it is told %s", told)
	}
	finds(serve(t, "--database-url", address, "--secrets-key-file", keyFile(t, "b")), "second")
}

// TestKeyInTheDataFolder: it is made for the first secret, for its user alone, and found again.
func TestKeyInTheDataFolder(t *testing.T) {
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(i.dataDir)) })
	start := func() {
		t.Helper()
		i.stdout, i.stderr = testrig.Text{}, testrig.Text{}
		if err := i.start(); err != nil {
			t.Fatal(err)
		}
	}
	stop := func() {
		t.Helper()
		i.stop()
		if err := <-i.ended; err != nil {
			t.Error(err)
		}
	}
	path := filepath.Join(i.dataDir, secretsKeyFile)
	start()
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a key before anybody needs one")
	}
	i.setSecret(t, "KEPT", "kept")
	name := i.environ(t, "nodejs", "kept", `{"K":{"secret":"KEPT"}}`)
	if file, err := os.Stat(path); err != nil || file.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", file, err)
	}
	stop()
	start()
	if got := i.finds(t, name, `["K"]`); got != `["kept"]` {
		t.Errorf("it finds %s", got)
	}
	stop()

	// Who loses the key loses the secrets, and sets them again.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	start()
	i.send(t, http.MethodPost, "/function/"+name, `["K"]`).isError(t, 500, "RUNTIME_ERROR", "control")
	if !strings.Contains(i.stderr.String(), "a secret cannot be opened") {
		t.Error("the log does not say so")
	}
	i.setSecret(t, "KEPT", "again")
	if got := i.finds(t, name, `["K"]`); got != `["again"]` {
		t.Errorf("it finds %s", got)
	}
	stop()
}
