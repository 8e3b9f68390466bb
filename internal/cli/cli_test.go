package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	time.Local = time.UTC // tables show local times
	goleak.VerifyTestMain(m)
}

// result is what a command did.
type result struct {
	stdout, stderr string
	err            error
}

// run runs the command line against a server's URL, which may be empty.
func run(t *testing.T, base, stdin string, args ...string) result {
	t.Helper()
	return runIn(t, map[string]string{"ENVOKE_URL": base, "ENVOKE_OPERATORS_URL": base}, stdin, args...)
}

// runIn runs the command line in an environment.
func runIn(t *testing.T, env map[string]string, stdin string, args ...string) result {
	t.Helper()
	root := &cobra.Command{Use: "envoke", SilenceUsage: true, SilenceErrors: true}
	root.AddGroup(&cobra.Group{ID: GroupID, Title: "Functions:"})
	root.AddCommand(Commands(Options{
		Getenv: func(name string) string { return env[name] },
		Start:  func(context.Context, Local) error { return errors.New("no Envoke starts in this test") },
	})...)
	Adopt(root)
	var stdout, stderr bytes.Buffer
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	err := root.ExecuteContext(t.Context())
	return result{stdout.String(), stderr.String(), err}
}

// recorded answers with what testdata has for a request, and records the requests.
type recorded struct {
	*httptest.Server
	requests []string
}

// contract has the answers of the wire contract: by method and path, the status and
// the file of testdata with the body.
var contract = map[string]struct {
	status int
	file   string
}{
	"GET /api/v1/functions":                              {200, "functions.json"},
	"GET /api/v1/functions/nodejs-hello":                 {200, "function.json"},
	"GET /api/v1/functions/nodejs-hello@2":               {200, "function.json"},
	"POST /api/v1/functions":                             {201, "function.json"},
	"PUT /api/v1/functions/nodejs-hello":                 {200, "function.json"},
	"DELETE /api/v1/functions/nodejs-hello":              {204, ""},
	"GET /api/v1/functions/nodejs-hello/versions":        {200, "versions.json"},
	"POST /api/v1/functions/nodejs-hello/rollback":       {200, "function.json"},
	"GET /api/v1/functions/nodejs-hello/aliases":         {200, "aliases.json"},
	"PUT /api/v1/functions/nodejs-hello/aliases/prod":    {200, "alias.json"},
	"DELETE /api/v1/functions/nodejs-hello/aliases/prod": {204, ""},
	"GET /api/v1/sessions/1":                             {200, "session.json"},
	"DELETE /api/v1/sessions/1":                          {204, ""},
	"POST /api/v1/execute":                               {200, "result.json"},
	"POST /api/v1/execute/" + anID:                       {200, "result.json"},
	"POST /api/v1/keys":                                  {201, "key.json"},
	"GET /api/v1/keys":                                   {200, "keys.json"},
	"DELETE /api/v1/keys/4fK2mQ9xZt0B":                   {204, ""},
	"GET /api/v1/audit":                                  {200, "audit.json"},
	"GET /api/v1/config":                                 {200, "config.json"},
	"PUT /api/v1/config":                                 {200, "configput.json"},
	"GET /api/v1/config/versions":                        {200, "configversions.json"},
	"GET /api/v1/config/versions/3":                      {200, "configversion.json"},
	"POST /api/v1/config/rollback":                       {200, "configput.json"},
	"GET /api/v1/secrets":                                {200, "secrets.json"},
	"PUT /api/v1/secrets/DB_URL":                         {204, ""},
	"DELETE /api/v1/secrets/DB_URL":                      {204, ""},
	"GET /logs":                                          {200, "logs.ndjson"},
}

const anID = "08a622d2-08c0-811c-bf5b-f659c0a6da9f"

// serve answers by the contract, but for the requests that other answers itself.
func serve(t *testing.T, other func(http.ResponseWriter, *http.Request) bool) *recorded {
	t.Helper()
	s := &recorded{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.requests = append(s.requests, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, body)))
		w.Header().Set("X-Request-ID", "rid")
		if other != nil && other(w, r) {
			return
		}
		known, ok := contract[r.Method+" "+r.URL.Path]
		if !ok {
			fail(w, http.StatusNotFound, "NOT_FOUND", "no such path")
			return
		}
		if known.file == "" {
			w.WriteHeader(known.status)
			return
		}
		if strings.HasSuffix(known.file, ".ndjson") {
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		raw, err := os.ReadFile(filepath.Join("testdata", known.file))
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(known.status)
		_, _ = w.Write(raw)
	}))
	t.Cleanup(s.Close)
	return s
}

