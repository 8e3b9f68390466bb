package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"envoke/internal/testrig"
)

// said is what the binary did for one command line.
type said struct {
	stdout, stderr string
	code           int
}

// cli runs the binary as somebody would who has the installation's addresses set.
func (i *installation) cli(t *testing.T, stdin string, args ...string) said {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asMain+"=1", "ENVOKE_URL="+i.base, "ENVOKE_OPERATORS_URL="+i.operators)
	var stdout, stderr bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := c.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return said{stdout.String(), stderr.String(), c.ProcessState.ExitCode()}
}

const greets = `module.exports = async (event) => {
  console.log('greeting', event.params.name);
  if (event.params.name === 'nobody') throw new TypeError('there is nobody');
  return 'Hello, ' + event.params.name;
};
`

// TestCommandLine runs a newcomer's commands against a real installation.
func TestCommandLine(t *testing.T) {
	i := shared(t)
	file := filepath.Join(t.TempDir(), "greets.js")
	writeFile(t, file, greets)
	endless := filepath.Join(t.TempDir(), "endless.js")
	writeFile(t, endless, "for (;;);")
	id := i.initialize(t, "return event.params")
	for _, test := range []struct {
		name, stdin string
		args        []string
		code        int
		stdout      string // a regular expression
		stderr      string // one too
	}{
		{"a function", "", []string{"invoke", "nodejs-calculator", "-d", `{"operation":"add","a":1,"b":2}`}, 0, `^{"operation":"add","a":1,"b":2,"result":3}\n$`, `^$`},
		{"a file", "", []string{"invoke", file, "-d", `{"name":"Envoy"}`}, 0, `^"Hello, Envoy"\n$`, `^$`},
		{"params of standard input", `{"name":"Envoy"}`, []string{"invoke", file, "-d", "-"}, 0, `^"Hello, Envoy"\n$`, `^$`},
		{"the envelope", "", []string{"invoke", file, "-d", `{"name":"Envoy"}`, "-o", "json"}, 0, `(?s)"result": "Hello, Envoy",\n.*"language_title": "nodejs-greets"`, `^$`},
		{"a session", "", []string{"invoke", id, "-d", "12345678901234567890"}, 0, `^12345678901234567000\n$`, `^$`},
		{"a deadline", "", []string{"invoke", endless, "--context", `{"timeout_ms":100}`}, 1, `^$`, `TIMEOUT from function`},
		{"an error of the function", "", []string{"invoke", file, "-d", `{"name":"nobody"}`}, 1, `^$`, `(?s)there is nobody \(RUNTIME_ERROR from function.*greets.js:3:\d+\n +3 \|   if .*\n +\| +\^.*TypeError: there is nobody`},
		{"no such function", "", []string{"invoke", "nodejs-nobody"}, 1, `^$`, `NOT_FOUND from runtime`},
		{"a typing error", "", []string{"invok"}, 2, `^$`, `did you mean .*invoke`},
		{"nobody there", "", []string{"list", "--address", "http://127.0.0.1:1"}, 3, `^$`, "no Envoke answers at http://127.0.0.1:1: start one with `envoke serve`"},
		{"not an Envoke", "", []string{"list", "--address", i.operators}, 3, `^$`, `is no Envoke`},
		{"list", "", []string{"list"}, 0, `(?m)^nodejs-calculator +1 +`, `^$`},
		{"list as JSON", "", []string{"list", "-o", "json"}, 0, `"language_title": "nodejs-calculator"`, `^$`},
		{"a language that is none", "", []string{"list", "--language", "cobol"}, 1, `^$`, `language must be one of`},
		{"describe", "", []string{"describe", "nodejs-calculator"}, 0, `(?s)^Name: +nodejs-calculator\n.*Schema:.*Code:`, `^$`},
		{"describe nothing", "", []string{"describe", "nodejs-nobody"}, 1, `^$`, `NOT_FOUND from control`},
		{"a session shown", "", []string{"sessions", "get", id}, 0, `Status: +active`, `^$`},
		{"sessions", "", []string{"sessions", "list", "--all"}, 0, `(?m)^nodejs-greets +- `, `^$`},
		{"a session deleted", "", []string{"sessions", "delete", id}, 0, `is deleted`, `^$`},
		{"a session gone", "", []string{"invoke", id}, 1, `^$`, `no such session`},
		{"completion", "", []string{"__complete", "describe", "nodejs-c"}, 0, `(?m)^nodejs-calculator\t`, ``},
		{"bash", "", []string{"completion", "bash"}, 0, `bash completion`, `^$`},
		{"a fault of serve's flags", "", []string{"serve", "--prot", "1"}, 2, `^$`, `did you mean --port\?`},
		{"a flag of another part", "", []string{"envoy", "--port", "1"}, 2, `^$`, `unknown flag: --port`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := i.cli(t, test.stdin, test.args...)
			if got.code != test.code {
				t.Errorf("exit code %d, want %d", got.code, test.code)
			}
			if !regexp.MustCompile(test.stdout).MatchString(got.stdout) || !regexp.MustCompile(test.stderr).MatchString(got.stderr) {
				t.Errorf("standard output %q\nstandard error %q", got.stdout, got.stderr)
			}
		})
	}
}

