package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Usage is what a folder holds.
type Usage struct {
	Bytes int64 // as the disk counts them
	Files int   // folders and links too
}

const (
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

// usageOf counts what is in a folder of a stranger's, up to maxEntries. It follows no
// links. What cannot be read, or is gone by now, counts as one entry.
func usageOf(path string) (Usage, error) {
	var u Usage
	if path == "" {
		return u, nil
	}
	if _, err := os.Lstat(path); err != nil {
		return u, fmt.Errorf("count a scratch folder: %w", err)
	}
	for todo := []string{path}; len(todo) > 0 && u.Files <= maxEntries; {
		last := len(todo) - 1
		folder := todo[last]
		todo = u.add(todo[:last], folder)
	}
	return u, nil
}

// add counts the entries of one folder, and appends the folders among them.
func (u *Usage) add(todo []string, path string) []string {
	folder, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_DIRECTORY, 0)
	if err != nil {
		return todo
	}
	defer func() { _ = folder.Close() }()
	for u.Files <= maxEntries {
		entries, err := folder.ReadDir(readAtOnce)
		for _, entry := range entries {
			u.Files++
			if info, err := entry.Info(); err == nil {
				u.Bytes += sizeOf(info)
			}
			if entry.IsDir() {
				todo = append(todo, filepath.Join(path, entry.Name()))
			}
		}
		if err != nil {
			break // the end, as a rule
		}
	}
	return todo
}

func sizeOf(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512 // stat(2)
	}
	return info.Size()
}

// emptyScratch removes what is in a folder, whatever rights its files have.
func emptyScratch(path string) error {
	if path == "" {
		return nil
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return fmt.Errorf("open a scratch folder: %w", err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("read a scratch folder: %w", err)
	}
	for _, entry := range entries {
		name := filepath.Join(path, entry.Name())
		if os.RemoveAll(name) == nil {
			continue
		}
		openFolders(name)
		if err := os.RemoveAll(name); err != nil {
			return fmt.Errorf("empty a scratch folder: %w", err)
		}
	}
	return nil
}

// openFolders makes folders readable whose rights would keep us from removing them.
// Nobody lives in there any more who could put a link in their place.
func openFolders(path string) {
	_ = filepath.WalkDir(path, func(name string, entry fs.DirEntry, _ error) error {
		if entry != nil && entry.IsDir() {
			_ = os.Chmod(name, 0o700) //nolint:gosec // nobody is left in there
		}
		return nil
	})
}
