package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// errNoFile is that a process left no file of the name.
var errNoFile = errors.New("it is no regular file")

// putFiles writes files into an empty scratch folder, for others to read.
func putFiles(scratch string, files map[string][]byte) error {
	for name, content := range files {
		if err := putFile(scratch, name, content); err != nil {
			return fmt.Errorf("write %s into a scratch folder: %w", name, err)
		}
	}
	return nil
}

func putFile(scratch, name string, content []byte) error {
	folder, err := openFolder(unix.AT_FDCWD, scratch)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	fd, err := unix.Openat(int(folder.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), name)
	_, err = file.Write(content)
	return errors.Join(err, file.Chmod(0o644), file.Close()) // whatever our umask is
}

// ReadFile reads a file that the process left in its scratch folder: no link, and at most
// limit bytes of it. It must not have been waited for yet: after that the folder is empty.
func (p *Process) ReadFile(name string, limit int64) ([]byte, error) {
	folder, err := openFolder(unix.AT_FDCWD, p.cell.scratch)
	if err != nil {
		return nil, fmt.Errorf("read %s in a scratch folder: %w", name, err)
	}
	defer func() { _ = folder.Close() }()
	// Opening a pipe that nobody writes to would not end.
	fd, err := unix.Openat(int(folder.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s in a scratch folder: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		return nil, fmt.Errorf("read %s in a scratch folder: %w", name, err)
	}
	return io.ReadAll(io.LimitReader(file, limit))
}
