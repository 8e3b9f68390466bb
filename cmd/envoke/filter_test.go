package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"envoke/filter/module"
	"envoke/internal/testrig"
)

// TestFilter sees the filter that this binary carries refuse a name in Envoy, which
// ext_proc did before it was there, and operators see its version.
func TestFilter(t *testing.T) {
	if module.Code() == nil {
		if os.Getenv("CI") != "" {
			t.Fatal("this test binary was built without the filter: make filter")
		}
		t.Skip("this test binary was built without the filter: make filter")
	}
	for _, tt := range []struct{ name, flag, component string }{
		{"on", "--filter", "envoy"},
		{"off", "--filter=false", "extproc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := serve(t, tt.flag)
			var r reply
			testrig.Eventually(t, "an answer of "+tt.component, func() bool {
				r = i.send(t, http.MethodPost, "/api/v1/initialize", "{}", "Language-Title", "nodejs-a..b")
				return strings.Contains(string(r.body), `"`+tt.component+`"`)
			})
			r.isError(t, http.StatusBadRequest, "INVALID_REQUEST", tt.component)
			if got := i.execute(t, i.initialize(t, "return 42"), "{}").result(t); got != "42" {
				t.Errorf("the result is %s", got)
			}
			if status := i.xdsStatus(t); (status.Filter != "") != (tt.component == "envoy") || status.Refusal != nil {
				t.Errorf("/debug/xds says %+v", status)
			}
		})
	}
}

type xdsStatus struct {
	Filter  string         `json:"filter"`
	Refusal map[string]any `json:"last_refusal"`
}

func (i *installation) xdsStatus(t *testing.T) (status xdsStatus) {
	t.Helper()
	r, err := send(http.MethodGet, i.operators+"/debug/xds", "")
	if err == nil {
		err = json.Unmarshal(r.body, &status)
	}
	if err != nil {
		t.Fatal(err)
	}
	return status
}