func fail(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"code":%q,"message":%q,"details":{"component":"control"}},"request_id":"rid"}`, code, message)
}

// TestGolden: what each command prints.
func TestGolden(t *testing.T) {
	for name, args := range map[string]string{
		"list":               "list",
		"list-json":          "list -o json",
		"describe":           "describe nodejs-hello",
		"describe-json":      "describe nodejs-hello@2 -o json",
		"versions":           "versions nodejs-hello",
		"versions-json":      "versions nodejs-hello -o json",
		"rollback":           "rollback nodejs-hello 2",
		"alias":              "alias nodejs-hello prod 2 --weight 3=10",
		"alias-delete":       "alias nodejs-hello prod --delete",
		"delete":             "delete nodejs-hello --yes",
		"sessions-get":       "sessions get 1",
		"sessions-delete":    "sessions delete 1",
		"sessions-list":      "sessions list",
		"invoke":             "invoke nodejs-hello",
		"invoke-json":        "invoke nodejs-hello -o json",
		"invoke-session":     "invoke " + anID,
		"invoke-file":        "invoke testdata/hello.js -d {\"name\":\"x\"}",
		"deploy":             "deploy testdata/hello.js",
		"deploy-json":        "deploy testdata/hello.js -o json",
		"deploy-dry-run":     "deploy testdata/folder --dry-run",
		"keys-create":        "keys create --name shop --user ada --scope execute:all,read:functions --language nodejs --expires-in 1h",
		"keys-create-json":   "keys create --name shop --user ada --scope admin -o json",
		"keys-list":          "keys list --user ada",
		"keys-list-json":     "keys list --page 2 -o json",
		"keys-revoke":        "keys revoke 4fK2mQ9xZt0B",
		"keys-revoke-secret": "keys revoke ek_4fK2mQ9xZt0B_" + strings.Repeat("s", 43),
		"keys-namespace":     "keys list --namespace team-a --user ada",
		"list-namespace":     "list --namespace team-a",
		"delete-namespace":   "delete nodejs-hello --yes --namespace team-a",
		"audit":              "audit --user ada --action key.create --target 4fK2mQ9xZt0B --since 2025-03-01T00:00:00Z --until 2026-03-01T01:00:00+01:00",
		"audit-json":         "audit --page 2 -o json",
		"config-diff":        "config diff testdata/routes.yaml",
		"config-diff-json":   "config diff testdata/routes.yaml -o json",
		"config-apply":       "config apply testdata/routes.yaml",
		"config-apply-dry":   "config apply testdata/routes.yaml --dry-run",
		"config-get":         "config get",
		"config-get-json":    "config get -o json",
		"config-get-version": "config get --version 3",
		"config-versions":    "config versions",
		"config-rollback":    "config rollback 4",
		"config-validate":    "config validate testdata/routes.yaml",
		"logs":               "logs nodejs-hello",
		"logs-json":          "logs --status 500 --limit 2 -o json",
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, nil)
			got := run(t, server.URL, "", strings.Fields(args)...)
			if got.err != nil {
				t.Fatal(got.err)
			}
			text := fmt.Sprintf("$ envoke %s\n%s", args, got.stdout)
			if got.stderr != "" {
				text += "--- standard error\n" + got.stderr
			}
			text += "--- requests\n" + strings.Join(server.requests, "\n") + "\n"
			golden(t, name, strings.ReplaceAll(text, server.URL, "http://127.0.0.1:9000"))
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// TestDeployOfATakenName makes a new version.
func TestDeployOfATakenName(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			fail(w, http.StatusConflict, "CONFLICT", "the name is taken")
		}
		return r.Method == http.MethodPost
	})
	got := run(t, server.URL, "", "deploy", "testdata/hello.js")
	if got.err != nil || !strings.Contains(got.stdout, "nodejs-hello is version 3 now") {
		t.Fatalf("%v\n%s", got.err, got.stdout)
	}
	if len(server.requests) != 2 || !strings.HasPrefix(server.requests[1], "PUT /api/v1/functions/nodejs-hello {") {
		t.Errorf("requests %q", server.requests)
	}
}

func TestListOfAllPages(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		page := r.URL.Query().Get("page")
		fmt.Fprintf(w, `{"functions":[{"language_title":"nodejs-%s"}],"total":3,"page":%s,"per_page":100}`, page, page)
		return true
	})
	got := run(t, server.URL, "", "list", "--all")
	if got.err != nil || strings.Count(got.stdout, "nodejs-") != 3 || got.stderr != "" {
		t.Errorf("%v\n%s%s", got.err, got.stdout, got.stderr)
	}
	got = run(t, server.URL, "", "list", "--page", "2")
	if !strings.Contains(got.stderr, "page 2: 1 of 3") {
		t.Errorf("one page says %q", got.stderr)
	}
}

// TestOthersTextDoesNotSteerTheTerminal: descriptions are not ours.
func TestOthersTextDoesNotSteerTheTerminal(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, `{"functions":[{"language_title":"nodejs-a","description":"\u001b[2J\r\u009b1m","tags":["\u0007"]}],"total":1}`)
		return true
	})
	got := run(t, server.URL, "", "list")
	if got.err != nil || strings.ContainsAny(got.stdout, "\x1b\r\a\u009b") {
		t.Errorf("%v %q", got.err, got.stdout)
	}
}

func TestCompletionOfNames(t *testing.T) {
	server := serve(t, nil)
	got := run(t, server.URL, "", "__complete", "describe", "nodejs-")
	if !strings.Contains(got.stdout, "nodejs-hello\tGreets") {
		t.Errorf("%v\n%s", got.err, got.stdout)
	}
	got = run(t, "http://127.0.0.1:1", "", "__complete", "describe", "")
	if got.err != nil || !strings.HasPrefix(got.stdout, ":") {
		t.Errorf("without a server: %v\n%s", got.err, got.stdout)
	}
}

func TestANameThatResembles(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/api/v1/functions/nodejs-helo" && r.URL.Path != "/api/v1/functions/nodejs-other" {
			return false
		}
		fail(w, http.StatusNotFound, "NOT_FOUND", "no function is registered as that")
		return true
	})
	for name, want := range map[string]string{
		"nodejs-helo":   "no function is registered as that (NOT_FOUND from control, request id rid); did you mean nodejs-hello?",
		"nodejs-helo@2": "no such path (NOT_FOUND from control, request id rid); did you mean nodejs-hello?",
		"nodejs-other":  "no function is registered as that (NOT_FOUND from control, request id rid)",
	} {
		if got := run(t, s.URL, "", "describe", name); got.err == nil || got.err.Error() != want {
			t.Errorf("%s: %v, want %s", name, got.err, want)
		}
	}
}