// TestFromDeployToDelete walks a function through its life by the command line.
func TestFromDeployToDelete(t *testing.T) {
	i := shared(t)
	file, name := filepath.Join(t.TempDir(), "life.js"), "nodejs-"+unused("life")
	for _, step := range []struct {
		script string // saved first; empty: none
		args   string
		code   int
		want   string // a regular expression over all that is printed
	}{
		{"return (", "deploy --name nodejs-life " + file, 1, `INITIALIZATION_ERROR(?s:.*)life.js:1:`},
		{"return 'one'", "deploy --name nodejs-life " + file, 0, `^nodejs-life is version 1 now`},
		{"", "invoke nodejs-life", 0, `^"one"\n$`},
		{"return 'two'", "deploy --name nodejs-life " + file, 0, `^nodejs-life is version 2 now`},
		{"", "invoke nodejs-life", 0, `^"two"\n$`},
		{"", "invoke nodejs-life@1", 0, `^"one"\n$`},
		{"", "rollback nodejs-life 1", 0, `^nodejs-life is version 1 now`},
		{"", "invoke nodejs-life", 0, `^"one"\n$`},
		{"", "alias nodejs-life newest 2", 0, `^nodejs-life:newest is version 2 now`},
		{"", "invoke nodejs-life:newest", 0, `^"two"\n$`},
		{"", "versions nodejs-life", 0, `(?m)^ 2 +newest (?s:.*)^\*1 +- `},
		{"", "describe nodejs-life:newest", 0, `Version: +2\n(?s:.*)return 'two'`},
		{"", "alias nodejs-life canary 1 --weight 2=100", 0, `is version 1 now`},
		{"", "describe nodejs-life", 0, `Aliases: +canary=1 \(100 % to 2\), newest=2\n`},
		{"", "invoke nodejs-life:canary", 0, `^"two"\n$`},
		{"", "alias nodejs-life newest --delete", 0, `is deleted`},
		{"", "invoke nodejs-life:newest", 1, `NOT_FOUND`},
		{"", "rollback nodejs-life 9", 1, `NOT_FOUND`},
		{"", "delete nodejs-life", 2, `--yes`},
		{"", "delete nodejs-life --yes", 0, `is deleted`},
		{"", "invoke nodejs-life", 1, `NOT_FOUND`},
	} {
		if step.script != "" {
			writeFile(t, file, step.script)
		}
		step.args, step.want = strings.ReplaceAll(step.args, "nodejs-life", name), strings.ReplaceAll(step.want, "nodejs-life", name)
		got := i.cli(t, "", strings.Fields(step.args)...)
		if text := got.stdout + got.stderr; got.code != step.code || !regexp.MustCompile(step.want).MatchString(text) {
			t.Errorf("envoke %s: exit code %d, want %d and %q:\n%s", step.args, got.code, step.code, step.want, text)
		}
	}
}

// TestLogsShowWhatAFunctionPrinted, of one-shots and of a session's executes.
func TestLogsShowWhatAFunctionPrinted(t *testing.T) {
	i := shared(t)
	file := filepath.Join(t.TempDir(), "printing.js")
	writeFile(t, file, greets)
	i.cli(t, "", "invoke", file, "-d", `{"name":"nobody"}`)
	i.cli(t, "", "invoke", "nodejs-nobody")
	session := i.initialize(t, greets)
	i.execute(t, session, `{"name":"session"}`)
	for args, want := range map[string]string{
		"logs nodejs-printing --limit 1": `(?m)^\S+ \S+  500  oneshot     nodejs-printing  .*\n    ✗ there is nobody \(RUNTIME_ERROR from function\)\n    INFO   greeting nobody\n`,
		"logs nodejs-nobody --limit 1":   `  404  oneshot     nodejs-nobody  .*\n    ✗ no function .* \(NOT_FOUND from runtime\)\n$`,
		"logs --session " + session:      `(?m)^\S+ \S+  200  execute     nodejs-test  .*\n    INFO   greeting session\n`,
	} {
		testrig.Eventually(t, args+" to say "+want, func() bool {
			got := i.cli(t, "", strings.Fields(args)...)
			return regexp.MustCompile(want).MatchString(got.stdout)
		})
	}
}

