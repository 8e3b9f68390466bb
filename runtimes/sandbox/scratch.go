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

// maxEntries is where counting ends: a folder that has more is over every bound.
const maxEntries = 10_000

// errCounted ends a walk early.
var errCounted = errors.New("counted enough")

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
// links. A folder whose rights keep us out is counted as one entry.
func usageOf(path string) (Usage, error) {
	var u Usage
	if path == "" {
		return u, nil
	}
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if name == path || err != nil && entry == nil {
			return err
		}
		if u.Files++; u.Files > maxEntries {
			return errCounted
		}
		if info, err := entry.Info(); err == nil {
			u.Bytes += sizeOf(info)
		}
		if err != nil {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil && !errors.Is(err, errCounted) {
		return u, fmt.Errorf("count a scratch folder: %w", err)
	}
	return u, nil
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
