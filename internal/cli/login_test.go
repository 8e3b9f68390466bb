package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// guarded answers those who send one of the keys, and keeps what was sent.
func guarded(t *testing.T, seen *[]string, answers map[string]int) *recorded {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		key := r.Header.Get("X-API-Key")
		*seen = append(*seen, key)
		switch answers[key] {
		case http.StatusOK:
			return false
		case http.StatusForbidden:
			fail(w, http.StatusForbidden, "FORBIDDEN", "it may not do that")
		default:
			fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "there is no such API key")
		}
		return true
	})
}

func TestLogin(t *testing.T) {
	var seen []string
	server := guarded(t, &seen, map[string]int{"good": http.StatusOK, "narrow": http.StatusForbidden})
	other := guarded(t, &seen, nil)
	config := t.TempDir()
	file := filepath.Join(config, "envoke", "credentials.json")
	env := map[string]string{"ENVOKE_URL": server.URL, "XDG_CONFIG_HOME": config}
	keyFile := filepath.Join(t.TempDir(), "key")
	write(t, keyFile, "from-file\n")
	for _, step := range []struct {
		name, stdin, args, variable string
		code                        int
		want                        string // in all that is printed
		key                         string // that was sent last
	}{
		{"without a key", "", "list", "", 1, "give an API key by envoke login", ""},
		{"a wrong key", "bad", "login", "", 1, "nothing was stored: there is no such API key", "bad"},
		{"and it is not stored", "", "list", "", 1, "no such API key", ""},
		{"login", " good\n", "login", "", 0, "it is stored in " + file, "good"},
		{"the key is sent", "", "list", "", 0, "nodejs-hello", "good"},
		{"by another spelling", "", "list --address " + strings.Replace(server.URL, "http", "HTTP", 1) + "/", "", 0, "nodejs-hello", "good"},
		{"to nobody else", "", "list --address " + other.URL, "", 1, "no such API key", ""},
		{"the environment's wins", "", "list", "env\n", 1, "no such API key", "env"},
		{"the flag's wins", "", "list --api-key-file " + keyFile, "env", 1, "no such API key", "from-file"},
		{"a key that may not list", "narrow", "login", "", 0, "takes the key", "narrow"},
		{"and it is sent", "", "list", "", 1, "it may not do that (FORBIDDEN", "narrow"},
		{"logout", "", "logout", "", 0, "is forgotten", "narrow"},
		{"again", "", "logout", "", 0, "no key was stored", "narrow"},
		{"no key is left", "", "list", "", 1, "no such API key", ""},
	} {
		env["ENVOKE_API_KEY"] = step.variable
		got := runIn(t, env, step.stdin, strings.Fields(step.args)...)
		text := got.stdout + got.stderr + fmt.Sprint(got.err)
		if ExitCode(got.err) != step.code || !strings.Contains(text, step.want) || seen[len(seen)-1] != step.key {
			t.Errorf("%s: exit code %d and %q, with the key %q; want %d, %q, %q", step.name, ExitCode(got.err), text, seen[len(seen)-1], step.code, step.want, step.key)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("in its folder are %v, %v", left, err)
	}
}

// TestCredentials: what is stored wrongly is said, and not believed.
func TestCredentials(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"for others to read": {`{"addresses":{}}`, 0o644, "others can read"},
		"no JSON":            {`{`, 0o600, "is not what envoke login wrote"},
		"too large":          {strings.Repeat(" ", maxCredentials+1), 0o600, "is larger than"},
		"null":               {`{"addresses":null}`, 0o600, ""},
	} {
		home := t.TempDir()
		file := filepath.Join(home, ".config", "envoke", "credentials.json")
		write(t, file, test.content)
		if err := os.Chmod(file, test.mode); err != nil {
			t.Fatal(err)
		}
		var seen []string
		server := guarded(t, &seen, map[string]int{"": http.StatusOK, "good": http.StatusOK})
		for _, args := range []string{"list", "login"} {
			got := runIn(t, map[string]string{"ENVOKE_URL": server.URL, "HOME": home}, "good", args)
			if (got.err == nil) != (test.want == "") || got.err != nil && !strings.Contains(got.err.Error(), test.want) {
				t.Errorf("%s: %s: %v, want %q", name, args, got.err, test.want)
			}
		}
	}
	var seen []string
	server := guarded(t, &seen, map[string]int{"": http.StatusOK, "good": http.StatusOK})
	for _, env := range []map[string]string{{}, {"XDG_CONFIG_HOME": "relative"}} {
		env["ENVOKE_URL"] = server.URL
		if got := runIn(t, env, "", "list"); got.err != nil {
			t.Errorf("nowhere: %v", got.err)
		}
		if got := runIn(t, env, "good", "login"); got.err == nil || !strings.Contains(got.err.Error(), "there is no place") {
			t.Errorf("login nowhere: %v", got.err)
		}
	}
}

func TestCanonical(t *testing.T) {
	for address, want := range map[string]string{
		"http://127.0.0.1:9000":         "http://127.0.0.1:9000",
		"HTTPS://Envoke.Example:443/":   "https://envoke.example",
		"http://envoke.example:80/a%2F": "http://envoke.example/a%2F",
		"https://envoke.example:80":     "https://envoke.example:80",
	} {
		if got := canonical(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
