package cli

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/faas"
)

func TestDoubt(t *testing.T) {
	const missing = "a.js declares handler, and neither exports nor calls it: is module.exports = handler missing?"
	const silent = "a.py has no handler and assigns no result: its result is null in every call"
	for name, test := range map[string]struct{ path, code, want string }{
		"a function":                 {"a.js", "function handler(event) {\n  return 1\n}", missing},
		"an async function":          {"a.js", "const a = 1\nasync function handler(event) { return a }\n", missing},
		"a constant":                 {"a.js", "const handler = async (event) => 1", missing},
		"a comment about it":         {"a.js", "// The handler.\n/* handler\n * of events\n */\nfunction handler() {}", missing},
		"another name":               {"a.js", "function main() {}", strings.ReplaceAll(missing, "handler", "main")},
		"an export":                  {"a.js", "function handler() {}\nmodule.exports = handler", ""},
		"another export":             {"a.js", "exports.run = () => 1\nfunction handler() {}", ""},
		"an ES module":               {"a.mjs", "export function handler() {}", ""},
		"a call":                     {"a.js", "function handler() {}\nif (params) {\n  return handler()\n}", ""},
		"a method":                   {"a.js", "class A {\n  handler() {}\n}\nreturn new A().handler()", ""},
		"a result of its own":        {"a.js", "function handler() {}\nreturn 1", ""},
		"a fragment":                 {"a.js", "console.log(event)", ""},
		"a handler of a handler":     {"a.js", "const handlers = {}\nreturn handlers[params]", ""},
		"Python":                     {"a.py", "def main(params):\n    return 1", silent},
		"Python that prints":         {"a.py", "print(params)", silent},
		"a Python handler":           {"a.py", "async def handler(event, context):\n    return 1", ""},
		"a Python handle":            {"a.py", "handle = lambda params: 1", ""},
		"a Python result":            {"a.py", "result = 1", ""},
		"a Python result of several": {"a.py", "for result in params: pass", ""},
		"Python that makes code":     {"a.py", "exec(params)", ""},
		"a module":                   {"a.wasm", "\x00asm", ""},
	} {
		t.Run(name, func(t *testing.T) {
			language, _ := languageOf(test.path)
			code := source{path: test.path, name: faas.Name{Language: language, Title: "a"}, content: []byte(test.code)}
			if got := doubt(code); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestDoubtIsNoFault: such code is deployed and served, with a word to who does that.
func TestDoubtIsNoFault(t *testing.T) {
	const code, want = "function handler() { return 1 }", "declares handler"
	server := serve(t, nil)
	path := filepath.Join(t.TempDir(), "a.js")
	write(t, path, code)
	for _, args := range []string{"deploy " + path, "deploy " + path + " --dry-run"} {
		got := run(t, server.URL, "", strings.Fields(args)...)
		if got.err != nil || strings.Count(got.stderr, want) != 1 || strings.Contains(got.stdout, want) {
			t.Errorf("%s: %v\n%s--- standard error\n%s", args, got.err, got.stdout, got.stderr)
		}
	}
	if _, shown := develop(t, server, code); !strings.Contains(shown.String(), want) {
		t.Errorf("dev shows %q", shown)
	}
	if len(server.requests) == 0 || !strings.HasPrefix(server.requests[0], http.MethodPost) {
		t.Errorf("requests %q", server.requests)
	}
}
