package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// TestNothingIsRoot: every container runs as a user without rights, and writes only to volumes
// and memory.
func TestNothingIsRoot(t *testing.T) {
	for _, s := range loadProject(t).Services {
		uid, _, _ := strings.Cut(s.User, ":")
		if uid == "" || uid == "0" || uid == "root" {
			t.Errorf("%s runs as %q", s.Name, s.User)
		}
		if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 ||
			!slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s: read-only %v, privileged %v, without %v, with %v, %v", s.Name, s.ReadOnly, s.Privileged, s.CapDrop, s.CapAdd, s.SecurityOpt)
		}
		if s.Build == nil && !pinned(s.Image) {
			t.Errorf("%s: the image %s is not pinned", s.Name, s.Image)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q", s.Name, port.Published, port.HostIP)
			}
		}
	}
}

// TestCommandsAndSettings: the binary takes each command line, each variable is a setting that
// means something to that command, and the health check is a command too.
func TestCommandsAndSettings(t *testing.T) {
	_, named := stages(t)
	for _, s := range ours(loadProject(t)) {
		stage, ok := named[s.Build.Target]
		if !ok {
			t.Errorf("%s: the Dockerfile has no stage %q", s.Name, s.Build.Target)
			continue
		}
		flags := help(t, s.Command...)
		env := environment(t, s)
		for name := range env {
			flag := "--" + strings.ToLower(strings.ReplaceAll(strings.TrimSuffix(name, "_FILE"), "_", "-"))
			if _, fromImage := imageEnv(stage)[name]; fromImage && !strings.Contains(flags, flag+" ") {
				flags := help(t, "serve") // the image is of more than one command
				if !strings.Contains(flags, flag+" ") {
					t.Errorf("%s: the image sets %s, which is no setting", s.Name, name)
				}
				continue
			}
			own := flag + "-file " // of a setting that is a file itself
			if !strings.Contains(flags, flag+" ") && !strings.Contains(flags, own) {
				t.Errorf("%s: %s means nothing to envoke %s", s.Name, name, strings.Join(s.Command, " "))
			}
		}
		once := s.Restart == "no"
		switch {
		case once && s.HealthCheck != nil:
			t.Errorf("%s runs once and has a health check", s.Name)
		case !once && (s.HealthCheck == nil || len(s.HealthCheck.Test) < 3 || s.HealthCheck.Test[0] != "CMD" || s.HealthCheck.Test[1] != inContainer):
			t.Errorf("%s has the health check %v", s.Name, s.HealthCheck)
		case !once:
			help(t, s.HealthCheck.Test[2:]...)
		}
	}
}

