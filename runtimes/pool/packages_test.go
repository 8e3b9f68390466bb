package pool_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
	"envoke/runtimes/sandbox"
)

// fakeLayers have folders that are there, by the one file that pins them.
type fakeLayers struct {
	dirs map[string]string
	mu   sync.Mutex // guards what follows
	used map[string]int
	err  error
}

func (f *fakeLayers) Use(_ context.Context, files map[string]string) (string, func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return "", nil, f.err
	}
	f.used[files["pin"]]++
	return f.dirs[files["pin"]], func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.used[files["pin"]]--
	}, nil
}

func (f *fakeLayers) uses(pin string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used[pin]
}

// newLayers has two layers, a and b, with a package in each language.
func newLayers(t *testing.T) *fakeLayers {
	t.Helper()
	f := &fakeLayers{dirs: map[string]string{}, used: map[string]int{}}
	for _, pin := range []string{"a", "b"} {
		dir := testrig.OpenDir(t)
		f.dirs[pin] = dir
		for path, content := range map[string]string{
			"node_modules/left/index.js":       "module.exports = require('inner') + ' of " + pin + "'",
			"node_modules/inner/index.js":      "module.exports = 'left'",
			"node_modules/modern/package.json": `{"name":"modern","type":"module","exports":"./main.js"}`,
			"node_modules/modern/main.js":      "export default 'modern of " + pin + "'",
			"packages/left/__init__.py":        "from .inner import name\nname += ' of " + pin + "'",
			"packages/left/inner.py":           "name = 'left'",
		} {
			path = filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return f
}

func dependent(language pool.Runtime, nodejs, python, pin string) pool.Work {
	w := workOf(language, nodejs, python, "o")
	if pin != "" {
		w.Script = w.Script.With(json.RawMessage(`{"pin":"` + pin + `"}`))
	}
	return w
}

func TestPackages(t *testing.T) {
	for _, own := range []bool{false, true} {
		for _, language := range []pool.Runtime{pool.JavaScript(t), pythonFor(t, own)} {
			t.Run(fmt.Sprintf("%s, users of their own %v", language.Language, own), func(t *testing.T) {
				layers := newLayers(t)
				walls := sandbox.Config{Files: language.Files(), Scratch: testrig.OpenDir(t)}
				if own {
					if why := walls.NoUsers(); why != "" {
						t.Skip(why)
					}
					walls.Users = map[faas.Language]int{faas.NodeJS: 61184, faas.Python: 63232}[language.Language]
				}
				p := pool.New(pool.Options{Runtime: language, Sandbox: walls, Idle: 1, Layers: layers})
				testrig.Serve(t, p.Serve)
				other, _ := json.Marshal(filepath.Join(layers.dirs["b"], "packages/left/inner.py"))
				for _, test := range []struct{ nodejs, python, pin, want string }{
					{"return require('left')", "import left\nresult = left.name", "a", `"left of a"`},
					{"return require('left')", "import left\nresult = left.name", "b", `"left of b"`},
					{"return (await import('modern')).default", "result = 'modern of a'", "a", `"modern of a"`},
					{"import left from 'left'; import { sep } from 'path'; export default () => left + sep", "import left\ndef handle(p): return left.name + '/'", "a", `"left of a/"`},
					{"return require('fs').readFileSync(event.params)", "open(params)", "a", "EACCES Permission denied"},
					{"require('fs').writeFileSync(require.main ?? event.params, '')", "import left\nopen(left.__file__, 'w')", "a", "EACCES Permission denied"},
					{"return require('left')", "import left", "", "Cannot find module 'left' No module named 'left'"},
					{"return require('../left')", "from . import left", "a", "Cannot find module attempted relative import"},
					{"return require('absent')", "import absent", "a", "Cannot find module 'absent' No module named 'absent'"},
				} {
					work := dependent(language, test.nodejs, test.python, test.pin)
					result, err := p.Invoke(t.Context(), work, invocation(string(other)))
					got := string(result.JSON)
					if err != nil {
						got = faas.AsError(err).Message
					}
					if got != test.want && (err == nil || !saysOneOf(got, test.want)) {
						t.Errorf("%+v: got %s, want %s", test, got, test.want)
					}
				}
				if layers.uses("a") == 0 {
					t.Error("the layer of workers that live may be removed")
				}
			})
		}
	}
}

// saysOneOf tells whether the text has the beginning or the end of what is wanted, which are
// the languages' words.
func saysOneOf(text, want string) bool {
	for i := range want {
		if want[i] == ' ' && (strings.Contains(text, want[:i]) && i > 5 || strings.Contains(text, want[i+1:])) {
			return true
		}
	}
	return false
}

// A layer is given back when its workers have ended, and so are the cells that saw it.
func TestPackagesAreGivenBack(t *testing.T) {
	language, layers := pool.JavaScript(t), newLayers(t)
	p := pool.New(pool.Options{Runtime: language, Sandbox: sandbox.Config{Scratch: testrig.OpenDir(t)}, Layers: layers})
	testrig.Serve(t, p.Serve)
	for range 3 {
		_, err := p.Invoke(t.Context(), dependent(language, "require('left'); process.exit(3)", "", "a"), invocation("{}"))
		if faas.AsError(err).Code != faas.RuntimeError {
			t.Fatal(err)
		}
		testrig.Eventually(t, "the layer is given back", func() bool { return layers.uses("a") == 0 })
	}
}

func TestPackagesThatCannotBeHad(t *testing.T) {
	language, layers := pool.JavaScript(t), newLayers(t)
	for name, test := range map[string]struct {
		layers pool.Layers
		want   faas.Code
	}{
		"none are installed here": {nil, faas.Unavailable},
		"they do not install":     {layers, faas.InitializationError},
	} {
		t.Run(name, func(t *testing.T) {
			layers.err = &faas.Error{Code: faas.InitializationError, Message: "no such package"}
			p := pool.New(pool.Options{Runtime: language, Sandbox: sandbox.Config{Scratch: testrig.OpenDir(t)}, Layers: test.layers})
			testrig.Serve(t, p.Serve)
			work := dependent(language, "return 1", "", "a")
			if _, err := p.Invoke(t.Context(), work, invocation("{}")); faas.AsError(err).Code != test.want {
				t.Errorf("Invoke: %v", err)
			}
			if err := p.Load(t.Context(), work); faas.AsError(err).Code != test.want {
				t.Errorf("Load: %v", err)
			}
		})
	}
}
