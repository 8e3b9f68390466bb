package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envoke/internal/testrig"
)

const secretsPath = "/api/v1/secrets"

// environs are functions of each language that give back what they find under names.
var environs = map[string]string{
	"nodejs": `module.exports = ({params}) => params.map((name) => process.env[name] ?? null)`,
	"python": "import os\nresult = [os.environ.get(name) for name in params]",
	"ruby":   `params.map { |name| ENV[name] }`,
	"rust":   `fn handler(params: Vec<String>) -> Vec<Option<String>> { params.iter().map(|name| std::env::var(name).ok()).collect() }`,
}

// environ registers such a function with an environment.
func (i *installation) environ(t *testing.T, language, title, environment string) (name string) {
	t.Helper()
	return i.environAs(t, language, title, environment, 201)
}

func (i *installation) environAs(t *testing.T, language, title, environment string, status int, headers ...string) (name string) {
	t.Helper()
	body, _ := json.Marshal(map[string]any{
		"language": language, "title": title, "script_content": environs[language], "environment": json.RawMessage(environment),
	})
	method, path := http.MethodPost, functionsPath
	if status == 200 {
		method, path = http.MethodPut, functionsPath+"/"+language+"-"+title
	}
	i.must(t, status, method, path, string(body), headers...)
	return language + "-" + title
}

// finds is what a function finds under names, by a call without a session.
func (i *installation) finds(t *testing.T, ref, names string, headers ...string) string {
	t.Helper()
	return string(i.must(t, 200, http.MethodPost, "/function/"+ref, names, headers...).body)
}

func (i *installation) setSecret(t *testing.T, name, value string, headers ...string) {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"value": value})
	i.must(t, 204, http.MethodPut, secretsPath+"/"+name, string(body), headers...)
}

// languageArgs are what a language needs to be served; the test is skipped where it cannot be.
func languageArgs(t *testing.T, language string) []string {
	t.Helper()
	switch language {
	case "ruby":
		return []string{"--ruby", testrig.Ruby(t)}
	case "rust":
		return []string{"--rustc", testrig.Rustc(t)}
	}
	return nil
}

// TestEnvironment: what a function is registered with is in its worker's environment, in each
// language, of its version and alias, and a changed secret within a second.
func TestEnvironment(t *testing.T) {
	for _, language := range []string{"nodejs", "python", "ruby", "rust"} {
		t.Run(language, func(t *testing.T) {
			i := serve(t, languageArgs(t, language)...)
			i.setSecret(t, "DB_URL", "one")
			name := i.environ(t, language, "environ", `{"MODE":"tést","DB":{"secret":"DB_URL"}}`)
			path, names := functionsPath+"/"+name, `["MODE","DB","MORE"]`
			wants := func(ref, want string) {
				t.Helper()
				if got := i.finds(t, ref, names); got != want {
					t.Errorf("%s finds %s, want %s", ref, got, want)
				}
			}
			wants(name, `["tést","one",null]`)
			session := i.open(t, name)
			runs := func(want string) {
				t.Helper()
				if got := i.execute(t, session, names).result(t); got != want {
					t.Errorf("the session finds %s, want %s", got, want)
				}
			}
			runs(`["tést","one",null]`)

			// Another version and an alias are no neighbours in a worker.
			i.environAs(t, language, "environ", `{"MODE":"second"}`, 200)
			wants(name, `["second",null,null]`)
			wants(name+"@1", `["tést","one",null]`)
			i.must(t, 200, http.MethodPut, path+"/aliases/prod", `{"version":1,"environment":{"MODE":"prod","MORE":{"secret":"DB_URL"}}}`)
			wants(name+":prod", `["prod","one","one"]`)
			wants(name+"@1", `["tést","one",null]`)
			i.must(t, 200, http.MethodPut, path+"/aliases/prod", `{"version":1,"weights":{"2":100}}`)
			wants(name+":prod", `["prod",null,"one"]`)

			// When the change is answered, hosts have heard of it.
			i.setSecret(t, "DB_URL", "two")
			wants(name+"@1", `["tést","two",null]`)
			wants(name+":prod", `["prod",null,"two"]`)
			runs(`["tést","two",null]`)
			wants(name, `["second",null,null]`)
		})
	}
}

