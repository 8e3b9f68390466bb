package cli

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/client"
	"envoke/internal/faas"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDefine(t *testing.T) {
	for name, test := range map[string]struct {
		path, name string
		files      []string
		want       client.Definition
	}{
		"JavaScript": {"hello.js", "", []string{"hello.js", "x"}, client.Definition{Language: faas.NodeJS, Title: "hello", ScriptContent: "x"}},
		"a module":   {"hello.mjs", "", []string{"hello.mjs", "x"}, client.Definition{Language: faas.NodeJS, Title: "hello", ScriptContent: "x"}},
		"CommonJS":   {"hello.cjs", "", []string{"hello.cjs", "x"}, client.Definition{Language: faas.NodeJS, Title: "hello", ScriptContent: "x"}},
		"Python":     {"hello.py", "", []string{"hello.py", "x"}, client.Definition{Language: faas.Python, Title: "hello", ScriptContent: "x"}},
		"Rust":       {"hello.rs", "", []string{"hello.rs", "x"}, client.Definition{Language: faas.Rust, Title: "hello", ScriptContent: "x"}},
		"Ruby":       {"hello.rb", "", []string{"hello.rb", "x"}, client.Definition{Language: faas.Ruby, Title: "hello", ScriptContent: "x"}},
		"wasm": {"hello.wasm", "", []string{"hello.wasm", "\x00asm"}, client.Definition{
			Language: faas.Rust, Title: "hello", ScriptContent: "AGFzbQ==", CompileOptions: []byte(`{"target":"wasm32-wasip1"}`),
		}},
		"odd characters":      {"my function.v2.js", "", []string{"my function.v2.js", "x"}, client.Definition{Language: faas.NodeJS, Title: "my-function-v2", ScriptContent: "x"}},
		"a title given":       {"hello.js", "other", []string{"hello.js", "x"}, client.Definition{Language: faas.NodeJS, Title: "other", ScriptContent: "x"}},
		"a whole name given":  {"hello.js", "nodejs-other", []string{"hello.js", "x"}, client.Definition{Language: faas.NodeJS, Title: "other", ScriptContent: "x"}},
		"a folder":            {"greet", "", []string{"greet/index.js", "x", "greet/README.md", ""}, client.Definition{Language: faas.NodeJS, Title: "greet", ScriptContent: "x"}},
		"a folder and a name": {"greet", "nodejs-b", []string{"greet/index.js", "x", "greet/function.yaml", "name: a"}, client.Definition{Language: faas.NodeJS, Title: "b", ScriptContent: "x"}},
		"a folder's file":     {"greet", "", []string{"greet/a.js", "x", "greet/b.js", "y", "greet/function.yaml", "handler: b.js"}, client.Definition{Language: faas.NodeJS, Title: "greet", ScriptContent: "y"}},
		"an inline schema":    {"greet", "", []string{"greet/a.js", "x", "greet/function.yaml", "schema: {type: object}"}, client.Definition{Language: faas.NodeJS, Title: "greet", ScriptContent: "x", Schema: []byte(`{"type":"object"}`)}},
		"examples in YAML":    {"greet", "", []string{"greet/a.js", "x", "greet/e.yaml", "- {a: 1}", "greet/function.yaml", "examples: e.yaml"}, client.Definition{Language: faas.NodeJS, Title: "greet", ScriptContent: "x", Examples: []byte(`[{"a":1}]`)}},
		"requirements": {"greet", "", []string{"greet/a.py", "x", "greet/requirements.txt", "left==1.0"}, client.Definition{
			Language: faas.Python, Title: "greet", ScriptContent: "x", Dependencies: map[string]string{"requirements.txt": "left==1.0"},
		}},
		"a lock": {"greet", "", []string{"greet/a.js", "x", "greet/package.json", "{}", "greet/package-lock.json", "{ }"}, client.Definition{
			Language: faas.NodeJS, Title: "greet", ScriptContent: "x", Dependencies: map[string]string{"package.json": "{}", "package-lock.json": "{ }"},
		}},
		"no lock": {"greet", "", []string{"greet/a.js", "x", "greet/package.json", "{}", "greet/function.yaml", "network: egress"}, client.Definition{
			Language: faas.NodeJS, Title: "greet", ScriptContent: "x", Network: "egress",
		}},
		"a folder that is here": {".", "", []string{"a.js", "x", "function.yaml", "name: here"}, client.Definition{Language: faas.NodeJS, Title: "here", ScriptContent: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for i := 0; i < len(test.files); i += 2 {
				write(t, test.files[i], test.files[i+1])
			}
			got, _, err := define(test.path, test.name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestExplain: an error of a local file's code shows the line.
func TestExplain(t *testing.T) {
	code := source{path: "a.js", content: []byte("one\n\tlet é = x.y;\r\nthree")}
	for name, test := range map[string]struct {
		details map[string]any
		code    *source
		want    string // below the first line
	}{
		"a place": {map[string]any{"line": 2.0, "column": 12.0, "stack_trace": "TypeError: oh\n    at f (a.js:2:12)\n"}, &code, `

  a.js:2:12
    2 |     let é = x.y;
      |               ^

  TypeError: oh
      at f (a.js:2:12)`},
		"code that is not here": {map[string]any{"line": 2.0, "column": 3.0}, nil, "\n\n  line 2, column 3"},
		"no such line":          {map[string]any{"line": 9.0, "column": 3.0}, &code, "\n\n  a.js:9:3"},
		"no such column":        {map[string]any{"line": 1.0, "column": 99.0}, &code, "\n\n  a.js:1:99\n    1 | one"},
		"a negative line":       {map[string]any{"line": -1.0, "stack_trace": "s"}, &code, "\n\n  s"},
		"a stack that steers":   {map[string]any{"stack_trace": "a\x1b[2J"}, nil, "\n\n  a [2J"},
		"no place":              {map[string]any{"component": "x"}, &code, ""},
	} {
		t.Run(name, func(t *testing.T) {
			reply := &client.ReplyError{Code: faas.RuntimeError, Message: "oh", Details: test.details, RequestID: "rid"}
			got := explain(reply, test.code)
			if diff := cmp.Diff(reply.Error()+test.want, got.Error()); diff != "" {
				t.Error(diff)
			}
			var found *client.ReplyError
			if !errors.As(got, &found) {
				t.Error("the server's error is lost")
			}
		})
	}
	if other := errors.New("other"); !errors.Is(explain(other, &code), other) {
		t.Error("another error is changed")
	}
}

func TestParams(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.json")
	write(t, file, " {\"a\": 12345678901234567890}\n")
	for name, test := range map[string]struct{ value, stdin, want string }{
		"none":           {"", "", ""},
		"JSON":           {`{"a":1}`, "", `{"a":1}`},
		"a text":         {`"a"`, "", `"a"`},
		"a file":         {"@" + file, "", `{"a": 12345678901234567890}`},
		"standard input": {"-", "[1]\n", "[1]"},
	} {
		got, err := readJSON("--data", test.value, strings.NewReader(test.stdin))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestInvokeOfAResponse: what only plain HTTP maps is shown as it is, with a word that
// says so, and none to programs.
func TestInvokeOfAResponse(t *testing.T) {
	for result, want := range map[string]bool{
		`{"statusCode":201,"body":"x"}`: true, `{"statusCode":"201"}`: false, `{"statusCode":7}`: false, `{"a":1}`: false, `201`: false,
	} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprintf(w, `{"result":%s}`, result)
			return true
		})
		got := run(t, server.URL, "", "invoke", "nodejs-hello")
		if hinted := strings.Contains(got.stderr, "looks like an HTTP response"); got.err != nil || got.stdout != result+"\n" || hinted != want {
			t.Errorf("%s: %v, %q, %q", result, got.err, got.stdout, got.stderr)
		}
		if got := run(t, server.URL, "", "invoke", "nodejs-hello", "-o", "json"); got.stderr != "" {
			t.Errorf("%s: programs get %q", result, got.stderr)
		}
	}
}

// FuzzFunctionYAML: any description is taken or refused, and what is taken has a
// name that a server takes.
func FuzzFunctionYAML(f *testing.F) {
	f.Add("name: hello\nschema: {a: &a [*a]}")
	f.Add("examples: ../../etc/passwd\nhandler: ..")
	f.Add("name: [1]\ntags: x")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, descriptionFile), text)
		write(t, filepath.Join(dir, "a.js"), "1")
		got, _, err := define(dir, "")
		if err != nil {
			return
		}
		if _, err := faas.ParseName(got.Name().String()); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
