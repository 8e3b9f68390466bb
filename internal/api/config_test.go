package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"envoke/internal/api"
	"envoke/internal/faas"
	"envoke/internal/routing"
)

const configPath = "/api/v1/config"

// taken is a control that takes what is put.
type taken struct {
	*rig

	standing routing.Standing
	told     int
}

func (c *taken) ConfigChanged(ctx context.Context) {
	current, err := c.store.CurrentConfig(ctx)
	if err != nil {
		c.Error(err)
	}
	c.standing.Version = current.Version
	c.told++
}

func (c *taken) Standing() routing.Standing { return c.standing }

func newConfigRig(t *testing.T) *taken {
	t.Helper()
	c := &taken{rig: newRig(t), standing: routing.Standing{State: routing.Live, Sources: []routing.SourceStatus{}}}
	c.options.Routes = c
	return c
}

// TestConfig: what is put is shown as it was, compared with what was there, and had back.
func TestConfig(t *testing.T) {
	c := newConfigRig(t)
	c.wantReply("GET", configPath, 200, `{"version": 0, "document": null, "taken_version": 0, "status": "live", "message": null, "sources": []}`)
	c.wantReply("GET", configPath+"/versions", 200, `{"versions": []}`)
	const first, second = "# the first\nroutes:\n- {name: a, rules: [{}]}\n", `{"routes": [{"name": "a", "hostnames": ["h"], "rules": [{}]}]}`
	added := `[{"change": "added", "kind": "route", "name": "a"}]`
	changed := `[{"change": "changed", "kind": "route", "name": "a", "fields": [{"field": "hostnames[0]", "new": "\"h\""}]}]`
	back := `[{"change": "changed", "kind": "route", "name": "a", "fields": [{"field": "hostnames[0]", "old": "\"h\""}]}]`
	c.wantReplyTo("PUT", configPath+"?dry_run=true", first, 200, `{"version": 0, "dry_run": true, "changes": `+added+`}`)
	c.wantReplyTo("PUT", configPath, first, 200, `{"version": 1, "dry_run": false, "changes": `+added+`}`)
	c.wantReplyTo("PUT", configPath, first, 200, `{"version": 1, "dry_run": false, "changes": []}`)
	c.wantReplyTo("PUT", configPath+"?expected_version=1", second, 200, `{"version": 2, "dry_run": false, "changes": `+changed+`}`)
	c.wantReplyTo("POST", configPath+"/rollback", `{"version": 1}`, 200, `{"version": 1, "dry_run": false, "changes": `+back+`}`)
	if c.told != 3 {
		t.Errorf("of 3 changes %d were told", c.told)
	}
	_, body, _ := c.request("GET", configPath)
	if shown := body.(map[string]any); shown["document"] != first || shown["version"] != 1.0 || shown["status"] != "live" {
		t.Errorf("shown is %v", shown)
	}
	c.standing.Version = 2 // as that of a control that has not heard yet
	_, body, _ = c.request("GET", configPath)
	if shown := body.(map[string]any); shown["status"] != "pending" || shown["taken_version"] != 2.0 {
		t.Errorf("shown is %v", shown)
	}
	_, body, _ = c.request("GET", configPath+"/versions/2")
	if shown := body.(map[string]any); shown["document"] != second || shown["is_current"] != false || shown["bytes"] != float64(len(second)) {
		t.Errorf("version 2 is %v", shown)
	}
	_, body, _ = c.request("GET", configPath+"/versions")
	if list := fmt.Sprint(body); strings.Count(list, "is_current:true") != 1 || strings.Contains(list, "routes") {
		t.Errorf("versions are %s", list)
	}
}