// TestMissingSecret: a function whose secret is not there is not registered, and fails as long
// as it is gone.
func TestMissingSecret(t *testing.T) {
	i := shared(t)
	body := `{"language":"nodejs","title":"missing","script_content":"return process.env.A","environment":{"A":{"secret":"MISSING"}}}`
	e := i.send(t, http.MethodPost, functionsPath, body).isError(t, 422, "INITIALIZATION_ERROR", "control")
	if e.Error.Details["secret"] != "MISSING" || !strings.Contains(e.Error.Message, "MISSING") {
		t.Errorf("%+v", e)
	}
	i.setSecret(t, "MISSING", "x")
	i.must(t, 201, http.MethodPost, functionsPath, body)
	defer i.must(t, 204, http.MethodDelete, functionsPath+"/nodejs-missing", "")
	session := i.open(t, "nodejs-missing")
	i.must(t, 204, http.MethodDelete, secretsPath+"/MISSING", "")
	for _, way := range []struct{ path, body, title string }{
		{"/function/nodejs-missing", `{}`, ""},
		{"/runtime/nodejs/missing", `{}`, ""},
		{"/api/v1/execute/" + session, `{}`, ""},
		{"/api/v1/execute", `{"params":1}`, "nodejs-missing"},
		{"/api/v1/initialize", `{}`, "nodejs-missing"},
	} {
		if e := i.send(t, http.MethodPost, way.path, way.body, "Language-Title", way.title).isError(t, 500, "RUNTIME_ERROR", "control"); e.Error.Details["secret"] != "MISSING" {
			t.Errorf("%s: %+v", way.path, e)
		}
	}
	i.setSecret(t, "MISSING", "back")
	defer i.must(t, 204, http.MethodDelete, secretsPath+"/MISSING", "")
	if got := i.execute(t, session, "null").result(t); got != `"back"` {
		t.Errorf("the session says %s", got)
	}
}

// TestSecretsOfOwners: a function has its owner's secrets, whoever calls or changes it.
func TestSecretsOfOwners(t *testing.T) {
	d := openDoorWith(t)
	carol, dave, admin := d.caller(t, "carol"), d.caller(t, "dave"), d.caller(t, "admin")
	d.setSecret(t, "TOKEN", "carol's", carol...)
	d.setSecret(t, "TOKEN", "dave's", dave...)
	const environment = `{"T":{"secret":"TOKEN"}}`
	caller := d.as(t, "ada", "execute:nodejs")
	for _, of := range []struct {
		title string
		owner []string
	}{{"carols", carol}, {"daves", dave}} {
		d.environAs(t, "nodejs", of.title, environment, 201, of.owner...)
		want := `["` + of.title[:len(of.title)-1] + `'s"]`
		for range 2 {
			if got := d.finds(t, "nodejs-"+of.title, `["T"]`, caller...); got != want {
				t.Errorf("%s finds %s", of.title, got)
			}
			d.environAs(t, "nodejs", of.title, environment, 200, admin...)
		}
	}
	d.must(t, 204, http.MethodDelete, secretsPath+"/TOKEN", "", carol...)
	d.must(t, 404, http.MethodDelete, secretsPath+"/TOKEN", "", carol...)
	if got := d.finds(t, "nodejs-daves", `["T"]`, caller...); got != `["dave's"]` {
		t.Errorf("the other's secret is gone: %s", got)
	}
	d.must(t, 500, http.MethodPost, "/function/nodejs-carols", `["T"]`, caller...)
	if list := d.must(t, 200, http.MethodGet, secretsPath, "", admin...); !bytes.Contains(list.body, []byte(`{"secrets":[]}`)) {
		t.Errorf("an administrator sees %s", list.body)
	}
}

