package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"envoke/envoy"
	"envoke/internal/bench"
)

// proxyCommand makes this program the reverse proxy of case c. A process of its
// own keeps its CPU time apart from the load generator's.
const proxyCommand = "reverse-proxy"

func serveProxy(ctx context.Context, listen, upstream string) error {
	return bench.ServeProxy(ctx, listen, upstream)
}

func measure(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	if err := s.findBinaries(ctx); err != nil {
		return err
	}
	s.Progress = func(format string, arguments ...any) {
		fmt.Fprintf(stderr, "bench: "+format+"\n", arguments...)
	}
	report, err := bench.Run(ctx, s.Config)
	if err != nil {
		return err
	}
	if _, err := report.WriteTo(stdout); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if s.json != "" {
		if err := writeJSON(s.json, report); err != nil {
			return err
		}
	}
	if missed := report.Missed(); s.check && len(missed) > 0 {
		return fmt.Errorf("%d of the targets are missed", len(missed))
	}
	return nil
}

func writeJSON(path string, report bench.Report) error {
	content, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report to %s: %w", path, err)
	}
	if err := os.WriteFile(path, append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (s *settings) findBinaries(ctx context.Context) error {
	var err error
	if s.Node, err = findNode(ctx, s.Node); err != nil {
		return err
	}
	if s.Envoy == "" {
		if s.Envoy, err = envoy.Fetch(ctx, s.CacheDir, os.Getenv("PYTHON")); err != nil {
			return err
		}
	}
	if s.bare {
		s.Envoke = ""
	} else if _, err := os.Stat(s.Envoke); err != nil {
		return fmt.Errorf("%s is not there: run `make build` first, or name it with -envoke, or measure without it by -bare", s.Envoke)
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
	if node == "" {
		node = "node"
	}
	out, err := exec.CommandContext(ctx, node, "-p", "process.execPath").Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w; install Node.js 20 or later, or name it with -node", node, err)
	}
	return strings.TrimSpace(string(out)), nil
}
