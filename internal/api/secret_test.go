package api_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/secrets"
)

const secretsPath = "/api/v1/secrets"

func newSecrets(t *testing.T, store secrets.Store) *secrets.Secrets {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(hex.EncodeToString([]byte(strings.Repeat("k", 32)))), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := secrets.ReadKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	return secrets.New(secrets.Options{Store: store, Sealer: keys, Changed: func(context.Context) {}, Logger: slog.New(slog.DiscardHandler)})
}

func TestSecrets(t *testing.T) {
	r := newRig(t)
	r.wantReply("GET", secretsPath, 200, `{"secrets": []}`)
	r.wantReplyTo("PUT", secretsPath+"/B_1", `{"value": "the value"}`, 204, "")
	r.wantReplyTo("PUT", secretsPath+"/A", `{"value": ""}`, 204, "")
	_, body, _ := r.request("GET", secretsPath)
	list := fmt.Sprint(body)
	if !strings.Contains(list, "B_1") || strings.Index(list, "name:A") > strings.Index(list, "name:B_1") || strings.Contains(list, "value") {
		t.Errorf("listed is %s", list)
	}
	r.wantReply("DELETE", secretsPath+"/A", 204, "")
	r.wantError("DELETE", secretsPath+"/A", faas.NotFound, "no secret of that name")
	for name, content := range map[string]string{
		"value is missing":         `{}`,
		"value must be a string":   `{"value": 1}`,
		"values is not known":      `{"values": "x"}`,
		"has a NUL":                `{"value": "a\u0000"}`,
		"value is longer than 655": `{"value": "` + strings.Repeat("x", faas.MaxSecret+1) + `"}`,
	} {
		r.wantErrorTo("PUT", secretsPath+"/A", content, faas.InvalidRequest, name)
	}
	r.wantReplyTo("PUT", secretsPath+"/LARGE", `{"value": "`+strings.Repeat("\\u0001", faas.MaxSecret)+`"}`, 204, "")
	r.wantErrorTo("PUT", secretsPath+"/A", strings.Repeat(" ", 7*faas.MaxSecret), faas.PayloadTooLarge, "body")
	for _, name := range []string{"a", "1A", "_A", "A-B", "A%2FB", "A%00", strings.Repeat("A", 65)} {
		r.wantErrorTo("PUT", secretsPath+"/"+name, `{"value": "x"}`, faas.InvalidRequest, "capital letters")
		r.wantError("DELETE", secretsPath+"/"+name, faas.InvalidRequest, "capital letters")
	}
	for n := range faas.SecretsPerOwner - 2 {
		r.wantReplyTo("PUT", secretsPath+fmt.Sprint("/S", n), `{"value": "x"}`, 204, "")
	}
	r.wantErrorTo("PUT", secretsPath+"/MORE", `{"value": "x"}`, faas.Conflict, "100 secrets")
}

func TestNoKeyForSecrets(t *testing.T) {
	r := newRig(t)
	r.options.Secrets = secrets.New(secrets.Options{Store: r.store, Changed: func(context.Context) {}})
	r.wantErrorTo("PUT", secretsPath+"/A", `{"value": "x"}`, faas.Unavailable, "SECRETS_KEY_FILE")
	r.wantReply("GET", secretsPath, 200, `{"secrets": []}`)
}

