package main

import (
	"encoding/json"
	"net/http"
	"syscall"
	"testing"
	"time"

	"envoke/internal/testrig"
)

// TestControlThatHangs: its hosts go to another control, which tells them what was deleted.
func TestControlThatHangs(t *testing.T) {
	f, _, _ := startFleet(t)
	hasty := &http.Client{Timeout: 2 * time.Second}
	defer hasty.CloseIdleConnections()
	works := func() bool {
		made, err := sendBy(hasty, http.MethodPost, f.base+"/api/v1/initialize", `{"script_content":"return 1"}`, "Language-Title", "nodejs-hang")
		if err != nil || made.status != http.StatusOK {
			return false
		}
		var session struct {
			ID string `json:"request_id"`
		}
		if err := json.Unmarshal(made.body, &session); err != nil {
			t.Fatal(err)
		}
		deleted, err := sendBy(hasty, http.MethodDelete, f.base+"/api/v1/sessions/"+session.ID, "")
		if err != nil || deleted.status != http.StatusNoContent {
			return false
		}
		gone, err := sendBy(hasty, http.MethodPost, f.base+"/api/v1/execute/"+session.ID, `{}`)
		return err == nil && gone.status == http.StatusNotFound
	}
	testrig.Eventually(t, "a session to be made and deleted", works)
	for n, control := range f.running { // the host is with one of them
		if err := control.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		since := time.Now()
		testrig.Eventually(t, "all to go on by the other control", func() bool {
			if !works() {
				since = time.Now()
			}
			return time.Since(since) > 2*time.Second
		})
		if err := control.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		f.awaitControls(t, n)
	}
}
