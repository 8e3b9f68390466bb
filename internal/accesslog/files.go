package accesslog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// files are the files of one log. Envoy is told to write to path, such as
// access.log; but that is a symbolic link to the file that really is written:
//
//	access.log -> access.log.1763834873123456789
//
// A file keeps its name from its first byte to its deletion and no name is used
// twice (it is the time in nanoseconds). The store keeps, in one transaction with
// the rows of some lines, how far the file of that name has been read. So there is
// no step at which an offset moves to another name, and none at which being killed
// leaves an offset that belongs to another file:
//
//   - killed before or in a transaction: the lines are read again, and count once.
//   - killed after it: the offset says so.
//   - Rotating replaces the link, in one rename, by one to a name that does not
//     exist yet. Killed before: nothing happened. Killed after it, before Envoy was
//     asked to open path again: Envoy goes on writing the file that it has open,
//     which goes on being read; it is still full and Envoy is asked again.
//   - Envoy, opening path, creates the file that the link names. It closes the one
//     before it first. So once a younger file exists, nothing is added to an older
//     one: it is read to its end, deleted, and its offset is forgotten. Killed in
//     between: it is read from its offset, its end, and deleted; or the offset of a
//     file that is gone stays as a row that nobody reads.
//   - A plain file at path was written by an Envoy that found no link, and was
//     never read under that name: it is given a name of its own, and read from its
//     start.
//
// A file that somebody else deletes while it is open here is read on, and Envoy is
// made to begin another: see followDeleted.
//
// An Envoy that outlives control goes on undisturbed, and so does one that does not:
// the file that it leaves is read and finished like any other.
type files struct {
	path string
}

// list returns the names of the existing files, oldest first.
func (f files) list() ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("list log files: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if f.number(entry.Name()) > 0 {
			names = append(names, entry.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(f.number(a), f.number(b)) })
	return names, nil
}

// number is the time in a file's name; 0 for files that are not the log's.
func (f files) number(name string) int64 {
	digits, ok := strings.CutPrefix(name, filepath.Base(f.path)+".")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n <= 0 || strconv.FormatInt(n, 10) != digits {
		return 0
	}
	return n
}

func (f files) in(name string) string { return filepath.Join(filepath.Dir(f.path), name) }

// fresh is a name younger than all that exist, also where the clock was set back.
func (f files) fresh() (string, error) {
	names, err := f.list()
	if err != nil {
		return "", err
	}
	n := time.Now().UnixNano()
	if len(names) > 0 {
		n = max(n, f.number(names[len(names)-1])+1)
	}
	return filepath.Base(f.path) + "." + strconv.FormatInt(n, 10), nil
}

// rotate makes the link name a file that does not exist yet.
func (f files) rotate() error {
	if err := f.adopt(); err != nil {
		return fmt.Errorf("rotate %s: %w", f.path, err)
	}
	if target, err := os.Readlink(f.path); err == nil && f.number(target) > 0 {
		if _, err := os.Lstat(f.in(target)); errors.Is(err, fs.ErrNotExist) {
			return nil // the last rotation still waits for Envoy
		}
	}
	if err := f.link(); err != nil {
		return fmt.Errorf("rotate %s: %w", f.path, err)
	}
	return nil
}

// adopt gives a plain file at path a name of its own.
func (f files) adopt() error {
	stat, err := os.Lstat(f.path)
	if err != nil || !stat.Mode().IsRegular() {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	name, err := f.fresh()
	if err != nil {
		return err
	}
	return os.Rename(f.path, f.in(name))
}

func (f files) link() error {
	name, err := f.fresh()
	if err != nil {
		return err
	}
	next := f.path + ".next"
	err = os.Symlink(name, next)
	if errors.Is(err, syscall.EEXIST) { // left by a rotation that was killed
		if err = os.Remove(next); err == nil {
			err = os.Symlink(name, next)
		}
	}
	if err != nil {
		return err
	}
	return os.Rename(next, f.path)
}
