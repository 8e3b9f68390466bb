package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/egress"
	"envoke/runtimes/fault"
	"envoke/runtimes/interpreter"
	"envoke/runtimes/sandbox"
)

const (
	maxOutput  = 16 << 10 // bytes of a tool's last words
	watchEvery = 500 * time.Millisecond
	kept       = "kept" // what was installed, in the folder of its making
	archives   = 2      // times the size of a layer: a tool has what it fetched beside what it made of it
)

// install installs a layer when its turn has come.
func (l *Layers) install(key string, files map[string]string) error {
	l.mu.Lock()
	if l.waiting > l.opt.Queue {
		l.mu.Unlock()
		l.metrics.installs.WithLabelValues("refused").Inc()
		return fault.Busy("too many functions wait for their dependencies to be installed")
	}
	l.waiting++
	l.mu.Unlock()
	l.turn <- struct{}{}
	defer func() {
		<-l.turn
		l.mu.Lock()
		l.waiting--
		l.mu.Unlock()
	}()
	began := time.Now()
	err := l.build(key, files)
	outcome := "installed"
	if err != nil {
		outcome = "failed"
	}
	l.metrics.installs.WithLabelValues(outcome).Inc()
	l.metrics.duration.Observe(time.Since(began).Seconds())
	return err
}

// build fills a folder of its own and makes it a layer.
func (l *Layers) build(key string, files map[string]string) error {
	dir, err := os.MkdirTemp(l.opt.Dir, unfinished+"*")
	if err != nil {
		return fmt.Errorf("make a layer: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// A spawner's first cell connects to nothing; the tool is in the second.
	scratch := filepath.Join(dir, "1")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, kept), folderMode), prepare(scratch, files)); err != nil {
		return fmt.Errorf("make a layer: %w", err)
	}
	if err := l.run(dir, scratch, l.opt.Tool.arguments(files)); err != nil {
		return err
	}
	made, err := open(filepath.Join(dir, kept))
	if err != nil {
		return fmt.Errorf("make a layer: %w", err)
	}
	return l.add(key, filepath.Join(dir, kept), made.bytes)
}

func prepare(scratch string, files map[string]string) error {
	if err := os.Mkdir(scratch, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(scratch, name), []byte(content), filesMode); err != nil {
			return err
		}
	}
	return nil
}

// walls are the sandbox of one installation. What it writes may be memory too, where its
// folder is in a tmpfs.
func (l *Layers) walls(dir, program string) sandbox.Config {
	return sandbox.Config{
		Files:   sandbox.Files{Programs: []string{program}, Read: l.opt.Tool.Read},
		Scratch: dir, Connect: uint16(l.opt.Egress.Port()), Rights: true,
		OpenFiles: 1024, FileSize: uint64(l.opt.MaxBytes), Memory: uint64(l.opt.MemoryMB) << 20,
		Groups: l.opt.Groups, Beside: archives * uint64(l.opt.MaxBytes),
	}
}

// run runs the tool in a sandbox of its own.
func (l *Layers) run(dir, scratch string, argv []string) error {
	spawner := sandbox.NewSpawner(l.walls(dir, argv[0]))
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- spawner.Serve(ctx) }()
	defer func() { stop(); <-served }()
	way := l.opt.Egress.Let(func() egress.User { return egress.User{Owner: "dependencies"} })
	defer way.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	output := tail{done: make(chan struct{})}
	go output.read(read)
	process, err := spawner.Start(sandbox.Program{
		Argv: argv, Env: append(append(interpreter.Env(), l.opt.Tool.Env...), way.Env()...), Output: write, Connects: true,
	})
	_ = write.Close()
	if err != nil {
		<-output.done
		return fmt.Errorf("start an installation: %w", err)
	}
	over := l.watch(process, scratch)
	<-output.done
	// The scratch folder is emptied when the process is waited for.
	moved := os.Rename(filepath.Join(scratch, l.opt.Tool.Result), filepath.Join(dir, kept, l.opt.Tool.Result))
	state, err := process.Wait()
	switch {
	case over != nil:
		return over
	case process.OutOfMemory():
		return failed(fmt.Sprintf("installing the dependencies took more than %d MiB of memory", l.opt.MemoryMB), output.text())
	case !state.Success():
		return failed("the dependencies cannot be installed", output.text())
	case errors.Is(moved, fs.ErrNotExist): // no packages are named
		return nil
	}
	return errors.Join(moved, err)
}

// watch waits until the process has ended, and ends it where it takes too much.
func (l *Layers) watch(process *sandbox.Process, scratch string) error {
	exited := make(chan struct{})
	go func() { process.Exited(); close(exited) }()
	deadline := time.NewTimer(l.opt.Timeout)
	defer deadline.Stop()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var over error
	for {
		select {
		case <-exited:
			if over == nil {
				over = l.exceeds(scratch)
			}
			return over
		case <-deadline.C:
			over = failed(fmt.Sprintf("the dependencies were not installed within %d s", int(l.opt.Timeout.Seconds())), "")
			_ = process.Kill()
		case <-tick.C:
			if err := l.exceeds(scratch); err != nil && over == nil {
				over = err
				_ = process.Kill()
			}
		}
	}
}

// exceeds tells whether the scratch folder has too much. What is gone while it is counted
// is counted next time.
func (l *Layers) exceeds(scratch string) error {
	taken, _ := sizeOf(scratch)
	if taken.bytes <= archives*l.opt.MaxBytes && taken.files <= archives*l.opt.MaxFiles {
		return nil
	}
	return failed(fmt.Sprintf("the dependencies are larger than %d MiB, or more than %d files", l.opt.MaxBytes>>20, l.opt.MaxFiles), "")
}

func failed(message, output string) error {
	details := map[string]any{"component": faas.InRuntime}
	if output != "" {
		details["output"] = output
	}
	return &faas.Error{Code: faas.InitializationError, Message: message, Details: details}
}

// open lets everybody read what was installed, and nobody change it.
func open(dir string) (made size, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return made, err
	}
	defer func() { _ = root.Close() }()
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		made.files++
		made.bytes += info.Size()
		switch {
		case entry.Type()&fs.ModeSymlink != 0:
			return nil
		case entry.IsDir():
			return root.Chmod(path, folderMode)
		case entry.Type().IsRegular():
			return root.Chmod(path, filesMode)
		}
		return root.Remove(path)
	})
	return made, err
}

// tail keeps the last words of a tool.
type tail struct {
	last []byte
	done chan struct{}
}

func (t *tail) read(from *os.File) {
	defer close(t.done)
	defer func() { _ = from.Close() }()
	buffer := make([]byte, 4<<10)
	for {
		n, err := from.Read(buffer)
		t.last = append(t.last, buffer[:n]...)
		if over := len(t.last) - maxOutput; over > 0 {
			t.last = t.last[:copy(t.last, t.last[over:])]
		}
		if err != nil {
			return
		}
	}
}

func (t *tail) text() string {
	return strings.ToValidUTF8(string(bytes.TrimSpace(t.last)), "\uFFFD")
}
