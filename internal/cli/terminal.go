package cli

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// lookAround is how often, in milliseconds, who waits for a person looks whether to go on.
const lookAround = 100

// readHidden reads a line from a terminal that does not show it. It ends with the context, so
// that Ctrl-C leaves a terminal behind that shows what is typed.
func readHidden(ctx context.Context, fd int) (line string, err error) {
	shown, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", fmt.Errorf("read from the terminal: %w", err)
	}
	hidden := *shown
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", fmt.Errorf("read from the terminal: %w", err)
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(fd, unix.TCSETS, shown)) }()
	waits := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		n, err := unix.Poll(waits, lookAround)
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && n == 0:
			continue
		case err != nil:
			return "", fmt.Errorf("read from the terminal: %w", err)
		}
		buffer := make([]byte, maxKeyFile) // a terminal gives a whole line
		read, err := unix.Read(fd, buffer)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return "", fmt.Errorf("read from the terminal: %w", err)
		}
		if err == nil {
			return string(buffer[:max(read, 0)]), nil
		}
	}
	return "", ctx.Err()
}
