package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"envoke/internal/testrig"
)

// Without a scratch folder there is nothing that a program could write to.
func TestNoScratch(t *testing.T) {
	needFiles(t)
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
	if state, err := p.Wait(); err != nil || !state.Success() {
		t.Fatal(state, err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	if got := output(t, s, node(t, `console.log(process.cwd())`)); strings.TrimSpace(got) != folder {
		t.Errorf("the next one has %s, want %s", got, folder)
	}
}

// However deep folders are, emptying opens two at once, and counting ends.
func TestDeepFoldersAreEmptied(t *testing.T) {
	dir := t.TempDir()
	folder, err := openFolder(unix.AT_FDCWD, dir)
	for i := range 2000 { // deeper than any path may be long
		if err != nil {
			t.Fatal(err)
		}
		fd := int(folder.Fd())
		err = errors.Join(unix.Mkdirat(fd, "d", 0o700), unix.Mkdirat(fd, fmt.Sprint("lifted-", i), 0o700))
		inner, failed := openFolder(fd, "d")
		err = errors.Join(err, failed, folder.Close())
		folder = inner
	}
	_ = folder.Close()
	if u, err := usageOf(dir); err != nil || u.Depth <= MaxDepth {
		t.Errorf("usage %+v, %v", u, err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 100
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	err = emptyScratch(dir)
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if left, _ := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, and %d are left", err, len(left))
	}
}

// A link in a folder's place is not followed.
func TestEmptyingFollowsNoLinks(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Chmod(other, 0o755), os.Symlink(other, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	if err := openRights(unix.AT_FDCWD, filepath.Join(dir, "link")); err == nil {
		t.Error("the rights of what a link names were opened")
	}
	if err := emptyScratch(dir); err != nil {
		t.Fatal(err)
	}
	if stat, err := os.Stat(other); err != nil || stat.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", stat, err)
	}
}

func TestRemovedFilesAreCounted(t *testing.T) {
	p := running(t, `const f = fs.openSync("f", "w"); fs.unlinkSync("f"); fs.writeSync(f, "x".repeat(1e6))`)
	testrig.Succeeds(t, func() error {
		if u, err := p.Scratch(); err != nil || u.Files != 0 || u.Bytes < 1e6 {
			return fmt.Errorf("it holds %+v, %w", u, err)
		}
		return nil
	})
	if size, headless := p.Memory(); size < 10<<20 || headless {
		t.Errorf("memory %d, headless %v", size, headless)
	}
}

func TestScratchIsCounted(t *testing.T) {
	p := running(t, `fs.writeFileSync("a", "x".repeat(100000)); fs.mkdirSync("b")`)
	testrig.Succeeds(t, func() error {
		if u, err := p.Scratch(); err != nil || u.Files != 2 || u.Bytes < 100_000 || u.Bytes > 200_000 {
			return fmt.Errorf("it holds %+v, %w", u, err)
		}
		return nil
	})
}
