package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"envoke/internal/testrig"
)

// TestKeysAtTheDoor: a key lets in as long as it is good, and guesses are counted.
func TestKeysAtTheDoor(t *testing.T) {
	d := openDoorWith(t)
	admin := d.caller(t, "admin")
	newKey := func(body string) (id, secret string) {
		t.Helper()
		var made struct{ ID, Secret string }
		if err := json.Unmarshal(d.mustAs(t, admin, 201, "POST /api/v1/keys", body).body, &made); err != nil {
			t.Fatal(err)
		}
		return made.ID, made.Secret
	}
	use := func(secret string) reply {
		t.Helper()
		return d.send(t, http.MethodPost, "/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`, "X-API-Key", secret)
	}
	id, secret := newKey(`{"name":"a","user_id":"ada","scopes":["execute:nodejs"]}`)
	if r := use(secret); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for range 2 { // by either header
		r := d.send(t, http.MethodPost, "/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`, "Authorization", "Bearer "+secret)
		if r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	d.mustAs(t, admin, 204, "DELETE /api/v1/keys/"+id, "")
	use(secret).isError(t, 401, "UNAUTHORIZED", "extproc")
	_, short := newKey(`{"name":"b","user_id":"ada","scopes":["execute:nodejs"],"expires_in_seconds":1}`)
	testrig.Eventually(t, "the key to expire", func() bool { return use(short).status == 401 })
	if r := use(short); !strings.Contains(string(r.body), "expired") {
		t.Errorf("%s", r.body)
	}
	_, python := newKey(`{"name":"c","user_id":"ada","scopes":["execute:all"],"languages":["python"]}`)
	use(python).isError(t, 403, "FORBIDDEN", "envoy")

	_, good := newKey(`{"name":"d","user_id":"ada","scopes":["execute:nodejs"]}`)
	if r := use(good); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	blocked := false
	for n := range 30 {
		r := use(fmt.Sprintf("ek_%012d_%043d", n, n))
		if blocked = r.status == 429; blocked {
			if r.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			break
		}
		r.isError(t, 401, "UNAUTHORIZED", "extproc")
	}
	if !blocked {
		t.Error("guesses are not bounded")
	}
	if r := use(good); r.status != 200 {
		t.Errorf("who has a good key suffers: %d %s", r.status, r.body)
	}
}

// TestCertificatesAtTheDoor: a client's certificate is a caller, what a client says of one is
// none.
func TestCertificatesAtTheDoor(t *testing.T) {
	f := newPublicFiles(t)
	i := serve(t, f.args("--auth", "--tls-client-ca-file", f.ca, "--client-cert-scopes", "execute:nodejs write:functions")...)
	ask := func(client *http.Client, path, body string) reply {
		t.Helper()
		r, err := sendBy(client, http.MethodPost, i.base+path, body, "X-Forwarded-Client-Cert", "URI=root")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ask(f.client(), "/function/nodejs-calculator", `{}`).isError(t, 401, "UNAUTHORIZED", "envoy")
	ada, bob := f.client(f.issued("ada.example")), f.client(f.issued("bob.example"))
	if r := ask(ada, functionsPath, `{"language":"nodejs","title":"who","script_content":"return context.http.headers"}`); r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	const name = "spiffe://envoke/host" // the URI of these certificates
	for _, client := range []*http.Client{ada, bob} {
		r := ask(client, "/function/nodejs-who", `{}`)
		var headers map[string]string
		if err := json.Unmarshal(r.body, &headers); err != nil || headers["x-user-id"] != name || headers["x-forwarded-client-cert"] != "" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	ask(ada, "/function/python-text_processor", `{}`).isError(t, 403, "FORBIDDEN", "envoy")

	other := serve(t, f.args("--auth", "--tls-client-ca-file", f.ca, "--client-cert-namespace", "team-a")...)
	r, err := sendBy(ada, http.MethodPost, other.base+"/function/nodejs-calculator", `{"operation":"add","a":1,"b":2}`)
	if err != nil {
		t.Fatal(err)
	}
	r.isError(t, 404, "NOT_FOUND", "runtime")
}

// TestRotation: an issuer's new keys are taken, and old ones refused, with no request lost.
func TestRotation(t *testing.T) {
	one, two := testrig.NewIssuer(t, "https://issuer.test/", "1"), testrig.NewIssuer(t, "https://issuer.test/", "2")
	dir := t.TempDir()
	keys, file := filepath.Join(dir, "keys.json"), filepath.Join(dir, "issuers.yaml")
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(keys, testrig.KeySet(one))
	write(file, fmt.Sprintf("issuers: [{issuer: %q, audiences: [envoke], jwks_file: %q}]\n", one.URL, keys))
	i := serve(t, "--auth", "--jwt-issuers-file", file, "--rate-execute-per-minute", "0")
	use := func(issuer *testrig.Issuer) int {
		token := issuer.Token(t, map[string]any{"sub": "ada", "aud": "envoke", "scope": "execute:all"})
		r, err := send(http.MethodPost, i.base+"/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`, "Authorization", "Bearer "+token)
		if err != nil {
			t.Error(err)
		}
		return r.status
	}
	if a, b := use(one), use(two); a != 200 || b != 401 {
		t.Fatalf("%d and %d", a, b)
	}
	stop, all := make(chan struct{}), sync.WaitGroup{}
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status := use(one); status != 200 {
					t.Errorf("while keys change: %d", status)
					return
				}
			}
		})
	}
	write(keys, testrig.KeySet(one, two))
	testrig.Eventually(t, "the new key to be taken", func() bool { return use(two) == 200 })
	close(stop)
	all.Wait()
	write(keys, testrig.KeySet(two))
	testrig.Eventually(t, "the old key to be refused", func() bool { return use(one) == 401 })
	if use(two) != 200 {
		t.Error("the new key is refused")
	}
}
