package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Usage is what a folder holds.
type Usage struct {
	Bytes int64 // as the disk counts them
	Files int   // folders and links too; no more than some thousands are counted
	Depth int   // of folders in each other; no more than MaxDepth+1
}

const (
	// MaxDepth is how deep folders are counted.
	MaxDepth = 64
	// maxEntries is where counting ends: a folder that has more is over every bound.
	maxEntries = 10_000
	readAtOnce = 256 // names of a folder, which may have any number
)

// makeScratch makes a folder that is a user's alone; nil: ours.
func makeScratch(path string, owner *syscall.Credential) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make a scratch folder: %w", err)
	}
	if owner == nil {
		return nil
	}
	if err := os.Lchown(path, int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("give a scratch folder away: %w", err)
	}
	return nil
}

// openFolder opens a folder of a stranger's, and never what a link in its place names.
func openFolder(in int, name string) (*os.File, error) {
	fd, err := unix.Openat(in, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// usageOf counts what is in a folder. What cannot be read counts as one entry.
func usageOf(path string) (Usage, error) {
	var u Usage
	if path == "" {
		return u, nil
	}
	folder, err := openFolder(unix.AT_FDCWD, path)
	if err != nil {
		return u, fmt.Errorf("count a scratch folder: %w", err)
	}
	u.count(folder, 0)
	return u, nil
}

// count adds the entries of a folder, which it closes.
func (u *Usage) count(folder *os.File, depth int) {
	defer func() { _ = folder.Close() }()
	if u.Depth = max(u.Depth, depth); depth > MaxDepth {
		return
	}
	fd := int(folder.Fd())
	for u.Files <= maxEntries {
		names, err := folder.Readdirnames(readAtOnce)
		for _, name := range names {
			u.Files++
			var stat unix.Stat_t
			if unix.Fstatat(fd, name, &stat, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue
			}
			u.Bytes += stat.Blocks * 512 // stat(2)
			if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
				continue
			}
			if inner, err := openFolder(fd, name); err == nil {
				u.count(inner, depth+1)
			}
		}
		if err != nil {
			return // the end, as a rule
		}
	}
}

// emptyScratch removes what is in a folder, whatever its depth and its files' rights: what
// is in a folder of it is lifted up before that is removed, so that two are open at once.
func emptyScratch(path string) error {
	if path == "" {
		return nil
	}
	root, err := openFolder(unix.AT_FDCWD, path)
	if err != nil {
		return fmt.Errorf("empty a scratch folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	e := emptying{root: int(root.Fd())}
	if err := e.each(root, e.remove); err != nil {
		return fmt.Errorf("empty a scratch folder: %w", err)
	}
	return nil
}

type emptying struct {
	root   int
	lifted int // names given
}

// each calls f for all entries of a folder, which it takes out of it.
func (e *emptying) each(folder *os.File, f func(in int, name string) error) error {
	for {
		if _, err := folder.Seek(0, 0); err != nil {
			return err
		}
		names, err := folder.Readdirnames(readAtOnce)
		if len(names) == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		for _, name := range names {
			if err := f(int(folder.Fd()), name); err != nil {
				return err
			}
		}
	}
}

// remove removes an entry of the root, lifting up what is in it.
func (e *emptying) remove(in int, name string) error {
	if unix.Unlinkat(in, name, 0) == nil || unix.Unlinkat(in, name, unix.AT_REMOVEDIR) == nil {
		return nil
	}
	if err := openRights(in, name); err != nil {
		return err
	}
	folder, err := openFolder(in, name)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	if err := e.each(folder, e.lift); err != nil {
		return err
	}
	return unix.Unlinkat(in, name, unix.AT_REMOVEDIR)
}

// lift removes an entry, or moves it to the root.
func (e *emptying) lift(in int, name string) error {
	if unix.Unlinkat(in, name, 0) == nil || unix.Unlinkat(in, name, unix.AT_REMOVEDIR) == nil {
		return nil
	}
	if err := openRights(in, name); err != nil { // whose ".." changes
		return err
	}
	for {
		e.lifted++
		err := unix.Renameat2(in, name, e.root, fmt.Sprintf("lifted-%d", e.lifted), unix.RENAME_NOREPLACE)
		if err != unix.EEXIST {
			return err
		}
	}
}

// openRights lets us into a folder whose rights would keep us out.
func openRights(in int, name string) error {
	fd, err := unix.Openat(in, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o700) // of the folder itself: the name may be a link's by now
}
