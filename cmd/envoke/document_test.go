package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"envoke/internal/openapi"
	"envoke/internal/testrig"
)

const documentURL = "envoke:///openapi.json"

// document is the API's document, which replies are held against.
type document struct {
	root      map[string]any
	templates []template
	compiler  *jsonschema.Compiler
	mu        sync.Mutex // compiling is not for many at once
	met       map[string]bool
}

type template struct {
	path  string
	regex *regexp.Regexp
}

var documented = sync.OnceValue(func() *document {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapi.Document()))
	if err != nil {
		panic(err)
	}
	d := &document{root: root.(map[string]any), compiler: jsonschema.NewCompiler(), met: map[string]bool{}}
	closeObjects(d.root)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(documentURL, root); err != nil {
		panic(err)
	}
	for path := range d.root["paths"].(map[string]any) {
		pattern := regexp.MustCompile(`\\{\w+\\}`).ReplaceAllString(regexp.QuoteMeta(path), "[^/]+")
		if strings.HasSuffix(path, "{path}") {
			pattern = strings.TrimSuffix(pattern, "[^/]+") + ".+"
		}
		d.templates = append(d.templates, template{path, regexp.MustCompile("^" + pattern + "$")})
	}
	return d
})

// closeObjects takes members that are not described for faults: callers of the API may
// meet new ones, its tests may not.
func closeObjects(value any) {
	switch value := value.(type) {
	case map[string]any:
		for _, child := range value {
			closeObjects(child)
		}
		if _, open := value["additionalProperties"]; value["properties"] != nil && value["type"] != nil && !open {
			value["additionalProperties"] = false
		}
	case []any:
		for _, child := range value {
			closeObjects(child)
		}
	}
}

// find returns the documented operation that a request is, nil for none.
func (d *document) find(method, path string) map[string]any {
	path, _, _ = strings.Cut(path, "?")
	for _, t := range d.templates {
		if t.regex.MatchString(path) {
			operation, _ := d.resolve(d.root["paths"].(map[string]any)[t.path])[strings.ToLower(method)].(map[string]any)
			return operation
		}
	}
	return nil
}

// resolve follows a reference.
func (d *document) resolve(node any) map[string]any {
	object := node.(map[string]any)
	ref, ok := object["$ref"].(string)
	if !ok {
		return object
	}
	node = d.root
	for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		node = node.(map[string]any)[name]
	}
	return node.(map[string]any)
}

// check tells whether the document has such a reply to such a request. Requests that
// are none of its operations are not judged.
func (d *document) check(method, path string, r reply) error {
	operation := d.find(method, path)
	if operation == nil {
		return nil
	}
	responses := operation["responses"].(map[string]any)
	status := fmt.Sprint(r.status)
	if responses[status] == nil {
		status = "default"
	}
	if responses[status] == nil {
		return fmt.Errorf("%v does not answer %d by the document", operation["operationId"], r.status)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.met[fmt.Sprint(operation["operationId"], " ", status)] = true
	response := d.resolve(responses[status])
	for name, described := range response["headers"].(map[string]any) {
		if d.resolve(described)["required"] == true && r.header.Get(name) == "" {
			return fmt.Errorf("there is no header %s", name)
		}
	}
	return d.checkBody(response, r)
}

func (d *document) checkBody(response map[string]any, r reply) error {
	content, _ := response["content"].(map[string]any)
	switch {
	case content["*/*"] != nil:
		return nil
	case content == nil && len(r.body) > 0:
		return fmt.Errorf("there is a body: %.100s", r.body)
	case content == nil:
		return nil
	}
	media, ok := content[r.header.Get("Content-Type")].(map[string]any)
	if !ok {
		return fmt.Errorf("the content type is %q", r.header.Get("Content-Type"))
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.body))
	if err != nil {
		return err
	}
	schema, err := d.schema(media["schema"])
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// schema compiles a schema of the document, beside it so that references are found.
func (d *document) schema(node any) (*jsonschema.Schema, error) {
	if ref, ok := node.(map[string]any)["$ref"].(string); ok {
		return d.compiler.Compile(documentURL + ref)
	}
	raw, err := json.Marshal(node)
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("%s?%x", documentURL, raw)
	absolute := bytes.ReplaceAll(raw, []byte(`"#/`), []byte(`"`+documentURL+`#/`))
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(absolute))
	if err != nil {
		return nil, err
	}
	_ = d.compiler.AddResource(url, value) // it is there already, the second time
	return d.compiler.Compile(url)
}

