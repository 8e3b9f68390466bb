package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	remote "envoke/internal/client"
	"envoke/internal/routing"
	"envoke/internal/testrig"
)

const configPath = "/api/v1/config"

// routeOf is a declaration of a route with that name and of an upstream.
func routeOf(name string) string {
	return fmt.Sprintf("# of %s\nupstreams:\n- name: %s\n  endpoints: [{host: 127.0.0.1, port: 1}]\nroutes:\n- name: %s\n  hostnames: [%s.test]\n  rules: [{backendRefs: [{name: %s}]}]\n", name, name, name, name, name)
}

// configSteps bring about what the API's document has of the config.
func configSteps() []documentedStep {
	return []documentedStep{
		{"PUT", configPath, "{}", "", 200},
		{"PUT", configPath, "colour: red", "", 400},
		{"PUT", configPath + "?expected_version=0", "{ }", "", 409},
		{"PUT", configPath, strings.Repeat("#", routing.MaxDocument+1), "", 413},
		{"PUT", configPath + "?dry_run=true", routeOf("documented"), "", 200},
		{"GET", configPath, "", "", 200},
		{"GET", configPath + "?a=b", "", "", 400},
		{"GET", configPath + "/versions", "", "", 200},
		{"GET", configPath + "/versions?a=b", "", "", 400},
		{"GET", configPath + "/versions/1", "", "", 200},
		{"GET", configPath + "/versions/0", "", "", 400},
		{"GET", configPath + "/versions/99999", "", "", 404},
		{"POST", configPath + "/rollback", `{"version":1}`, "", 200},
		{"POST", configPath + "/rollback", `{"version":0}`, "", 400},
		{"POST", configPath + "/rollback", `{"version":99999}`, "", 404},
		{"POST", configPath + "/rollback?expected_version=0", `{"version":1}`, "", 409},
		{"POST", configPath + "/rollback", strings.Repeat(" ", 1<<20), "", 413},
	}
}

// config is what is declared, and what has become of it.
func (i *installation) config(t *testing.T) (shown remote.Config) {
	t.Helper()
	r := i.must(t, http.StatusOK, http.MethodGet, configPath, "")
	if err := json.Unmarshal(r.body, &shown); err != nil {
		t.Fatal(err)
	}
	return shown
}

// source is how one of the sources stands.
func source(c remote.Config, name string) routing.SourceStatus {
	for _, s := range c.Sources {
		if s.Source == name {
			return s
		}
	}
	return routing.SourceStatus{}
}

// TestConfigByCommands: what is applied is live, shown, listed and rolled back.
func TestConfigByCommands(t *testing.T) {
	i := serve(t)
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, content)
		return path
	}
	one, two, faulty := file("one.yaml", routeOf("one")), file("two.yaml", routeOf("two")), file("faulty.yaml", routeOf("three")+"colour: red\n")
	is := func(args, stdout, stderr string, code int) {
		t.Helper()
		got := i.cli(t, "", strings.Fields("config "+args)...)
		if got.code != code || got.stdout != stdout || !strings.Contains(got.stderr, stderr) {
			t.Errorf("config %s: %d\n%s--\n%s\nwant %d\n%s--\n%s", args, got.code, got.stdout, got.stderr, code, stdout, stderr)
		}
	}
	is("validate "+one, "no faults; upstreams: 1, routes: 1, listeners: 0\n", "", 0)
	is("validate "+faulty, "", faulty+":9:1: colour: is not known", 1)
	is("diff "+one, "+ upstream one\n+ route one\n", "", 0)
	is("apply "+one+" --dry-run", "+ upstream one\n+ route one\n", "", 0)
	is("versions", "VERSION  APPLIED  BY  BYTES  DIGEST\n", "", 0)
	is("apply "+one, "+ upstream one\n+ route one\n", "version 1 is live", 0)
	is("apply "+one, "nothing changes\n", "version 1 is live", 0)
	is("apply "+faulty, "", faulty+":9:1: colour: is not known", 1)
	is("apply "+two, "- upstream one\n+ upstream two\n- route one\n+ route two\n", "version 2 is live", 0)
	is("get", routeOf("two"), "version 2: live\nfrom api: upstreams: 1, routes: 1, listeners: 0", 0)
	is("get --version 1", routeOf("one"), "", 0)
	is("rollback 1", "+ upstream one\n- upstream two\n+ route one\n- route two\n", "version 1 is live", 0)
	is("get", routeOf("one"), "version 1: live", 0)
	is("rollback 7", "", "no such version of the config", 1)
	is("get --version 7", "", "no such version of the config", 1)
	if got := i.cli(t, routeOf("stdin"), "config", "apply", "-"); got.code != 0 || !strings.Contains(got.stderr, "version 3 is live") {
		t.Errorf("from standard input: %+v", got)
	}
	if got := i.cli(t, "", "config", "versions"); strings.Count(got.stdout, "\n") != 4 || !strings.Contains(got.stdout, "\n*3 ") {
		t.Errorf("versions are\n%s", got.stdout)
	}
	if got := i.cli(t, "", "config", "schema"); !json.Valid([]byte(got.stdout)) || !strings.Contains(got.stdout, "draft/2020-12") {
		t.Errorf("the schema is %.200s", got.stdout)
	}
	log := i.adminOfOperators(t, "/debug/xds")
	var debug struct {
		Version string                 `json:"version"`
		Routing []routing.SourceStatus `json:"routing"`
	}
	if err := json.Unmarshal([]byte(log), &debug); err != nil || debug.Version == "" || len(debug.Routing) != 1 || debug.Routing[0].Routes != 1 {
		t.Errorf("/debug/xds has %s", log)
	}
}

