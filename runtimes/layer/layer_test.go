package layer

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/egress"
	"envoke/runtimes/nodejs"
	"envoke/runtimes/python"
	"envoke/runtimes/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// index is a package index of both languages, with one package in it: left.
type index struct {
	*httptest.Server
	tarball, wheel []byte
	asked          atomic.Int32
	hold           chan struct{} // closed: answers are given
}

func newIndex(t *testing.T) *index {
	t.Helper()
	i := &index{tarball: tarballOf(t), wheel: wheelOf(t), hold: make(chan struct{})}
	close(i.hold)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		select {
		case <-i.hold:
		case <-r.Context().Done():
		}
		switch r.URL.Path {
		case "/left/-/left-1.0.0.tgz":
			_, _ = w.Write(i.tarball)
		case "/left/left-1.0-py3-none-any.whl":
			_, _ = w.Write(i.wheel)
		case "/left/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprint(w, `<a href="/left/left-1.0-py3-none-any.whl">left-1.0-py3-none-any.whl</a>`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(i.Close)
	return i
}

func tarballOf(t *testing.T) []byte {
	t.Helper()
	var raw bytes.Buffer
	zipped := gzip.NewWriter(&raw)
	files := tar.NewWriter(zipped)
	for name, content := range map[string]string{
		"package/package.json": `{"name":"left","version":"1.0.0","main":"index.js","scripts":{"install":"exit 1"},"bin":"index.js"}`,
		"package/index.js":     "module.exports = 'left of npm';",
	} {
		if err := files.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

func wheelOf(t *testing.T) []byte {
	t.Helper()
	var raw bytes.Buffer
	files := zip.NewWriter(&raw)
	for _, file := range [][2]string{
		{"left.py", "name = 'left of pip'\n"},
		{"left-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: left\nVersion: 1.0\n"},
		{"left-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"left-1.0.dist-info/RECORD", "left.py,,\nleft-1.0.dist-info/METADATA,,\nleft-1.0.dist-info/WHEEL,,\nleft-1.0.dist-info/RECORD,,\n"},
	} {
		w, err := files.Create(file[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(file[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

// lock pins left, at an address.
func (i *index) lock(url string) map[string]string {
	sum := sha512.Sum512(i.tarball)
	return map[string]string{
		"package.json": `{"name":"f","version":"1.0.0","dependencies":{"left":"1.0.0"}}`,
		"package-lock.json": fmt.Sprintf(`{"name":"f","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{
			"":{"name":"f","version":"1.0.0","dependencies":{"left":"1.0.0"}},
			"node_modules/left":{"version":"1.0.0","resolved":%q,"integrity":"sha512-%s","hasInstallScript":true}}}`,
			url+"/left/-/left-1.0.0.tgz", base64.StdEncoding.EncodeToString(sum[:])),
	}
}

func requirements(text string) map[string]string { return map[string]string{"requirements.txt": text} }

// open opens layers of a language that come from the index.
func (i *index) open(t *testing.T, language faas.Language, change func(*Options)) *Layers {
	t.Helper()
	if why := sandbox.NoConnect(); why != "" {
		t.Skip(why)
	}
	rules, err := egress.ParseRules(i.Listener.Addr().String(), "*")
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := egress.Open(t.Context(), egress.Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, proxy.Serve)
	opt := Options{Language: language, Dir: filepath.Join(testrig.OpenDir(t), "layers"), Tool: toolOf(t, language, i.URL), Egress: proxy}
	if change != nil {
		change(&opt)
	}
	l, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func toolOf(t *testing.T, language faas.Language, url string) Tool {
	t.Helper()
	if language == faas.Python {
		found, err := python.Find(t.Context(), os.Getenv("PYTHON"))
		if err != nil {
			t.Fatal(err)
		}
		tool := Pip(found.Path, found.Version, url)
		tool.Read = append(tool.Read, found.Files...)
		return tool
	}
	found, err := nodejs.Find(t.Context(), os.Getenv("NODE"))
	if err != nil {
		t.Fatal(err)
	}
	npm, err := exec.LookPath("npm")
	if err == nil {
		npm, err = filepath.EvalSymlinks(npm)
	}
	if err != nil {
		t.Skip("npm is needed: ", err)
	}
	tool := NPM(found.Path, npm, found.Version, url)
	tool.Read = append(append(tool.Read, found.Files...), filepath.Dir(filepath.Dir(npm)))
	return tool
}

func TestInstalls(t *testing.T) {
	i := newIndex(t)
	sum := sha256.Sum256(i.wheel)
	for _, test := range []struct {
		name     string
		language faas.Language
		files    map[string]string
		want     string // a file of the layer
	}{
		{"npm", faas.NodeJS, i.lock(i.URL), "node_modules/left/index.js"},
		{"pip", faas.Python, requirements("left==1.0"), "packages/left.py"},
		{"pip, by hashes", faas.Python, requirements("left==1.0 --hash=sha256:" + hex.EncodeToString(sum[:])), "packages/left.py"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := i.open(t, test.language, nil)
			dir, release, err := l.Use(t.Context(), test.files)
			if err != nil {
				t.Fatalf("%v %v", err, faas.AsError(err).Details["output"])
			}
			defer release()
			if _, err := os.Stat(filepath.Join(dir, test.want)); err != nil {
				t.Error(err)
			}
			// Once for all, and for the next process.
			asked := i.asked.Load()
			again, err := Open(l.opt)
			if err != nil {
				t.Fatal(err)
			}
			for _, layers := range []*Layers{l, again} {
				same, release, err := layers.Use(t.Context(), test.files)
				if err != nil || same != dir {
					t.Errorf("the second time: %s, %v", same, err)
					continue
				}
				release()
			}
			if i.asked.Load() != asked {
				t.Error("the index was asked again")
			}
		})
	}
}

func TestFailures(t *testing.T) {
	i := newIndex(t)
	elsewhere := httptest.NewServer(i.Config.Handler)
	defer elsewhere.Close()
	for _, test := range []struct {
		name     string
		language faas.Language
		files    map[string]string
		code     faas.Code
		want     string // a part of the message or of the tool's words
	}{
		{"another integrity", faas.NodeJS, map[string]string{
			"package.json":      i.lock(i.URL)["package.json"],
			"package-lock.json": strings.Replace(i.lock(i.URL)["package-lock.json"], "sha512-", "sha512-AAAA", 1),
		}, faas.InitializationError, "EINTEGRITY"},
		{"a lock of something else", faas.NodeJS, map[string]string{"package.json": `{"dependencies":{"right":"1"}}`, "package-lock.json": i.lock(i.URL)["package-lock.json"]}, faas.InitializationError, "E404"},
		{"another index than the operator's", faas.NodeJS, i.lock(elsewhere.URL), faas.InitializationError, "403"},
		{"another hash", faas.Python, requirements("left==1.0 --hash=sha256:" + strings.Repeat("0", 64)), faas.InitializationError, "DO NOT MATCH"},
		{"no hash beside one", faas.Python, requirements("left==1.0 --hash=sha256:" + strings.Repeat("0", 64) + "\nright==1.0"), faas.InitializationError, "require"},
		{"an unknown package", faas.Python, requirements("right==1.0"), faas.InitializationError, "right"},
		{"a file of the machine's", faas.Python, requirements("-r /etc/passwd"), faas.InitializationError, "/etc/passwd"},
		{"no lock", faas.NodeJS, map[string]string{"package.json": "{}"}, faas.InvalidRequest, "dependencies.package-lock.json is missing"},
		{"another file", faas.Python, map[string]string{"requirements.txt": "x", "setup.py": "x"}, faas.InvalidRequest, "dependencies.setup.py is not known here: the members are requirements.txt"},
		{"too much", faas.Python, requirements(strings.Repeat("#", maxPinned+1)), faas.PayloadTooLarge, "1048576"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := i.open(t, test.language, nil)
			_, _, err := l.Use(t.Context(), test.files)
			e := faas.AsError(err)
			if err == nil || e.Code != test.code || !strings.Contains(e.Message+fmt.Sprint(e.Details["output"]), test.want) {
				t.Errorf("got %v %v, want %s %q", err, e.Details, test.code, test.want)
			}
			if left, _ := os.ReadDir(l.opt.Dir); len(left) > 0 {
				t.Errorf("%v are left", left)
			}
		})
	}
}

// The files are installed once for all who want them at once.
func TestTogether(t *testing.T) {
	i := newIndex(t)
	i.hold = make(chan struct{})
	l := i.open(t, faas.Python, nil)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			_, release, err := l.Use(t.Context(), requirements("left==1.0"))
			if err != nil {
				t.Error(err)
				return
			}
			release()
		})
	}
	testrig.Eventually(t, "the index is asked", func() bool { return i.asked.Load() == 1 })
	close(i.hold)
	all.Wait()
	if got := i.asked.Load(); got != 2 { // for the page and for the wheel
		t.Errorf("the index was asked %d times", got)
	}
}

func TestBounds(t *testing.T) {
	i := newIndex(t)
	i.hold = make(chan struct{}) // never answers
	l := i.open(t, faas.Python, func(opt *Options) { opt.Timeout, opt.Queue = 3*time.Second, 1 })
	errs := make(chan error, 3)
	for n := range 3 {
		go func() {
			_, _, err := l.Use(t.Context(), requirements(fmt.Sprintf("left==1.%d", n)))
			errs <- err
		}()
	}
	got := map[faas.Code]int{}
	for range 3 {
		got[faas.AsError(<-errs).Code]++
	}
	if got[faas.RateLimited] != 1 || got[faas.InitializationError] != 2 {
		t.Errorf("got %v", got)
	}
}

func TestEviction(t *testing.T) {
	i := newIndex(t)
	l := i.open(t, faas.Python, func(opt *Options) { opt.MaxAll = 1 })
	use := func(text string) (string, func()) {
		t.Helper()
		dir, release, err := l.Use(t.Context(), requirements(text))
		if err != nil {
			t.Fatal(err)
		}
		return dir, release
	}
	first, release := use("left==1.0")
	second, releaseSecond := use("left==1.0 # again")
	if _, err := os.Stat(first); err != nil {
		t.Error("a layer in use was removed")
	}
	release()
	releaseSecond()
	third, releaseThird := use("left==1.0 # and again")
	defer releaseThird()
	for dir, want := range map[string]bool{first: false, second: false, third: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	i := newIndex(t)
	l := i.open(t, faas.Python, func(opt *Options) { opt.MaxFiles = 1 })
	_, _, err := l.Use(t.Context(), requirements("left==1.0"))
	if e := faas.AsError(err); err == nil || !strings.Contains(e.Message, "more than 1 files") {
		t.Errorf("got %v", err)
	}
}