// TestSecretsStaySecret looks for a value everywhere but in its worker.
func TestSecretsStaySecret(t *testing.T) {
	const canary, text = "canary-7f3a91", "textcanary-55e2"
	i := serve(t, "--log-payloads")
	i.setSecret(t, "CANARY", canary)
	environment := `{"C":{"secret":"CANARY"},"T":"` + text + `"}`
	var shown bytes.Buffer
	say := func(r reply) { _, _ = fmt.Fprintf(&shown, "%v %s\n", r.header, r.body) }
	for _, code := range []struct{ title, script string }{
		{"keeps", "if (process.env.C.length !== 13) throw new Error('no'); return process.env.C.length"},
		{"throws", "throw new Error('thrown')"},
		{"exits", "process.exit(3)"},
		{"crashes", "process.kill(process.pid, 'SIGSEGV')"},
		{"loops", "for (;;);"},
	} {
		body, _ := json.Marshal(map[string]any{
			"language": "nodejs", "title": code.title, "script_content": code.script, "timeout_ms": 300, "environment": json.RawMessage(environment),
		})
		say(i.must(t, 201, http.MethodPost, functionsPath, string(body)))
		say(i.send(t, http.MethodPost, "/function/nodejs-"+code.title, "{}"))
		say(i.send(t, http.MethodGet, functionsPath+"/nodejs-"+code.title, ""))
		session := i.open(t, "nodejs-"+code.title)
		say(i.execute(t, session, "{}"))
		say(i.send(t, http.MethodGet, "/api/v1/sessions/"+session, ""))
	}
	say(i.must(t, 200, http.MethodPut, functionsPath+"/nodejs-keeps/aliases/prod", `{"version":1,"environment":`+environment+`}`))
	say(i.send(t, http.MethodGet, functionsPath+"/nodejs-keeps:prod", ""))
	say(i.send(t, http.MethodPost, functionsPath, `{"language":"nodejs","title":"bad","script_content":"return }","environment":`+environment+`}`))
	for _, path := range []string{"/api/v1/audit?per_page=100", secretsPath, functionsPath, functionsPath + "/nodejs-keeps/versions", functionsPath + "/nodejs-keeps/aliases"} {
		say(i.send(t, http.MethodGet, path, ""))
	}
	if !strings.Contains(shown.String(), "\n") || !strings.Contains(i.send(t, http.MethodPost, "/function/nodejs-keeps", "{}").describe(), "13") {
		t.Fatal("the function does not have its secret")
	}
	testrig.Eventually(t, "requests are stored", func() bool { return strings.Contains(i.logs(t, ""), "nodejs-loops") })
	for _, path := range []string{"/metrics", "/debug/xds", "/debug/pprof/goroutine?debug=2", "/logs"} {
		shown.WriteString(operatorsPage(t, i, path))
	}
	shown.WriteString(i.configDump(t))
	shown.WriteString(i.stdout.String() + i.stderr.String())
	for _, word := range []string{canary, text} {
		if at := strings.Index(shown.String(), word); at >= 0 {
			t.Errorf("%s is shown: …%s…", word, shown.String()[max(0, at-300):min(shown.Len(), at+100)])
		}
	}
	wantNoFileWith(t, i, canary)
}

func (r reply) describe() string { return fmt.Sprint(r.status, " ", string(r.body)) }

func operatorsPage(t *testing.T, i *installation, path string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(i.operators + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body bytes.Buffer
	_, _ = body.ReadFrom(response.Body)
	return body.String()
}

// wantNoFileWith looks into all files of the installation: its database with the write-ahead
// log of that, access logs, and what is kept of bundles.
func wantNoFileWith(t *testing.T, i *installation, word string) {
	t.Helper()
	read := 0
	for _, dir := range []string{i.dataDir, i.runDir} {
		_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil //nolint:nilerr // sockets and what goes away
			}
			raw, err := os.ReadFile(path)
			if err == nil {
				read++
			}
			if bytes.Contains(raw, []byte(word)) {
				t.Errorf("%s holds %s", path, word)
			}
			return nil
		})
	}
	if read < 2 {
		t.Errorf("only %d files were looked into", read)
	}
}

// TestCachedResultsOfAnAlias: with an environment it is more than its version, whose results
// are not its own.
func TestCachedResultsOfAnAlias(t *testing.T) {
	i := shared(t)
	name := i.register(t, title(t), `{"language":"nodejs","title":"`+title(t)+`","cache_ttl_seconds":60,
		"script_content":"module.exports = () => process.env.MODE","environment":{"MODE":"own"}}`)
	i.must(t, 200, http.MethodPut, functionsPath+"/"+name+"/aliases/prod", `{"version":1,"environment":{"MODE":"prod"}}`)
	for range 2 {
		for ref, want := range map[string]string{name: "own", name + "@1": "own", name + ":prod": "prod"} {
			if r := i.must(t, 200, http.MethodGet, "/function/"+ref, ""); string(r.body) != want && string(r.body) != `"`+want+`"` {
				t.Errorf("%s says %s, want %s", ref, r.body, want)
			}
			path := "/runtime/" + strings.Replace(ref, "-", "/", 1)
			if got := i.must(t, 200, http.MethodPost, path, "{}").result(t); got != `"`+want+`"` {
				t.Errorf("%s says %s, want %s", path, got, want)
			}
		}
	}
}
