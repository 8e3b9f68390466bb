package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// initializePython returns the new session's id.
func (i *installation) initializePython(t *testing.T, title, script string) string {
	t.Helper()
	body := map[string]any{}
	if script != "" {
		body["script_content"] = script
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := i.send(t, http.MethodPost, "/api/v1/initialize", string(raw), "Language-Title", "python-"+title)
	var session struct {
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(r.body, &session); err != nil || r.status != http.StatusOK {
		t.Fatalf("initialize: %d %s", r.status, r.body)
	}
	return session.RequestID
}

func TestPythonSeed(t *testing.T) {
	i := shared(t)
	id := i.initializePython(t, "text_processor", "")
	if got := i.execute(t, id, `{"action":"reverse","text":"añb"}`).result(t); got != `{"action":"reverse","result":"bña"}` {
		t.Errorf("got %s", got)
	}
	e := i.execute(t, id, `{"action":"shout","text":"a"}`).isError(t, 400, "INVALID_PARAMS", "runtime")
	if e.Error.Details["path"] != "/action" {
		t.Errorf("details %v", e.Error.Details)
	}
}

func TestPythonRunsOutOfMemoryAndLivesOn(t *testing.T) {
	i := shared(t)
	id := i.initializePython(t, "memory", "def handle(params): return len(bytearray(params << 20))")
	if got := i.execute(t, id, `16`).result(t); got != "16777216" {
		t.Errorf("got %s", got)
	}
	e := i.execute(t, id, `1024`).isError(t, http.StatusInsufficientStorage, "RESOURCE_EXHAUSTED", "function")
	if e.Error.Details["limit"] != "memory" || e.Error.Details["limit_mb"] != 128.0 {
		t.Errorf("details %v", e.Error.Details)
	}
	if got := i.execute(t, id, `16`).result(t); got != "16777216" {
		t.Errorf("got %s", got)
	}
}

// Every one of many parallel calls gets its own answer, of code that awaits and code
// that does not.
func TestPythonManyCallsAtOnce(t *testing.T) {
	i := shared(t)
	for name, script := range map[string]string{
		"plain": "import time\ndef handle(params):\n    time.sleep(0.001)\n    return params * 2",
		"async": "import asyncio\nasync def handle(params):\n    await asyncio.sleep(0.01)\n    return params * 2",
	} {
		t.Run(name, func(t *testing.T) {
			id := i.initializePython(t, name, script)
			var tasks sync.WaitGroup
			for n := range 300 {
				tasks.Go(func() {
					r, err := send(http.MethodPost, i.base+"/api/v1/execute/"+id, fmt.Sprintf(`{"params":%d}`, n))
					if err != nil || !strings.Contains(string(r.body), fmt.Sprintf(`"result":%d,`, 2*n)) {
						t.Errorf("%d: %s, %v", n, r.body, err)
					}
				})
			}
			tasks.Wait()
		})
	}
}
