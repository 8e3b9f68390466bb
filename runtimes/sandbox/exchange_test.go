package sandbox

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What is allowed children may start what it may run, and nothing else; they are in its group,
// behind its walls.
func TestChildren(t *testing.T) {
	s := spawnerOf(t, Config{Children: true}, itself)
	if got := output(t, s, Program{Argv: []string{itself, parent}}); !strings.HasPrefix(got, "<nil>") {
		t.Errorf("no child was started: %s", got)
	}
	for call, want := range map[string]string{"setsid": "1", "unshare": "1", "kill": "1", "socket": "1"} {
		if got := output(t, s, Program{Argv: []string{itself, probe, call}}); !strings.Contains(got, `"`+call+`":`+want) {
			t.Errorf("%s: %s", call, got)
		}
	}
}

// A process finds its input, and what it leaves can be read until it is waited for.
func TestFilesInAndOut(t *testing.T) {
	s := spawnerOf(t, Config{}, nodePath(t))
	program := node(t, `
		const fs = require('fs')
		fs.writeFileSync('out', fs.readFileSync('in').reverse())
		fs.symlinkSync('/etc/passwd', 'link'); fs.mkdirSync('folder')`)
	program.Input = map[string][]byte{"in": []byte("abc")}
	p, err := s.Start(program)
	if err != nil {
		t.Fatal(err)
	}
	p.Exited()
	if got, err := p.ReadFile("out", 2); err != nil || string(got) != "cb" {
		t.Errorf("%q, %v", got, err)
	}
	for name, want := range map[string]error{"link": unix.ELOOP, "folder": errNoFile, "missing": os.ErrNotExist} {
		if _, err := p.ReadFile(name, 2); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if state, err := p.Wait(); err != nil || !state.Success() {
		t.Fatal(state, err)
	}
	// The next one in the same folder finds nothing of it.
	if got := output(t, s, node(t, "console.log(require('fs').readdirSync('.').length)")); strings.TrimSpace(got) != "0" {
		t.Errorf("%s files are left", got)
	}
}
