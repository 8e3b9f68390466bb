package cli

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestFaults: each says what to do, and ends with the exit code that the help
// promises.
func TestFaults(t *testing.T) {
	server := serve(t, nil)
	web := serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Del("X-Request-ID")
		return true
	})
	const nobody = "http://127.0.0.1:1"
	for _, test := range []struct {
		name, base, args string
		code             int
		want             string // in the error
	}{
		{"a command misspelt", "", "depoly x", exitUsage, "did you mean deploy?"},
		{"a command of sessions misspelt", "", "sessions lst", exitUsage, "did you mean get or list?"},
		{"a flag misspelt", "", "invoke x --dta 1", exitUsage, "did you mean --data?"},
		{"a flag like no other", "", "invoke x --colour", exitUsage, "unknown flag: --colour; see envoke invoke --help"},
		{"no argument", "", "invoke", exitUsage, "takes <name|file|session>"},
		{"too many arguments", "", "list x", exitUsage, "takes no arguments"},
		{"too many names", "", "logs a b", exitUsage, "takes [name]"},
		{"no format", "", "list -o xml", exitUsage, "must be table or json"},
		{"no address", "", "list --address localhost", exitUsage, "is no address"},
		{"no version", "", "rollback nodejs-hello first", exitUsage, "is no version"},
		{"version 0", "", "alias nodejs-hello prod 0", exitUsage, "is no version"},
		{"both pages", "", "list --page 2 --all", exitUsage, "--page and --all"},
		{"nobody to ask", "", "delete nodejs-hello", exitUsage, "--yes"},
		{"no such file", "", "invoke ./none.js", exitUsage, "there is no file ./none.js"},
		{"neither file nor name", "", "invoke hello", exitUsage, "is no file, no session and no name"},
		{"a key of no name", "", "keys create --user a --scope admin", exitUsage, "\"name\" not set"},
		{"a key for half a second", "", "keys create --name a --user a --scope admin --expires-in 500ms", exitUsage, "whole seconds"},
		{"a key that is none", "", "keys revoke ek_4fK2mQ9xZt0B_x", exitUsage, "that is no id of an API key"},
		{"both pages of keys", "", "keys list --page 2 --all", exitUsage, "--page and --all"},
		{"both pages of changes", "", "audit --page 2 --all", exitUsage, "--page and --all"},
		{"changes since no time", "", "audit --since yesterday", exitUsage, "--since must be a time"},
		{"changes until a time to come", "", "audit --until -1h", exitUsage, "--until must be a time"},
		{"no file of routes", "", "config validate", exitUsage, "takes <file>..."},
		{"a missing file of routes", "", "config validate none.yaml", exitUsage, "none.yaml: no such file"},
		{"a folder of routes", "", "config apply testdata", exitUsage, "one file is sent"},
		{"no version of routes", "", "config rollback x", exitUsage, "is no version"},
		{"a command of routes misspelt", "", "config aply x", exitUsage, "did you mean apply?"},
		{"no file of a key", "", "list --api-key-file none", exitUsage, "--api-key-file: open none"},
		{"a file without a key", "", "list --api-key-file " + filepath.Join(folder(t, "key", " \n"), "key"), exitUsage, "there is no API key in"},
		{"a file of more than a key", "", "list --api-key-file testdata/functions.json", exitUsage, "is no API key"},
		{"login without a key", "", "login", exitUsage, "no API key in standard input"},
		{"login with a key to see", "", "login ek_x", exitUsage, "takes no arguments"},
		{"a file of no language", "", "invoke testdata/alias.json", exitUsage, "tells no language"},
		{"params of no JSON", "", "invoke nodejs-hello -d {x", exitUsage, "--data is no JSON"},
		{"params from a missing file", "", "invoke nodejs-hello -d @none.json", exitUsage, "there is no file none.json"},
		{"empty standard input", "", "invoke nodejs-hello -d -", exitUsage, "--data is no JSON"},
		{"two of standard input", "", "invoke nodejs-hello -d - --context -", exitUsage, "cannot both"},
		{"a context for a session", "", "invoke " + anID + " --context {}", exitUsage, "leave --context out"},
		{"a header without a colon", "", "invoke nodejs-hello -H x", exitUsage, "'Name: value'"},
		{"deploy of nothing", "", "deploy none", exitUsage, "there is no file or folder none"},
		{"deploy of many", "", "deploy " + folder(t, "a.js", "", "b.py", ""), exitUsage, "several files of code (a.js, b.py)"},
		{"deploy of no code", "", "deploy " + folder(t, "README", ""), exitUsage, "no file of code"},
		{"deploy of an unknown key", "", "deploy " + folder(t, "function.yaml", "colour: x"), exitUsage, "colour"},
		{"deploy of another language", "", "deploy " + folder(t, "function.yaml", "{language: python, handler: a.js}", "a.js", ""), exitUsage, "a.js is nodejs"},
		{"deploy with a bad name", "", "deploy testdata/hello.js --name a/b", exitUsage, `the name "a/b"`},
		{"deploy with another language's name", "", "deploy testdata/hello.js --name python-x", exitUsage, "python"},
		{"no schema", "", "deploy " + folder(t, "function.yaml", "schema: none.json", "a.js", ""), exitUsage, "none.json"},
		{"nobody there", nobody, "list", exitUnreachable, "start one with `envoke serve`"},
		{"no operators there", nobody, "logs", exitUnreachable, "--operators"},
		{"a web server there", web.URL, "list", exitUnreachable, "is no Envoke"},
		{"a web server for operators", web.URL, "logs", exitUnreachable, "has no logs"},
		{"dev of no file", "", "dev none.js", exitUsage, "there is no file none.js"},
		{"an error of the server", server.URL, "describe nodejs-nobody", exitFailed, "no such path (NOT_FOUND from control, request id rid)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, first(test.base, nobody), "", strings.Fields(test.args)...)
			if got.err == nil {
				t.Fatal("no fault was found")
			}
			if code := ExitCode(got.err); code != test.code || !strings.Contains(got.err.Error(), test.want) {
				t.Errorf("exit code %d, %v; want %d and %q", code, got.err, test.code, test.want)
			}
			if got.stdout != "" {
				t.Errorf("it printed %q", got.stdout)
			}
		})
	}
	if ExitCode(nil) != 0 {
		t.Error("success is no 0")
	}
}

// folder makes a folder of files, given as pairs of name and content.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "folder")
	for i := 0; i < len(files); i += 2 {
		write(t, filepath.Join(dir, files[i]), files[i+1])
	}
	return dir
}