// TestConfigFaults: each says what is wrong, and changes nothing.
func TestConfigFaults(t *testing.T) {
	c := newConfigRig(t)
	c.wantReplyTo("PUT", configPath, "{}", 200, `{"version": 1, "dry_run": false, "changes": []}`)
	for _, test := range []struct {
		request, body string
		code          faas.Code
		want          string
	}{
		{"PUT " + configPath, "routes:\n- name: A\n", faas.InvalidRequest, "the config has faults (2)"},
		{"PUT " + configPath, "", faas.InvalidRequest, "is empty"},
		{"PUT " + configPath, strings.Repeat("#", routing.MaxDocument+1), faas.PayloadTooLarge, "the body"},
		{"PUT " + configPath + "?dryrun=true", "{}", faas.InvalidRequest, "dryrun is not known here"},
		{"PUT " + configPath + "?dry_run=1", "{}", faas.InvalidRequest, "dry_run must be one of"},
		{"PUT " + configPath + "?expected_version=x", "{}", faas.InvalidRequest, "must be a whole number"},
		{"PUT " + configPath + "?expected_version=0", "{ }", faas.Conflict, "is at version 1 by now, and version 0 was to be changed"},
		{"PUT " + configPath + "?expected_version=0&dry_run=true", "{ }", faas.Conflict, "is at version 1"},
		{"GET " + configPath + "?x=1", "", faas.InvalidRequest, "x is not known here"},
		{"GET " + configPath + "/versions/9", "", faas.NotFound, "no such version of the config"},
		{"GET " + configPath + "/versions/x", "", faas.InvalidRequest, "the path ends with no version"},
		{"POST " + configPath + "/rollback", "{}", faas.InvalidRequest, "version is missing"},
		{"POST " + configPath + "/rollback", `{"version": 7}`, faas.NotFound, "no such version"},
		{"POST " + configPath + "/rollback?expected_version=4", `{"version": 1}`, faas.Conflict, "is at version 1"},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		c.wantErrorTo(method, path, test.body, test.code, test.want)
	}
	_, body, _ := c.send("PUT", configPath, "routes:\n- name: A\n")
	details := body.(map[string]any)["error"].(map[string]any)["details"].(map[string]any)
	fault := details["faults"].([]any)[1].(map[string]any)
	if fault["line"] != 2.0 || fault["column"] != 9.0 || fault["field"] != "routes[0].name" || fault["message"] == "" {
		t.Errorf("the fault is %v", fault)
	}
	c.wantReplyTo("PUT", configPath+"?dry_run=true", "{}", 200, `{"version": 1, "dry_run": true, "changes": []}`)
}

// TestConfigMatch: If-Match says which version is meant, as the parameter does.
func TestConfigMatch(t *testing.T) {
	c := newConfigRig(t)
	for _, test := range []struct {
		header, query string
		status        int
	}{
		{`"0"`, "", 200}, {"0", "", 409}, {`"1"`, "", 200}, {"*", "", 200}, {`"3"`, "?expected_version=2", 400}, {"W/x", "", 400}, {`"3"`, "?expected_version=3", 200},
	} {
		document := fmt.Sprintf("# %s %d\n{}", test.header, time.Now().UnixNano())
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPut, configPath+test.query, strings.NewReader(document))
		request.Header.Set("If-Match", test.header)
		recorder := httptest.NewRecorder()
		api.New(c.options).ServeHTTP(recorder, request)
		if recorder.Code != test.status {
			t.Errorf("If-Match %s with %q: %d %s", test.header, test.query, recorder.Code, recorder.Body)
		}
	}
}

// TestConfigCallers: it is the whole installation's.
func TestConfigCallers(t *testing.T) {
	c := newConfigRig(t)
	ask := func(method, path string, headers ...string) int {
		t.Helper()
		request := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}"))
		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}
		recorder := httptest.NewRecorder()
		api.New(c.options).ServeHTTP(recorder, request)
		return recorder.Code
	}
	c.options.Auth = true
	for name, test := range map[string]struct {
		headers []string
		want    int
	}{
		"nobody":                          {nil, 403},
		"who writes functions":            {[]string{faas.UserHeader, "ada", faas.ScopesHeader, "write:functions"}, 403},
		"an administrator of a namespace": {[]string{faas.UserHeader, "ada", faas.ScopesHeader, "admin", faas.NamespaceHeader, "team"}, 403},
		"an administrator":                {[]string{faas.UserHeader, "ada", faas.ScopesHeader, "admin"}, 200},
	} {
		for _, request := range []string{"GET " + configPath, "PUT " + configPath, "GET " + configPath + "/versions"} {
			method, path, _ := strings.Cut(request, " ")
			if got := ask(method, path, test.headers...); got != test.want {
				t.Errorf("%s as %s: %d", request, name, got)
			}
		}
	}
	c.options.Auth, c.options.Exposed = false, true
	if read, put := ask("GET", configPath), ask("PUT", configPath); read != 200 || put != 403 {
		t.Errorf("where anybody can call, reading is %d and putting %d", read, put)
	}
}
