package envoy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long Envoy has to end after SIGTERM before it is killed.
const stopGrace = 5 * time.Second

// Options says how to run Envoy.
type Options struct {
	Binary      string // an Envoy that Check accepts
	Bootstrap   Bootstrap
	Dir         string   // an existing folder for the bootstrap file
	WorkDir     string   // where Envoy runs, absolute; empty: where this process does
	Secrets     *Secrets // for controls on other machines; nil: none
	Concurrency int      // worker threads; 0: one per core
	LogLevel    string   // Envoy's own: trace … critical; empty: warning
	Logger      *slog.Logger
}

// Process is one child Envoy. Serve runs it; the other methods may be called from
// other goroutines meanwhile.
type Process struct {
	options Options
	admin   admin
	log     *logWriter
	exited  chan struct{} // closed when Serve returns

	mu  sync.Mutex // guards what follows
	err error      // why it ended; read after exited is closed
	pid int
}

// New makes a process that Serve starts.
func New(o Options) *Process {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.LogLevel == "" {
		o.LogLevel = "warning"
	}
	return &Process{
		options: o,
		admin:   newAdmin(o.Bootstrap.AdminSocket),
		log:     &logWriter{logger: o.Logger.With("component", "envoy")},
		exited:  make(chan struct{}),
	}
}

// Serve starts Envoy and waits for it. When ctx ends, Envoy is stopped and Serve
// returns nil: requests in flight are lost unless Drain came first. An Envoy that
// ends by itself is an error. Serve may be called once.
func (p *Process) Serve(ctx context.Context) (err error) {
	defer func() {
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		p.admin.close()
		close(p.exited)
	}()
	// The kernel kills the child when the thread that started it ends: keep it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd, err := p.command()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Envoy: %w", err)
	}
	p.mu.Lock()
	p.pid = cmd.Process.Pid
	p.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		p.log.flush()
		return p.unexpected(err)
	case <-ctx.Done():
		p.log.stopping()
		stop(cmd, done)
		p.log.flush()
		return nil
	}
}

// PID is that of the child; 0: it has not been started.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

func (p *Process) command() (*exec.Cmd, error) {
	bootstrap, err := p.options.Bootstrap.YAML()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(p.options.Dir, "bootstrap.yaml")
	if err := os.WriteFile(path, bootstrap, 0o600); err != nil {
		return nil, fmt.Errorf("bootstrap Envoy: %w", err)
	}
	if p.options.Secrets != nil {
		if err := p.options.Secrets.write(p.options.WorkDir); err != nil {
			return nil, err
		}
	}
	args := []string{
		"--config-path", path,
		"--disable-hot-restart", // its shared memory admits one Envoy per machine
		"--file-flush-interval-msec", "100",
		// A drain closes each connection after its next answer, not some of them.
		"--drain-time-s", "1", "--drain-strategy", "immediate",
		"--log-level", p.options.LogLevel,
		"--log-format", logFormat, "--log-format-escaped",
	}
	if p.options.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(p.options.Concurrency))
	}
	cmd := exec.Command(p.options.Binary, args...) //nolint:noctx // ended by stop, which asks first
	cmd.Dir = p.options.WorkDir
	cmd.Stdout, cmd.Stderr = p.log, p.log
	// An own group: the terminal's Ctrl-C is for us, who drain first.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

func (p *Process) unexpected(err error) error {
	status := "status 0"
	if err != nil {
		status = err.Error()
	}
	if last := p.log.lastFault(); last != "" {
		return fmt.Errorf("Envoy ended by itself (%s): %s", status, last) //nolint:staticcheck // a name
	}
	return fmt.Errorf("Envoy ended by itself (%s)", status) //nolint:staticcheck // a name
}

func stop(cmd *exec.Cmd, done <-chan error) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
		return
	case <-time.After(stopGrace):
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	<-done
}

// WaitReady waits until Envoy serves what control gave it. It fails when ctx ends
// or Envoy does.
func (p *Process) WaitReady(ctx context.Context) error {
	err := p.poll(ctx, p.admin.ready)
	if err != nil {
		return fmt.Errorf("wait for Envoy: %w", err)
	}
	return nil
}

// ListenerAddr waits for the listener of that name and returns its address, with
// the port that the system chose where the configured one was 0.
func (p *Process) ListenerAddr(ctx context.Context, name string) (addr string, err error) {
	err = p.poll(ctx, func(ctx context.Context) (bool, error) {
		addrs, err := p.admin.listeners(ctx)
		addr = addrs[name]
		return addr != "", err
	})
	if err != nil {
		return "", fmt.Errorf("find Envoy's listener %q: %w", name, err)
	}
	return addr, nil
}

// Drain makes Envoy accept no new connection and close the old ones after their
// next answer, then waits until no request is in flight. It fails when ctx ends
// before that. Every request that Envoy has got is answered; a connection that the
// kernel took and Envoy did not accept is reset, as at every server that ends.
func (p *Process) Drain(ctx context.Context) error {
	err := p.admin.drain(ctx)
	if err != nil {
		return fmt.Errorf("drain Envoy: %w", err)
	}
	err = p.poll(ctx, func(ctx context.Context) (bool, error) {
		n, err := p.admin.activeRequests(ctx)
		return err == nil && n == 0, err
	})
	if err != nil {
		return fmt.Errorf("drain Envoy: %w", err)
	}
	return nil
}

// ReopenLogs makes Envoy open its log files anew, after one was renamed.
func (p *Process) ReopenLogs(ctx context.Context) error {
	if err := p.admin.reopenLogs(ctx); err != nil {
		return fmt.Errorf("reopen Envoy's logs: %w", err)
	}
	return nil
}

// askTimeout bounds one question, so that one that is lost is asked again.
const askTimeout = 2 * time.Second

// poll asks every 10 ms until the answer is yes. Errors of asking count as no: an
// Envoy that is starting has no admin socket yet.
func (p *Process) poll(ctx context.Context, ask func(context.Context) (bool, error)) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		yes, err := askOnce(ctx, ask)
		if err == nil && yes {
			return nil
		}
		select {
		case <-p.exited:
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.err != nil {
				return p.err
			}
			return errors.New("Envoy was stopped") //nolint:staticcheck // a name
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

func askOnce(ctx context.Context, ask func(context.Context) (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return ask(ctx)
}
