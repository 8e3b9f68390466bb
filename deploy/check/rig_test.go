package check

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"envoke/internal/testrig"
)

const (
	root        = "../.."
	inContainer = "/usr/local/bin/envoke"
)

// envoke is the binary that was built for these tests.
var envoke string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "envoke-check-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	envoke = filepath.Join(dir, "envoke")
	build := exec.Command("go", "build", "-o", envoke, "./cmd/envoke")
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	return testrig.WithPostgres(m).Run()
}

func loadProject(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "docker-compose.yml")}},
		Environment: map[string]string{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// stages are those of the Dockerfile by name.
func stages(t *testing.T) ([]instructions.Stage, map[string]instructions.Stage) {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "deploy/docker/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Warnings) > 0 {
		t.Errorf("the parser warns: %v", parsed.Warnings)
	}
	all, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]instructions.Stage{}
	for _, stage := range all {
		named[stage.Name] = stage
	}
	return all, named
}

// imageEnv is what a stage of the Dockerfile sets.
func imageEnv(stage instructions.Stage) map[string]string {
	env := map[string]string{}
	for _, command := range stage.Commands {
		if set, ok := command.(*instructions.EnvCommand); ok {
			for _, pair := range set.Env {
				env[pair.Key] = pair.Value
			}
		}
	}
	return env
}

// ours are the services of images that are built here.
func ours(project *types.Project) (services []types.ServiceConfig) {
	for _, name := range project.ServiceNames() {
		if s := project.Services[name]; s.Build != nil {
			services = append(services, s)
		}
	}
	return services
}

// environment is what a service's process has, the image's included.
func environment(t *testing.T, s types.ServiceConfig) map[string]string {
	t.Helper()
	_, named := stages(t)
	env := imageEnv(named[s.Build.Target])
	for name, value := range s.Environment {
		if value == nil {
			t.Fatalf("%s: %s has no value", s.Name, name)
		}
		env[name] = *value
	}
	return env
}

// help is what a command line of envoke's prints beside --help, which it does only where its own
// parser takes all its flags.
func help(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(context.Background(), envoke, append(args, "--help")...).CombinedOutput()
	if err != nil {
		t.Errorf("envoke %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// pinned tells whether an image cannot be another tomorrow: it has a digest, or a tag that
// names a version exactly.
func pinned(image string) bool {
	exact := regexp.MustCompile(`:[a-z-]*v?(\d+\.\d+(\.\d+)?|bookworm-\d{8})(-[a-z0-9-]+)?$`)
	return strings.Contains(image, "@sha256:") || exact.MatchString(image)
}
