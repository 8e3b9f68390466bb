package layer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/egress"
	"envoke/runtimes/sandbox"
)

// An installation has the group of whoever opens the layers, and in it as much beside its
// memory as it may write.
func TestWalls(t *testing.T) {
	proxy, err := egress.Open(t.Context(), egress.Options{})
	if err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, proxy.Serve)
	groups := new(sandbox.Groups)
	l, err := Open(Options{Dir: t.TempDir(), Egress: proxy, Groups: groups, MemoryMB: 512, MaxBytes: 10 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.walls("/dir", "/npm"); got.Groups != groups || got.Memory != 512<<20 || got.Beside != 20<<20 {
		t.Errorf("got %+v", got)
	}
}

// inGroups are the groups of this process, which is alone in a cgroup that has the memory
// controller and is delegated to it. Its temporary folder is in a tmpfs.
func inGroups(t *testing.T) *sandbox.Groups {
	t.Helper()
	if os.Getenv("ENVOKE_TEST_IN_A_CGROUP") == "" {
		t.Skip("ENVOKE_TEST_IN_A_CGROUP says that this process is alone in a delegated cgroup, and its TMPDIR in a tmpfs")
	}
	groups := sandbox.OpenGroups()
	if groups.Folder() == "" {
		t.Fatal(groups.Missing())
	}
	return groups
}

// groupsIn are the groups that have processes.
func groupsIn(t *testing.T, groups *sandbox.Groups) (found []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(groups.Folder(), "worker-*", "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		if processes, _ := os.ReadFile(file); len(processes) > 0 {
			found = append(found, filepath.Dir(file))
		}
	}
	return found
}

// While it runs an installation is in a group of its own, which is gone afterwards.
func TestInstallsInAGroup(t *testing.T) {
	groups := inGroups(t)
	for language, files := range map[faas.Language]func(*index) map[string]string{
		faas.NodeJS: func(i *index) map[string]string { return i.lock(i.URL) },
		faas.Python: func(*index) map[string]string { return requirements("left==1.0") },
	} {
		t.Run(string(language), func(t *testing.T) {
			i := newIndex(t)
			i.hold = make(chan struct{})
			l := i.open(t, language, func(opt *Options) { opt.Groups = groups })
			used := make(chan error, 1)
			go func() {
				_, release, err := l.Use(t.Context(), files(i))
				if err == nil {
					release()
				}
				used <- err
			}()
			testrig.Eventually(t, "the index is asked", func() bool { return i.asked.Load() > 0 })
			found := groupsIn(t, groups)
			if len(found) != 1 {
				t.Errorf("the groups are %v", found)
			}
			for _, dir := range found {
				if most, err := os.ReadFile(filepath.Join(dir, "memory.max")); err != nil || strings.TrimSpace(string(most)) != "2684354560" {
					t.Errorf("its memory is bounded by %s, %v", most, err)
				}
			}
			close(i.hold)
			if err := <-used; err != nil {
				t.Error(err)
			}
			if left, _ := filepath.Glob(filepath.Join(groups.Folder(), "worker-*")); len(left) > 0 {
				t.Errorf("groups are left: %v", left)
			}
		})
	}
}

// What an installation writes to memory is bounded by its group before anybody counts it,
// and whoever waits for it is told so.
func TestMemoryOfAGroup(t *testing.T) {
	groups := inGroups(t)
	i := newIndex(t)
	l := i.open(t, faas.NodeJS, func(opt *Options) {
		opt.Groups, opt.MemoryMB, opt.MaxBytes = groups, 256, 1<<20
		opt.Tool.Argv = []string{opt.Tool.Argv[0], "-e", "for (let i = 0; ; i++) require('fs').writeFileSync('f' + i, Buffer.alloc(1 << 20, 1))"}
	})
	_, _, err := l.Use(t.Context(), i.lock(i.URL))
	if e := faas.AsError(err); err == nil || e.Code != faas.InitializationError || e.Message != "installing the dependencies took more than 256 MiB of memory" {
		t.Errorf("got %v", err)
	}
}
