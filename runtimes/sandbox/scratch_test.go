package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"envoke/internal/testrig"
)

// Without a scratch folder there is nothing that a program could write to.
func TestNoScratch(t *testing.T) {
	s := spawner(t, Config{Files: Files{Programs: []string{nodePath(t)}}})
	got := output(t, s, node(t, `try { fs.writeFileSync("x", "") } catch (e) { console.log(e.code, process.cwd()) }`))
	if strings.TrimSpace(got) != "EACCES /" {
		t.Errorf("got %s", got)
	}
}

// What one program leaves in its folder, the next one there does not find.
func TestScratchIsEmptied(t *testing.T) {
	s := spawnerOf(t, Config{}, nodePath(t))
	const fill = `fs.mkdirSync("closed"); fs.writeFileSync("closed/file", "x".repeat(10000)); process.umask(0o777); fs.mkdirSync("shut"); fs.symlinkSync("/", "root");
		fs.readSync(3, Buffer.alloc(1))`
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Start(Program{Argv: node(t, fill).Argv, Files: []*os.File{r}})
	if err != nil {
		t.Fatal(err)
	}
	testrig.Succeeds(t, func() error {
		if u, err := p.Scratch(); err != nil || u.Files < 2 {
			return fmt.Errorf("it holds %+v, %w", u, err)
		}
		return nil
	})
	_ = errors.Join(w.Close(), r.Close())
	folder := p.cell.scratch
	if state := p.Wait(); !state.Success() {
		t.Fatal(state)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	if got := output(t, s, node(t, `console.log(process.cwd())`)); strings.TrimSpace(got) != folder {
		t.Errorf("the next one has %s, want %s", got, folder)
	}
}

func TestScratchIsCounted(t *testing.T) {
	s := spawnerOf(t, Config{}, nodePath(t))
	p, err := s.Start(node(t, `fs.writeFileSync("a", "x".repeat(100000)); fs.mkdirSync("b"); setInterval(() => {}, 1000)`))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Wait()
	defer func() { _ = p.Kill() }()
	testrig.Succeeds(t, func() error {
		if u, err := p.Scratch(); err != nil || u.Files != 2 || u.Bytes < 100_000 || u.Bytes > 200_000 {
			return fmt.Errorf("it holds %+v, %w", u, err)
		}
		return nil
	})
}

// openTempDir is a folder that all users may pass through.
func openTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "envoke-sandbox-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
