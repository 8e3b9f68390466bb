package check

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"envoke/internal/testrig"
)

// envoke is the binary that was built for these tests.
var envoke string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "envoke-check-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	envoke = filepath.Join(dir, "envoke")
	build := exec.Command("go", "build", "-o", envoke, "./cmd/envoke")
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	return testrig.WithPostgres(m).Run()
}

var helped sync.Map // what help has printed, by command line

// help is what a command line of envoke's prints beside --help, which it does only where its own
// parser takes all its flags.
func help(t *testing.T, args ...string) string {
	t.Helper()
	line := strings.Join(args, " ")
	if text, ok := helped.Load(line); ok {
		return text.(string)
	}
	out, err := exec.CommandContext(context.Background(), envoke, append(args, "--help")...).CombinedOutput()
	if err != nil {
		t.Errorf("envoke %s: %v\n%s", line, err, out)
	}
	helped.Store(line, string(out))
	return string(out)
}