// TestHealthOfDatabases: the shell takes their checks, and they ask more than whether a port is open.
func TestHealthOfDatabases(t *testing.T) {
	project := loadProject(t)
	for name, question := range map[string]string{"postgres": "SELECT 1", "redis": "redis-cli ping"} {
		check := project.Services[name].HealthCheck
		if check == nil || len(check.Test) != 2 || check.Test[0] != "CMD-SHELL" || !strings.Contains(check.Test[1], question) {
			t.Errorf("%s has the health check %v", name, check)
			continue
		}
		if out, err := exec.Command("sh", "-n", "-c", check.Test[1]).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestSecretsAndVolumes: what is named is there, and what is there is used, by whom it is for.
func TestSecretsAndVolumes(t *testing.T) {
	project := loadProject(t)
	secrets, volumes := map[string]bool{}, map[string]bool{}
	for _, s := range project.Services {
		text := strings.Join(s.Command, " ") + " "
		for name, value := range s.Environment {
			text += name + "=" + *value + " "
		}
		if s.HealthCheck != nil {
			text += strings.Join(s.HealthCheck.Test, " ")
		}
		has := map[string]bool{}
		for _, secret := range s.Secrets {
			has[secret.Source], secrets[secret.Source] = true, true
			if !strings.Contains(text, "/run/secrets/"+secret.Source) {
				t.Errorf("%s has the secret %s and does not use it", s.Name, secret.Source)
			}
		}
		for name := range project.Secrets {
			if !has[name] && strings.Contains(text, "/run/secrets/"+name) {
				t.Errorf("%s uses the secret %s and does not have it", s.Name, name)
			}
		}
		for _, volume := range s.Volumes {
			if volume.Type != types.VolumeTypeVolume {
				t.Errorf("%s mounts %s of the machine", s.Name, volume.Source)
			}
			volumes[volume.Source] = true
		}
		checkPaths(t, s)
	}
	for name := range project.Secrets {
		if !secrets[name] {
			t.Errorf("nobody uses the secret %s", name)
		}
	}
	for name := range project.Volumes {
		if !volumes[name] {
			t.Errorf("nobody uses the volume %s", name)
		}
	}
	if keys := mounts(project, "certs-ca"); !slices.Equal(keys, []string{"certs"}) {
		t.Errorf("the authority's key is mounted by %v", keys)
	}
}

// mounts are the services that have the volume.
func mounts(project *types.Project, volume string) (names []string) {
	for _, name := range project.ServiceNames() {
		for _, v := range project.Services[name].Volumes {
			if v.Source == volume {
				names = append(names, name)
			}
		}
	}
	return names
}

// checkPaths: each folder that a service's settings name is mounted, and each mount is named.
func checkPaths(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	if s.Build == nil || s.Restart == "no" {
		return
	}
	mounted := []string{"/run/secrets"}
	for _, volume := range s.Volumes {
		mounted = append(mounted, volume.Target)
	}
	for _, tmpfs := range s.Tmpfs {
		path, _, _ := strings.Cut(tmpfs, ":")
		mounted = append(mounted, path)
	}
	used := map[string]bool{"/tmp": true, "/run/secrets": true}
	flags := help(t, s.Command...)
	for name, value := range environment(t, s) {
		flag := "--" + strings.ToLower(strings.ReplaceAll(strings.TrimSuffix(name, "_FILE"), "_", "-")) + " "
		if !strings.HasPrefix(value, "/") || name == "ENVOY" || !strings.Contains(flags, flag) {
			continue
		}
		at := slices.IndexFunc(mounted, func(path string) bool { return value == path || strings.HasPrefix(value, path+"/") })
		if at < 0 {
			t.Errorf("%s: %s is %s, which cannot be written or is not there", s.Name, name, value)
			continue
		}
		used[mounted[at]] = true
	}
	for _, path := range mounted {
		if !used[path] {
			t.Errorf("%s mounts %s, and no setting names it", s.Name, path)
		}
	}
}

// TestSecretsScript makes each secret's file once.
func TestSecretsScript(t *testing.T) {
	clone := t.TempDir()
	script := filepath.Join(clone, "deploy/compose/secrets.sh")
	raw, err := os.ReadFile(filepath.Join(root, "deploy/compose/secrets.sh"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	made := map[string]string{}
	for range 2 {
		if out, err := exec.Command(script).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for name, secret := range loadProject(t).Secrets {
			path := filepath.Join(clone, ".envoke/compose", filepath.Base(secret.File))
			content, err := os.ReadFile(path)
			if err != nil || len(content) == 0 {
				t.Errorf("%s: %v", name, err)
			}
			if before, ok := made[name]; ok && before != string(content) {
				t.Errorf("%s was made anew", name)
			}
			made[name] = string(content)
		}
	}
	if !strings.Contains(made["database_url"], made["postgres_password"]) || !strings.Contains(made["redis_url"], made["redis_password"]) {
		t.Error("the addresses do not have the passwords")
	}
}

// TestDockerfile: its stages are pinned, end as a user without rights, and are all in use.
func TestDockerfile(t *testing.T) {
	all, named := stages(t)
	targets := map[string]bool{"build": true}
	for _, s := range ours(loadProject(t)) {
		targets[s.Build.Target] = true
		if s.Build.Dockerfile != "deploy/docker/Dockerfile" {
			t.Errorf("%s is built by %s", s.Name, s.Build.Dockerfile)
		}
	}
	for _, stage := range all {
		if !targets[stage.Name] {
			t.Errorf("nobody uses the stage %s", stage.Name)
		}
		if stage.BaseName != "scratch" && !pinned(stage.BaseName) {
			t.Errorf("%s is from %s, which is not pinned", stage.Name, stage.BaseName)
		}
		if stage.Name != "build" {
			checkImage(t, stage, named)
		}
	}
	version, err := os.ReadFile(filepath.Join(root, "envoy/VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	if base := named["envoy"].BaseName; !strings.HasSuffix(base, "-v"+strings.TrimSpace(string(version))) {
		t.Errorf("the image of Envoy is from %s, envoy/VERSION is %s", base, version)
	}
}

func checkImage(t *testing.T, stage instructions.Stage, named map[string]instructions.Stage) {
	t.Helper()
	var user, entry string
	for _, command := range stage.Commands {
		switch command := command.(type) {
		case *instructions.UserCommand:
			user = command.User
		case *instructions.EntrypointCommand:
			entry = strings.Join(command.CmdLine, " ")
		case *instructions.CopyCommand:
			if _, ok := named[command.From]; !ok {
				t.Errorf("%s copies from %q", stage.Name, command.From)
			}
		case *instructions.CmdCommand:
			help(t, command.CmdLine...)
		case *instructions.AddCommand:
			t.Errorf("%s adds %v: what is fetched must be pinned", stage.Name, command.SourcePaths)
		case *instructions.RunCommand:
			if line := strings.Join(command.CmdLine, " "); strings.Contains(line, "apt-get install") {
				for word := range strings.FieldsSeq(line) {
					if strings.HasPrefix(word, "rust") && !strings.Contains(word, "=") {
						t.Errorf("%s installs %s in any version", stage.Name, word)
					}
				}
			}
		}
	}
	if user != "65532:65532" || entry != inContainer {
		t.Errorf("%s runs %q as %q", stage.Name, entry, user)
	}
}