func (i *installation) adminOfOperators(t *testing.T, path string) string {
	t.Helper()
	r, err := send(http.MethodGet, i.operators+path, "")
	if err != nil || r.status != http.StatusOK {
		t.Fatalf("%s: %d %v", path, r.status, err)
	}
	return string(r.body)
}

// TestConfigStays: what was put is there after a restart, and the file's names come first.
func TestConfigStays(t *testing.T) {
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "routes.yaml")
	writeFile(t, file, routeOf("both"))
	if err := i.start(); err != nil {
		t.Fatal(err)
	}
	i.must(t, 200, http.MethodPut, configPath, routeOf("both"))
	i.stop()
	if err := <-i.ended; err != nil {
		t.Fatal(err)
	}
	again := &installation{dataDir: i.dataDir, runDir: i.runDir, ended: make(chan error, 1)}
	if err := again.start("--routes-file", file); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := again.shutdown(); err != nil {
			t.Error(err)
		}
	}()
	testrig.Eventually(t, "it is live", func() bool { return again.config(t).Status == routing.Live })
	c := again.config(t)
	if c.Version != 1 || c.Taken != 1 || *c.Document != routeOf("both") || source(c, "file").Routes != 1 {
		t.Errorf("it is %+v", c)
	}
	if faults := source(c, "api").Faults; len(faults) != 2 || !strings.Contains(faults[1].Message, `route "both" is declared by the source file too`) {
		t.Errorf("the faults are %+v", faults)
	}
}

// TestConfigOnTwoControls: another control on the same database takes it over at once.
func TestConfigOnTwoControls(t *testing.T) {
	address := testrig.Postgres(t)
	one, two := serve(t, "--database-url", address), serve(t, "--database-url", address)
	one.must(t, 200, http.MethodPut, configPath, routeOf("first"))
	testrig.Eventually(t, "the other hears of it", func() bool { return two.config(t).Taken == 1 })
	began := time.Now()
	one.must(t, 200, http.MethodPut, configPath, routeOf("second"))
	testrig.Eventually(t, "the other has it live", func() bool {
		c := two.config(t)
		return c.Taken == 2 && c.Status == routing.Live && source(c, "api").Routes == 1
	})
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	two.must(t, 200, http.MethodPost, configPath+"/rollback", `{"version":1}`)
	testrig.Eventually(t, "the first is back at version 1", func() bool { return one.config(t).Taken == 1 })
	two.must(t, 409, http.MethodPut, configPath+"?expected_version=2", routeOf("third"))
}

// TestConfigAudit: who has put what is told, and who may not has no row.
func TestConfigAudit(t *testing.T) {
	d := openDoorWith(t)
	admin := d.caller(t, "admin")
	d.mustAs(t, admin, 200, "PUT "+configPath, routeOf("audited"))
	d.mustAs(t, admin, 200, "PUT "+configPath, "{}")
	d.mustAs(t, admin, 200, "POST "+configPath+"/rollback", `{"version":1}`)
	d.mustAs(t, admin, 400, "PUT "+configPath, "colour: red")
	d.mustAs(t, d.caller(t, "boss"), 403, "PUT "+configPath, "{}")
	entries := d.changes(t, "target=config")
	if len(entries) != 3 || entries[0].Action != "config.rollback" || orEmpty(entries[0].UserID) != "admin" || orEmpty(entries[0].Address) != "127.0.0.1" ||
		entries[2].Action != "config.put" || !strings.Contains(string(entries[2].Details), `"version":1`) {
		t.Errorf("the rows are %+v", entries)
	}
}

