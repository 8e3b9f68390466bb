package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// Envoke is an installation of a run's own.
type Envoke struct {
	URL   string // of Envoy's public port
	Admin string // Unix socket of Envoy's admin interface

	command *exec.Cmd
}

var greeting = regexp.MustCompile(`listens on (http://\S+) `)

// Start runs envoke serve with its folders below dir, and more arguments, and waits until it
// listens.
func Start(ctx context.Context, binary, dir string, more []string) (*Envoke, error) {
	server := exec.CommandContext(ctx, binary, slices.Concat([]string{
		"serve", "--port", "0", "--admin-port", "0", "--log-level", "warn",
		"--data-dir", filepath.Join(dir, "data"), "--run-dir", filepath.Join(dir, "run"),
	}, more)...)
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	server.Stderr = os.Stderr
	stdout, err := server.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (make build makes it)", binary, err)
	}
	var text strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := stdout.Read(buffer)
		text.Write(buffer[:n])
		if found := greeting.FindStringSubmatch(text.String()); found != nil {
			return &Envoke{URL: found[1], Admin: filepath.Join(dir, "run", "envoy-admin.sock"), command: server}, nil
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s ended before it listened: %s", binary, text.String()), server.Wait())
		}
	}
}

// Process is the process id of envoke serve.
func (e *Envoke) Process() int { return e.command.Process.Pid }

// Stop ends it, with all that it has started.
func (e *Envoke) Stop() {
	_ = e.command.Process.Signal(syscall.SIGTERM)
	_ = e.command.Wait()
}
