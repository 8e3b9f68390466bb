package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"envoke/envoy"
	"envoke/internal/bench"
)

func measure(ctx context.Context, s settings, stdout, stderr io.Writer) error {
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
	if _, err := report.WriteTo(stdout); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if s.json != "" {
		if err := writeJSON(s.json, report); err != nil {
			return fmt.Errorf("write the report to %s: %w", s.json, err)
		}
	}
	if missed := report.Missed(); s.check && len(missed) > 0 {
		return fmt.Errorf("targets not met: %d", len(missed))
	}
	return nil
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
	if s.Node, err = findNode(ctx, s.Node); err != nil {
		return err
	}
	if s.Envoy == "" {
		if s.Envoy, err = envoy.Fetch(ctx, s.CacheDir, os.Getenv("PYTHON")); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	s.ProxyCommand = []string{self, proxyCommand}
	return nil
}

// findNode resolves Node to its real binary: a shim would hide it from the
// accounting of CPU time, which knows Node by its binary's name.
func findNode(ctx context.Context, node string) (string, error) {
	out, err := exec.CommandContext(ctx, node, "-p", "process.execPath").Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w; install Node.js 20 or later, or name it with -node", node, err)
	}
	return strings.TrimSpace(string(out)), nil
}
