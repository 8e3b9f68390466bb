package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestParallelInEachLanguage calls one session of each language 300 times at once, by
// 300 connections.
func TestParallelInEachLanguage(t *testing.T) {
	const calls = 300
	module, err := os.ReadFile(filepath.Join("..", "..", "internal", "bench", "add.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	i := serve(t)
	caller := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: calls}, Timeout: time.Minute}
	defer caller.CloseIdleConnections()
	for title, code := range map[string]map[string]any{
		"nodejs-add":  {"script_content": "return event.params.a + event.params.b"},
		"nodejs-wait": {"script_content": "return new Promise(done => setTimeout(() => done(event.params.a + event.params.b), 50))"},
		"python-add":  {"script_content": "def handler(event):\n    return event['params']['a'] + event['params']['b']\n"},
		"python-wait": {"script_content": "import asyncio\nasync def handler(event):\n    await asyncio.sleep(0.05)\n    return event['params']['a'] + event['params']['b']\n"},
		"rust-add":    {"script_content": base64.StdEncoding.EncodeToString(module), "compile_options": map[string]any{"target": "wasm32-wasip1"}},
	} {
		t.Run(title, func(t *testing.T) {
			id := i.initializeAs(t, title, code)
			var group errgroup.Group
			for n := range calls {
				group.Go(func() error {
					r, err := sendBy(caller, http.MethodPost, i.base+"/api/v1/execute/"+id, fmt.Sprintf(`{"params":{"a":%d,"b":%d}}`, n, 1000*n))
					if err != nil {
						return err
					}
					var got struct{ Result json.Number }
					if err := json.Unmarshal(r.body, &got); err != nil || r.status != http.StatusOK || got.Result.String() != fmt.Sprint(1001*n) {
						return fmt.Errorf("call %d: %d %s", n, r.status, r.body)
					}
					return nil
				})
			}
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