// elsewhere is what TestDocument does not bring about: what needs a stalled caller, full
// queues, a part that is away, a fault of ours, a long build, two Host headers, or callers
// that are checked. The tests that do
// hold what they get against the document too.
var elsewhere = regexp.MustCompile(` (401|403|408|429|500|503|504)$|^(health|document|listSecrets) 400$|^putSecret 409$|^initialize 202$|^createKey (201|400|413)$|^revokeKey 204$`)

// TestDocument brings about every answer that the document has of every operation.
func TestDocument(t *testing.T) {
	i := shared(t)
	d := documented()
	const api = "/api/v1"
	title := unused("documented")
	named, own, called := "nodejs-"+title, functionsPath+"/nodejs-"+title, "/runtime/nodejs/"+title
	ids := map[string]string{"{gone}": "0a1b2c3d-0000-8110-8000-000000000000"}
	large := `{"params":"` + strings.Repeat("x", 7<<20) + `"}`
	script := func(code string) string { return fmt.Sprintf(`{"script_content":%q}`, code) }
	greet := define(t, title, "if (event.params?.a === 1) throw new Error('one'); return 'x'.repeat(event.params?.n)")
	for _, step := range append(configSteps(), []documentedStep{
		{"GET", "/health", "", "", 200},
		{"GET", api + "/openapi.json", "", "", 200},

		{"POST", functionsPath, greet, "", 201},
		{"POST", functionsPath, greet, "", 409},
		{"POST", functionsPath, `{"title":1}`, "", 400},
		{"POST", functionsPath, define(t, "broken", "return }"), "", 422},
		{"POST", functionsPath, strings.Repeat(" ", 64<<20), "", 413},
		{"PUT", own, script("return 2"), "", 200},
		{"PUT", own, `{"schema":{"type":1},"script_content":"return 2"}`, "", 400},
		{"PUT", own, script("return }"), "", 422},
		{"PUT", own, strings.Repeat(" ", 64<<20), "", 413},
		{"PUT", own + "er", script("return 2"), "", 404},
		{"GET", functionsPath + "?tag=a&type=dynamic", "", "", 200},
		{"GET", functionsPath, "", "", 200},
		{"GET", functionsPath + "?page=0", "", "", 400},
		{"GET", own, "", "", 200},
		{"GET", own + "@1", "", "", 200},
		{"PUT", secretsPath + "/DOCUMENTED", `{"value":"v"}`, "", 204},
		{"PUT", secretsPath + "/documented", `{"value":"v"}`, "", 400},
		{"PUT", secretsPath + "/DOCUMENTED", large, "", 413},
		{"GET", secretsPath, "", "", 200},
		{"DELETE", secretsPath + "/DOCUMENTED", "", "", 204},
		{"DELETE", secretsPath + "/DOCUMENTED", "", "", 404},
		{"DELETE", secretsPath + "/documented", "", "", 400},
		{"GET", functionsPath + "/rust-data_validator", "", "", 200},
		{"GET", own + "@7", "", "", 404},
		{"GET", own + "@x", "", "", 400},
		{"GET", own + "/versions", "", "", 200},
		{"GET", own + "er/versions", "", "", 404},
		{"GET", own + "@1/versions", "", "", 400},
		{"POST", own + "/rollback", `{"version":1}`, "", 200},
		{"POST", own + "/rollback", `{"version":0}`, "", 400},
		{"POST", own + "/rollback", `{"version":7}`, "", 404},
		{"POST", own + "/rollback", large, "", 413},
		{"PUT", own + "/aliases/prod", `{"version":1,"weights":{"2":10}}`, "", 200},
		{"PUT", own + "/aliases/prod", `{"version":1,"weights":{"1":10}}`, "", 400},
		{"PUT", own + "/aliases/prod", `{"version":7}`, "", 404},
		{"PUT", own + "/aliases/prod", large, "", 413},
		{"PUT", own + "/aliases/prod", `{"version":1,"environment":{"A":{"secret":"NOT_THERE"}}}`, "", 422},
		{"PUT", own + "/aliases/prod", `{"version":1,"environment":{"A":"text"}}`, "", 200},
		{"GET", own + "/aliases", "", "", 200},
		{"GET", own + "er/aliases", "", "", 404},
		{"GET", own + "@1/aliases", "", "", 400},

		{"GET", api + "/audit?action=function.register&since=2026-01-01T00:00:00Z&per_page=100", "", "", 200},
		{"GET", api + "/audit?action=other", "", "", 400},
		{"GET", api + "/audit?since=yesterday", "", "", 400},
		{"GET", api + "/keys", "", "", 200},
		{"GET", api + "/keys?page=0", "", "", 400},
		{"DELETE", api + "/keys/000000000000", "", "", 404},
		{"DELETE", api + "/keys/a%2Fb", "", "", 400},

		{"POST", api + "/initialize", `{"context":{"timeout_ms":300}}`, named + "@1", 200},
		{"POST", api + "/initialize", `{}`, "", 400},
		{"POST", api + "/initialize", `{}`, "nodejs-none", 404},
		{"POST", api + "/initialize", script(strings.Repeat("x", 2<<20)), "nodejs-x", 413},
		{"POST", api + "/initialize", script("return }"), "nodejs-x", 422},
		{"POST", api + "/execute/{id}", `{"params":{"n":3}}`, "", 200},
		{"POST", api + "/execute/{id}", `{"params":`, "", 400},
		{"POST", api + "/execute/{gone}", `{}`, "", 404},
		{"POST", api + "/execute/{id}", large, "", 413},
		{"POST", api + "/execute/{id}", `{"params":{"a":1}}`, "", 500},
		{"POST", api + "/execute/{id}", `{"params":{"n":7000000}}`, "", 507},
		{"GET", api + "/sessions/{id}", "", "", 200},
		{"GET", api + "/sessions/{gone}", "", "", 404},
		{"GET", api + "/sessions/a%2Fb", "", "", 400},
		{"DELETE", api + "/sessions/{id}", "", "", 204},
		{"DELETE", api + "/sessions/{id}", "", "", 404},
		{"DELETE", api + "/sessions/a%2Fb", "", "", 400},
		{"POST", api + "/execute", script("return 1"), "nodejs-x", 200},
		{"POST", api + "/execute", script("return 1"), "cobol-x", 400},
		{"POST", api + "/execute", `{}`, "nodejs-none", 404},
		{"POST", api + "/execute", script(strings.Repeat("x", 2<<20)), "nodejs-x", 413},
		{"POST", api + "/execute", script("return }"), "nodejs-x", 422},
		{"POST", api + "/execute", script("throw 1"), "nodejs-x", 500},
		{"POST", api + "/execute", script("return 'x'.repeat(7e6)"), "nodejs-x", 507},
		{"POST", api + "/execute", `{"script_content":"for(;;);","context":{"timeout_ms":1000}}`, "nodejs-x", 504},

		{"POST", called + "@1", `{"params":{"n":3}}`, "", 200},
		{"POST", "/runtime/nodejs/calculator", `{"params":{}}`, "", 400},
		{"POST", "/runtime/nodejs/none", `{}`, "", 404},
		{"POST", called, large, "", 413},
		{"POST", called + "@1", `{"params":{"a":1}}`, "", 500},
		{"POST", called + "@1", `{"params":{"n":7000000}}`, "", 507},

		{"PUT", own, define(t, title, "return event.params?.none ? null : event.params?.no ? {statusCode: 418} : 1"), "", 200},
		{"GET", "/function/" + named, "", "", 200},
		{"DELETE", own + "/aliases/prod", "", "", 204},
		{"DELETE", own + "/aliases/prod", "", "", 404},
		{"DELETE", own + "@1/aliases/prod", "", "", 400},
		{"DELETE", own + "@1", "", "", 400},
	}...) {
		step.send(t, i, ids)
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"} {
		for _, path := range []string{"/function/" + named, "/function/" + named + "/a/b"} {
			documentedStep{method, path, "", "", 200}.send(t, i, ids)
			documentedStep{method, path, `{"none":1}`, "", 204}.send(t, i, ids)
			documentedStep{method, path, `{"no":1}`, "", 418}.send(t, i, ids)
		}
	}
	documentedStep{"DELETE", own, "", "", 204}.send(t, i, ids)
	documentedStep{"DELETE", own, "", "", 404}.send(t, i, ids)
	d.largeHeaders(t, i)
	lateFailures(t, i)
	d.wantAllMet(t)
}

