package envoy

import (
	"context"
	_ "embed" // the pins
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

//go:embed VERSION
var versionFile string

//go:embed requirements.txt
var requirements string

// Version is the one Envoy that Envoke is built for and tested with.
var Version = strings.TrimSpace(versionFile)

// checkTimeout bounds `envoy --version`, which takes some 20 ms.
const checkTimeout = 10 * time.Second

// Check tells whether the binary runs here and is Envoy of the pinned Version.
func Check(ctx context.Context, binary string) error {
	return checkVersion(ctx, binary, Version)
}

func checkVersion(ctx context.Context, binary, want string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = fmt.Errorf("%w: %s", err, lastLine(string(exit.Stderr)))
		}
		return fmt.Errorf("run Envoy: %s does not run here: %w", binary, err)
	}
	if got := parseVersion(string(out)); got != want {
		return fmt.Errorf("wrong Envoy: %s is version %s, Envoke needs %s", binary, got, want)
	}
	return nil
}

// parseVersion reads "envoy  version: <commit>/<version>/Clean/RELEASE/BoringSSL".
func parseVersion(out string) string {
	parts := strings.Split(out, "/")
	if len(parts) < 3 || !strings.Contains(out, "version:") {
		return "unknown"
	}
	// The program's own path comes first and has slashes too: count from the end.
	return parts[len(parts)-4]
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
