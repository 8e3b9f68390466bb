package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"envoke/envoy"
	"envoke/internal/bench"
)

// measure makes a report, or reads one that was made before, and shows it.
func measure(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	if s.from != "" {
		report, err := readJSON(s.from)
		if err != nil {
			return fmt.Errorf("read the report %s: %w", s.from, err)
		}
		return s.show(report, stdout)
	}
	if err := s.findBinaries(ctx); err != nil {
		return err
	}
	s.Progress = func(line string) { _, _ = fmt.Fprintln(stderr, "bench:", line) }
	report, err := bench.Run(ctx, s.Config)
	if ctx.Err() != nil {
		return errors.New("interrupted") // what failed then failed because of it
	}
	if err != nil {
		return err
	}
	return s.show(report, stdout)
}

func (s settings) show(report bench.Report, stdout io.Writer) error {
	if _, err := report.WriteTo(stdout); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if s.json != "" {
		if err := writeJSON(s.json, report); err != nil {
			return fmt.Errorf("write the report to %s: %w", s.json, err)
		}
	}
	if s.docs != "" {
		if err := report.WriteDocs(s.docs); err != nil {
			return err
		}
	}
	if missed := report.MissedTargets(); s.check && len(missed) > 0 {
		return fmt.Errorf("targets not met: %s", strings.Join(missed, ", "))
	}
	return nil
}

func readJSON(path string) (report bench.Report, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return report, err
	}
	return report, json.Unmarshal(content, &report)
}

func writeJSON(path string, report bench.Report) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(file)
	encoder.SetIndent("", "  ")
	return errors.Join(encoder.Encode(report), file.Close())
}

func (s *settings) findBinaries(ctx context.Context) (err error) {
	if s.bare {
		s.Envoke = ""
	} else if _, err := exec.LookPath(s.Envoke); err != nil {
		return fmt.Errorf("%s is not there: run `make build` first, name it with -envoke, or measure without it by -bare", s.Envoke)
	}
	if s.Node, err = resolve(ctx, s.Node, "-p", "process.execPath"); err != nil {
		return fmt.Errorf("%w; install Node.js 20 or later, or name it with -node", err)
	}
	if s.Python, err = resolve(ctx, s.Python, "-c", "import sys; print(sys.executable)"); err != nil {
		return fmt.Errorf("%w; install Python 3.10 or later, or name it with -python", err)
	}
	if s.Envoy == "" {
		if s.Envoy, err = envoy.Fetch(ctx, s.CacheDir, s.Python); err != nil {
			return err
		}
	}
	if pinned, err := exec.LookPath(bench.PinnedRustc(s.CacheDir)); s.Rustc == "" && err == nil {
		s.Rustc = pinned
	}
	if s.PeersDir == "" {
		s.PeersDir = filepath.Join(s.CacheDir, "peers")
	}
	if s.PeersDir, err = filepath.Abs(s.PeersDir); err != nil {
		return fmt.Errorf("find the peers: %w", err)
	}
	if s.Self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return nil
}

// resolve asks an interpreter for its real binary: a shim would hide it from the
// accounting of CPU time, which knows interpreters by their binaries' names.
func resolve(ctx context.Context, interpreter string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, interpreter, args...).Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", interpreter, err)
	}
	return strings.TrimSpace(string(out)), nil
}
