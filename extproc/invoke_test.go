package extproc_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"envoke/extproc"
	"envoke/internal/faas"
	"envoke/internal/selection"
)

// newMappedServer maps names that hold "image" to nodejs, "table" to python.
func newMappedServer(t *testing.T) *extproc.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mappings.json")
	const mappings = `[{"pattern":"image","runtime_type":"nodejs"},{"pattern":"table","runtime_type":"python"}]`
	if err := os.WriteFile(file, []byte(mappings), 0o600); err != nil {
		t.Fatal(err)
	}
	names, err := selection.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	return extproc.New(extproc.Options{
		Select: names.Select, Mapped: true, Registry: registry{}, Key: key, Runtimes: []faas.Language{faas.NodeJS}, Failed: func(faas.Failure) {},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Registerer: prometheus.NewPedanticRegistry(),
	})
}

func TestInvokeHTTP(t *testing.T) {
	server := newMappedServer(t)
	for request, function := range map[string]string{
		"GET /function/image-resize":                "nodejs-image-resize",
		"PURGE /function/nodejs-image/a/b?c=/d":     "nodejs-image",
		"POST /function/image%40" + "3/x":           "nodejs-image@3",
		"POST /function/image:prod\nhost: a":        "nodejs-image:prod",
		"GET /function/my.image\nlanguage-title: x": "nodejs-my.image",
	} {
		want := map[string]string{"x-envoke-function": function, "x-envoke-cluster": "runtime-nodejs"}
		if diff := cmp.Diff(want, readHeaders(t, answerOf(t, server, headersOf(request)))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", request, diff)
		}
	}
	badName := reply{Status: 400, Code: faas.InvalidRequest, Component: "extproc"}
	for request, want := range map[string]reply{
		"GET /function/":             badName,
		"GET /function/nodejs-hello": badName, // no mapping matches
		"GET /function/image%zz":     badName,
		"GET /function/image%00":     badName,
		"GET /function/table":        {Status: 503, Code: faas.Unavailable, Component: "runtime"},
	} {
		got := readReply(t, answerOf(t, server, headersOf(request)))
		got.Message = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", request, diff)
		}
	}
}

// Hosts and the log get the name that the mapping makes.
func TestInitializeMappedName(t *testing.T) {
	server := newMappedServer(t)
	for title, want := range map[string]string{"image": "nodejs-image", "image@2": "nodejs-image@2", "nodejs-image": ""} {
		for _, path := range []string{"/api/v1/initialize", "/api/v1/execute"} {
			got := readHeaders(t, answerOf(t, server, headersOf("POST "+path+"\nlanguage-title: "+title)))
			if got["language-title"] != want || got["x-envoke-cluster"] != "runtime-nodejs" {
				t.Errorf("%s of %s goes on with %v", path, title, got)
			}
		}
	}
}

// An error says where the bad name stands.
func TestPlaceOfName(t *testing.T) {
	server := newMappedServer(t)
	for request, want := range map[string]string{
		"GET /function/image..b":                            "the title in the path must not contain '..'",
		"POST /api/v1/initialize\nlanguage-title: image..b": "the title in the Language-Title header must not contain '..'",
	} {
		if got := readReply(t, answerOf(t, server, headersOf(request))).Message; got != want {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
}
