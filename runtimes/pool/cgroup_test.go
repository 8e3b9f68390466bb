package pool_test

import (
	"errors"
	"os"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
	"envoke/runtimes/sandbox"
)

// Files in memory end a worker by its group's bound, long before the watch counts them: that
// is the function's limit of memory. It runs alone in a cgroup that has the memory
// controller and is delegated to it, with its temporary folder in a tmpfs, and without the
// group fails.
func TestMemoryOfAGroup(t *testing.T) {
	if os.Getenv("ENVOKE_TEST_IN_A_CGROUP") == "" {
		t.Skip("ENVOKE_TEST_IN_A_CGROUP says that this process is alone in a delegated cgroup, and its TMPDIR in a tmpfs")
	}
	groups := sandbox.OpenGroups()
	t.Log(groups.Folder(), groups.Missing())
	python := pool.Python(t)
	walls := sandbox.Config{Files: python.Files(), Scratch: testrig.OpenDir(t), Groups: groups}
	p := pool.New(pool.Options{Runtime: python, Sandbox: walls, MemoryMB: 64, MaxScratch: 16 << 20})
	testrig.Serve(t, p.Serve)
	const source = "import os\ndef handler(params):\n    for i in range(20):\n        os.posix_fallocate(os.open(f'f{i}', os.O_CREAT | os.O_WRONLY), 0, 20 << 20)\n    return 'all is written'"
	result, err := p.Invoke(t.Context(), pool.Work{Script: faas.NewScript(faas.Python, source, nil), Owner: "owner"}, invocation("{}"))
	var e *faas.Error
	if !errors.As(err, &e) || e.Code != faas.ResourceExhausted || e.Details["limit"] != "memory" || e.Details["limit_mb"] != 64 {
		t.Errorf("%s, %v; want the limit of memory", result.JSON, err)
	}
}
