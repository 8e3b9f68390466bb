package main

import (
	"net/http"
	"testing"

	"envoke/internal/testrig"
)

// TestDoorBetweenMachines: an Envoy on another machine asks control who calls.
func TestDoorBetweenMachines(t *testing.T) {
	const admin = "an-administrators-key-of-this-test-0123456789"
	f := newFleet(t)
	f.controls = f.controls[:1]
	f.ofControl = []string{"--auth", "--admin-key", admin}
	f.startControl(t, 0)
	_, at := f.startHost(t)
	f.startEnvoy(t)
	f.awaitHost(t, at, true)
	f.awaitControls(t, 0)
	call := func(key string) int {
		r, err := send(http.MethodPost, f.base+"/api/v1/execute", `{"script_content":"return 1"}`, "Language-Title", "nodejs-first", "X-API-Key", key)
		if err != nil {
			return 0
		}
		return r.status
	}
	testrig.Eventually(t, "a function to run", func() bool { return call(admin) == http.StatusOK })
	if got := call("another-key-of-this-test-0123456789"); got != http.StatusUnauthorized {
		t.Errorf("a stranger is answered %d", got)
	}
}