// TestRoutesFile: a file is followed, also where a mounted volume swaps links; one with faults
// changes nothing and is told of.
func TestRoutesFile(t *testing.T) {
	dir := t.TempDir()
	// As Kubernetes mounts a ConfigMap: the file is a link into ..data, which is swapped.
	release := func(name, content string) {
		t.Helper()
		folder := filepath.Join(dir, ".."+name)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(folder, "routes.yaml"), content)
		if err := os.Symlink(".."+name, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	release("1", routeOf("one"))
	if err := os.Symlink("..data/routes.yaml", filepath.Join(dir, "routes.yaml")); err != nil {
		t.Fatal(err)
	}
	i := serve(t, "--routes-file", dir)
	of := func() routing.SourceStatus { return source(i.config(t), "file") }
	if got := of(); got.Routes != 1 || got.Refused {
		t.Fatalf("it stands so: %+v", got)
	}
	release("2", strings.Replace(routeOf("one")+routeOf("two"), "# of two\nupstreams:\n", "", 1))
	testrig.Eventually(t, "the faulty file is refused", func() bool { return of().Refused })
	got := of()
	if want := filepath.Join(dir, "routes.yaml") + ":"; len(got.Faults) == 0 || !strings.HasPrefix(got.Faults[0].Error(), want) || got.Routes != 1 {
		t.Errorf("it stands so: %+v", got)
	}
	if i.config(t).Status != routing.Live {
		t.Error("what was live before is not")
	}
	if log := i.stderr.String(); !strings.Contains(log, "what they declared before stays") {
		t.Errorf("the log does not say so:\n%s", tail(log, 4<<10))
	}
	if metrics := i.adminOfOperators(t, "/metrics"); !strings.Contains(metrics, `envoke_routing_refused{source="file"} 1`) {
		t.Error("no metric says so")
	}
	release("3", "upstreams: []\nroutes:\n- {name: a, rules: [{}]}\n- {name: b, rules: [{}]}\n")
	testrig.Eventually(t, "the next one is taken", func() bool { got := of(); return got.Routes == 2 && !got.Refused })
	if err := os.Remove(filepath.Join(dir, "routes.yaml")); err != nil {
		t.Fatal(err)
	}
	testrig.Eventually(t, "a folder without files is refused", func() bool { got := of(); return got.Routes == 2 && got.Refused })
}

// TestRoutesFileFaults: at the start they end it, all of them.
func TestRoutesFileFaults(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.yaml"), "routes:\n- name: A\n  rules: [{}]\n- name: b\n")
	i, err := newInstallation()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(filepath.Dir(i.dataDir)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = run(ctx, append([]string{"serve", "--worker-queue", "-1", "--routes-file", dir}, i.settings()...), os.Getenv, &i.stdout, &i.stderr)
	if err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{"WORKER_QUEUE is -1", "ROUTES_FILE: " + dir + "/a.yaml:2:9: routes[0].name: \"A\" is no name", "a.yaml:4:3: routes[1].rules: is missing"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
}

// TestDeclaredUpstream: a request to a declared route is answered by its upstream.
func TestDeclaredUpstream(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "the shop has ", r.URL.Path)
	}))
	defer upstream.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(upstream.URL, "http://"), ":")
	i := serve(t)
	document := strings.ReplaceAll(routeOf("shop"), "port: 1}", "port: "+port+"}")
	file := filepath.Join(t.TempDir(), "routes.yaml")
	writeFile(t, file, document)
	if got := i.cli(t, "", "config", "apply", file); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, i.base+"/socks", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "shop.test"
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	r, err := read(answer)
	if err != nil || string(r.body) != "the shop has /socks" {
		t.Errorf("%d %s (%v)", r.status, r.body, err)
	}
	i.must(t, http.StatusOK, http.MethodGet, "/health", "")
}

// TestRefusedByEnvoy: what only Envoy finds out is told in its own words, and what was live
// before goes on.
func TestRefusedByEnvoy(t *testing.T) {
	i := serve(t)
	dir := t.TempDir()
	sound, refused := filepath.Join(dir, "sound.yaml"), filepath.Join(dir, "refused.yaml")
	writeFile(t, sound, routeOf("sound"))
	const large = "  rules: [{matches: [{path: {type: RegularExpression, value: '/[a-z]{100}'}}], "
	writeFile(t, refused, strings.Replace(routeOf("refused"), "  rules: [{", large, 1))
	if got := i.cli(t, "", "config", "apply", sound); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	got := i.cli(t, "", "config", "apply", refused)
	if got.code != 1 || !strings.Contains(got.stderr, "is refused") || !strings.Contains(got.stderr, "max program size") {
		t.Errorf("%+v", got)
	}
	if c := i.config(t); c.Status != routing.Refused || c.Version != 2 {
		t.Errorf("it stands so: %+v", c)
	}
	if got := i.cli(t, "", "config", "apply", sound); got.code != 0 {
		t.Errorf("the next one: %+v", got)
	}
}