func TestLogsFollow(t *testing.T) {
	i := shared(t)
	id := i.initialize(t, "console.log('call', event.params)")
	p := startProcess(t, "logs", "--session", id, "--follow", "--operators", i.operators)
	for _, n := range []string{"1", "2", "3"} {
		i.execute(t, id, n)
		testrig.Eventually(t, "call "+n+" to be shown", func() bool { return strings.Contains(p.stdout.String(), "call "+n) })
	}
	if err := p.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	if got := strings.Count(p.stdout.String(), "  INFO "); got != 3 {
		t.Errorf("%d lines, want each once:\n%s", got, p.stdout.String())
	}
}

// TestDev edits a file as a developer would, on an Envoke of dev's own and on a
// running one.
func TestDev(t *testing.T) {
	i := shared(t)
	for name, args := range map[string][]string{"alone": nil, "on a running server": {"--address", i.base}} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CACHE_DIR", cacheDir())
			file := filepath.Join(t.TempDir(), "greets.js")
			writeFile(t, file, "return (")
			p := startProcess(t, append([]string{"dev", file, "--port", "0"}, args...)...)
			base := p.waitFor(t, `answers at (http://\S+) `)
			p.waitFor(t, `(?s)INITIALIZATION_ERROR.*greets.js:1:`)
			if r := get(t, base); r.status != http.StatusServiceUnavailable {
				t.Errorf("before any code has loaded: %d %s", r.status, r.body)
			}
			writeFile(t, file, greets)
			p.waitFor(t, `✓ loaded`)
			if got := string(get(t, base+"/any/path?name=Envoy").body); got != `"Hello, Envoy"` {
				t.Errorf("got %s", got)
			}
			r := get(t, base+"?name=nobody")
			var e errorBody
			if err := json.Unmarshal(r.body, &e); err != nil || r.status != 500 || e.Error.Code != "RUNTIME_ERROR" || e.RequestID == "" {
				t.Errorf("an error of the function: %d %s", r.status, r.body)
			}
			p.waitFor(t, `greets.js:3:\d+\n +3 \|`)
			writeFile(t, file, "oh no, this is no code")
			p.waitFor(t, `greets.js:1:`)
			if got := string(get(t, base+"?name=still").body); got != `"Hello, still"` {
				t.Errorf("the last code that loaded does not go on: %s", got)
			}
			if name == "alone" {
				p.waitFor(t, `info  greeting still`)
			}
			writeFile(t, file, "return {statusCode: 201, headers: {'x-path': context.http.path}, body: context.http.method}")
			p.waitFor(t, `(?s)✓ loaded.*✓ loaded`)
			if r, err := send("PURGE", base+"/any/path", ""); err != nil || r.status != 201 || r.header.Get("X-Path") != "/any/path" || string(r.body) != "PURGE" {
				t.Errorf("a response of the function's own: %v, %d %v %s", err, r.status, r.header, r.body)
			}
			if err := p.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if err := p.Wait(); err != nil {
				t.Errorf("Ctrl-C: %v", err)
			}
			if got := i.cli(t, "", "list", "--all"); strings.Contains(got.stdout, "-dev-") {
				t.Errorf("the function is still there:\n%s", got.stdout)
			}
		})
	}
}

// waitFor waits for a match in what a process prints, and returns its first group.
func (p *process) waitFor(t *testing.T, pattern string) (group string) {
	t.Helper()
	find := regexp.MustCompile(pattern)
	testrig.Eventually(t, pattern, func() bool {
		found := find.FindStringSubmatch(p.stdout.String())
		if len(found) > 1 {
			group = found[1]
		}
		return found != nil
	})
	return group
}

func get(t *testing.T, url string) reply {
	t.Helper()
	r, err := send(http.MethodGet, url, "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}
