package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/testrig"
	"envoke/runtimes/sandbox"
)

// pipIndex has one package, left.
func pipIndex(t *testing.T) *httptest.Server {
	t.Helper()
	var wheel bytes.Buffer
	files := zip.NewWriter(&wheel)
	for _, file := range [][2]string{
		{"left.py", "name = 'left'\n"},
		{"left-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: left\nVersion: 1.0\n"},
		{"left-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"left-1.0.dist-info/RECORD", "left.py,,\n"},
	} {
		w, err := files.Create(file[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, file[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	index := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/left/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, `<a href="/left-1.0-py3-none-any.whl">left-1.0-py3-none-any.whl</a>`)
		case "/left-1.0-py3-none-any.whl":
			_, _ = w.Write(wheel.Bytes())
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(index.Close)
	return index
}

// Functions and sessions have the packages that they pin, by whatever way they come.
func TestDependencies(t *testing.T) {
	if why := sandbox.NoConnect(); why != "" {
		t.Skip(why)
	}
	i := serve(t, "--pip-index-url", pipIndex(t).URL)
	body := func(members map[string]any) string {
		raw, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	pinned := map[string]string{"requirements.txt": "left==1.0"}
	const script = "import left\nresult = left.name"
	id := i.initializeAs(t, "python-own", map[string]any{"script_content": script, "dependencies": pinned})
	if got := i.execute(t, id, "null").result(t); got != `"left"` {
		t.Errorf("a session: %s", got)
	}
	i.must(t, 201, http.MethodPost, functionsPath, body(map[string]any{"language": "python", "title": "left", "script_content": script, "dependencies": pinned}))
	if got := i.must(t, 200, http.MethodPost, "/function/python-left", "").String(); got != `"left"` {
		t.Errorf("a function: %s", got)
	}
	if shown := i.must(t, 200, http.MethodGet, functionsPath+"/python-left", "").String(); !strings.Contains(shown, `"dependencies":{"requirements.txt":"left==1.0"}`) {
		t.Error(shown)
	}
	e := i.send(t, http.MethodPost, functionsPath, body(map[string]any{
		"language": "python", "title": "right", "script_content": script, "dependencies": map[string]string{"requirements.txt": "right==1.0"},
	})).isError(t, 422, "INITIALIZATION_ERROR", "runtime")
	if output, _ := e.Error.Details["output"].(string); !strings.Contains(output, "right==1.0") {
		t.Errorf("details %v", e.Error.Details)
	}
	i.send(t, http.MethodPost, functionsPath, body(map[string]any{
		"language": "rust", "title": "x", "script_content": "AA==", "dependencies": pinned, "compile_options": map[string]any{"target": "wasm32-wasip1"},
	})).isError(t, 400, "INVALID_REQUEST", "runtime")
	folder := testrig.Dir(t)
	for name, text := range map[string]string{"function.yaml": "name: deployed_left\n", "f.py": script, "requirements.txt": "left==1.0\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := i.cli(t, "", "deploy", folder); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	if got := i.must(t, 200, http.MethodPost, "/function/python-deployed_left", "").String(); got != `"left"` {
		t.Errorf("what was deployed: %s", got)
	}
}

func TestIndexSettings(t *testing.T) {
	for name, value := range map[string]string{"NPM_REGISTRY": "registry.npmjs.org", "PIP_INDEX_URL": "file:///tmp"} {
		if _, err := loadConfig(t, nil, map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), name+" is ") {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}