// lateFailures calls code that loads no more, once its worker was ended.
func lateFailures(t *testing.T, i *installation) {
	t.Helper()
	code := fmt.Sprintf("if (Date.now() > %d) throw new Error('late')\nexports.handler = () => { for (;;); }", time.Now().Add(time.Second).UnixMilli())
	const own = functionsPath + "/nodejs-late"
	i.must(t, 201, http.MethodPost, functionsPath, define(t, "late", code))
	defer i.must(t, 204, http.MethodDelete, own, "")
	session := i.initializeWith(t, map[string]any{"script_content": code, "context": map[string]any{"timeout_ms": 50}})
	for path, body := range map[string]string{
		"/api/v1/execute/" + session: `{}`, "/runtime/nodejs/late": `{"context":{"timeout_ms":50}}`,
	} {
		testrig.Eventually(t, path+" is 422", func() bool {
			return i.send(t, http.MethodPost, path, body).status == http.StatusUnprocessableEntity
		})
	}
}

// documentedStep is a request and the status that it is answered with.
type documentedStep struct {
	method, path, body, title string
	status                    int
}

// send puts ids where the path names them, and keeps those of a new session and key. What
// comes back is held against the document by the installation's own send.
func (d documentedStep) send(t *testing.T, i *installation, ids map[string]string) {
	t.Helper()
	for name, id := range ids {
		d.path = strings.ReplaceAll(d.path, name, id)
	}
	r := i.send(t, d.method, d.path, d.body, "Language-Title", d.title)
	if r.status != d.status {
		t.Errorf("%s %s %.60s: %d %.300s, want %d", d.method, d.path, d.body, r.status, r.body, d.status)
	}
	var made struct {
		Session string `json:"request_id"`
	}
	if strings.HasSuffix(d.path, "/initialize") && r.status == http.StatusOK {
		if err := json.Unmarshal(r.body, &made); err != nil {
			t.Fatal(err)
		}
	}
	if made.Session != "" {
		ids["{id}"] = made.Session
	}
}

// largeHeaders sends every operation more headers than Envoy takes.
func (d *document) largeHeaders(t *testing.T, i *installation) {
	t.Helper()
	for path, operations := range d.root["paths"].(map[string]any) {
		path = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "a")
		for method := range operations.(map[string]any) {
			if method != "parameters" {
				i.must(t, 431, strings.ToUpper(method), path, "", "X-Large", strings.Repeat("x", 100<<10))
			}
		}
	}
}

// wantAllMet fails where the document has an answer that nobody got.
func (d *document) wantAllMet(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var missing []string
	for _, operations := range d.root["paths"].(map[string]any) {
		for method, operation := range operations.(map[string]any) {
			if method == "parameters" {
				continue
			}
			operation := operation.(map[string]any)
			for status := range operation["responses"].(map[string]any) {
				answer := fmt.Sprint(operation["operationId"], " ", status)
				if !d.met[answer] && !elsewhere.MatchString(answer) {
					missing = append(missing, answer)
				}
			}
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("the document has answers that nobody got: %v; got %v", missing, slices.Sorted(maps.Keys(d.met)))
	}
}
