// Package disk bounds folders of what can be made again.
package disk

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Sweep removes the oldest files below dir until limit bytes are left. Two processes may
// share the folder.
func Sweep(dir string, limit int64) error {
	var files []fs.FileInfo
	paths := map[fs.FileInfo]string{}
	var total int64
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreMissing(err)
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		files, total = append(files, info), total+info.Size()
		paths[info] = path
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return cmp.Compare(a.ModTime().UnixNano(), b.ModTime().UnixNano()) })
	for _, file := range files {
		if total <= limit {
			return nil
		}
		if err := ignoreMissing(os.Remove(paths[file])); err != nil {
			return err
		}
		total -= file.Size()
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
