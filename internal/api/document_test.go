package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/openapi"
)

// byHosts is what the document has of runtime hosts.
var byHosts = []string{
	"POST /api/v1/execute",
	"POST /api/v1/execute/{}",
	"POST /api/v1/initialize",
	"POST /runtime/{}/{}",
}

// TestDocumentedPaths: the document has all paths and methods that control answers,
// and no others but those of runtime hosts.
func TestDocumentedPaths(t *testing.T) {
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(openapi.Document(), &document); err != nil {
		t.Fatal(err)
	}
	var documented []string
	for path, operations := range document.Paths {
		for method := range operations {
			if method != "parameters" && !strings.HasPrefix(path, "/function/") { // every method
				documented = append(documented, strings.ToUpper(method)+" "+unnamed(path))
			}
		}
	}
	answered := slices.Clone(byHosts)
	for path, methods := range new(api).routes() {
		for method := range methods {
			answered = append(answered, method+" "+unnamed(path))
		}
	}
	slices.Sort(documented)
	slices.Sort(answered)
	if diff := cmp.Diff(answered, documented); diff != "" {
		t.Errorf("the document (-answered +documented):\n%s", diff)
	}
}

// unnamed leaves the names of parameters out of a path.
func unnamed(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, "{") {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}

// TestDocument: what is served is the document.
func TestDocument(t *testing.T) {
	status, body, err := new(api).document(new(http.Request))
	if status != http.StatusOK || err != nil || !cmp.Equal(body, json.RawMessage(openapi.Document())) {
		t.Errorf("got %d, %v", status, err)
	}
}

// TestDocumentedActions: the document has the actions that are audited.
func TestDocumentedActions(t *testing.T) {
	var document struct {
		Components struct {
			Schemas struct {
				Action struct{ Enum []faas.Action }
			}
		}
	}
	if err := json.Unmarshal(openapi.Document(), &document); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(faas.Actions(), document.Components.Schemas.Action.Enum); diff != "" {
		t.Errorf("the document (-audited +documented):\n%s", diff)
	}
}