func TestEnvironmentRefuses(t *testing.T) {
	r := newVersionedRig(t)
	many := make([]string, faas.MaxVariables+1)
	for n := range many {
		many[n] = fmt.Sprintf(`"V%d": ""`, n)
	}
	for environment, names := range map[string]string{
		`[]`:                                "environment must be an object",
		`{"A": 1}`:                          "environment.A must be a text",
		`{"A": null}`:                       "environment.A is null: texts are not shown",
		`{"A": {"secret": "S", "x": 1}}`:    "environment.A.x is not known here",
		`{"A": {}}`:                         "environment.A.secret is no name of a secret",
		`{"A": {"secret": "s"}}`:            "environment.A.secret is no name of a secret",
		`{"A": "a\u0000"}`:                  "environment.A has a NUL",
		`{"1A": "x"}`:                       "environment.1A is no name of a variable",
		`{"A-B": "x"}`:                      "environment.A-B is no name",
		`{"": "x"}`:                         "environment. is no name",
		`{"PATH": "x"}`:                     "environment.PATH is not for functions to set",
		`{"LD_PRELOAD": "x"}`:               "environment.LD_PRELOAD is not",
		`{"NODE_OPTIONS": "x"}`:             "environment.NODE_OPTIONS is not",
		`{"PYTHONPATH": "x"}`:               "environment.PYTHONPATH is not",
		`{"RUBYOPT": "x"}`:                  "environment.RUBYOPT is not",
		`{"HOME": "x"}`:                     "environment.HOME is not",
		`{"TMPDIR": "x"}`:                   "environment.TMPDIR is not",
		`{"ENVOKE_CONTEXT": "x"}`:           "environment.ENVOKE_CONTEXT is not",
		`{"https_proxy": "x"}`:              "environment.https_proxy is not",
		`{"__proto__": "x"}`:                "environment.__proto__ is not",
		`{` + strings.Join(many, ",") + `}`: "environment may have 64 entries",
		`{"A": "` + strings.Repeat("x", faas.MaxEnvironment) + `", "B": "x"}`: "environment has more than 32768 bytes",
	} {
		r.wantErrorTo("POST", functions, `{"language": "nodejs", "title": "e", "script_content": "x", "environment": `+environment+`}`, faas.InvalidRequest, names)
		r.wantErrorTo("PUT", functions+"/nodejs-f/aliases/prod", `{"version": 1, "environment": `+environment+`}`, faas.InvalidRequest, names)
	}
	r.wantErrorTo("POST", functions, `{"language": "nodejs", "title": "e", "script_content": "x", "environment": {"A": {"secret": "GONE"}}}`, faas.InitializationError, "the secret GONE")
	r.wantChanged()
}

// TestEnvironmentIsChecked: code is checked with what it will find, and an alias keeps what it
// adds until something else is said.
func TestEnvironmentIsChecked(t *testing.T) {
	r := newVersionedRig(t)
	r.wantReplyTo("PUT", secretsPath+"/S", `{"value": "the value"}`, 204, "")
	var checked map[string]string
	r.options.Check = func(_ context.Context, _ string, _ faas.Function, environment *faas.Resolved) error {
		checked = environment.Values()
		return nil
	}
	r.send("POST", functions, `{"language": "nodejs", "title": "e", "script_content": "x", "environment": {"A": "a", "B": {"secret": "S"}}}`)
	if fmt.Sprint(checked) != "map[A:a B:the value]" {
		t.Errorf("checked with %v", checked)
	}
	alias := functions + "/nodejs-f/aliases/prod"
	for _, step := range [][2]string{
		{`{"version": 1, "environment": {"A": "a", "B": {"secret": "S"}}}`, "map[A:<nil> B:map[secret:S]]"},
		{`{"version": 2}`, "map[A:<nil> B:map[secret:S]]"},
		{`{"version": 2, "environment": {}}`, "map[]"},
	} {
		if status, body, _ := r.send("PUT", alias, step[0]); status != 200 || fmt.Sprint(body.(map[string]any)["environment"]) != step[1] {
			t.Errorf("%s: %d %v", step[0], status, body)
		}
	}
}

// TestNobodysSecrets: where callers are checked, those who are nobody have no secrets, nor the
// ones that nobody in particular had before.
func TestNobodysSecrets(t *testing.T) {
	r := newVersionedRig(t)
	r.wantReplyTo("PUT", secretsPath+"/OLD", `{"value": "x"}`, 204, "")
	r.options.Auth = true
	r.wantError("GET", secretsPath, faas.Forbidden, "say who calls")
	r.wantErrorTo("PUT", secretsPath+"/A", `{"value": "x"}`, faas.Forbidden, "say who calls")
	r.wantError("DELETE", secretsPath+"/OLD", faas.Forbidden, "say who calls")
	r.wantErrorTo("POST", functions, `{"language": "nodejs", "title": "e", "script_content": "x", "environment": {"A": {"secret": "OLD"}}}`, faas.Forbidden, "say who calls")
}
