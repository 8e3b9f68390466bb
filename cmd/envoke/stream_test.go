package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"envoke/internal/testrig"
)

// slowStream makes five parts, and takes longer for it than one execute may.
var slowStreams = map[string]string{
	"nodejs": "return (async function* () { for (let i = 0; i < 5; i++) { yield { i }; await new Promise(done => setTimeout(done, 600)) } })()",
	"python": "import time\ndef handle(params):\n for i in range(5):\n  yield {'i': i}\n  time.sleep(.6)",
}

// Streams pass Envoy part by part, for longer than one execute may take.
func TestStreamsPassEnvoy(t *testing.T) {
	t.Parallel()
	i := serve(t, "--runtime-timeout-seconds", "2")
	for language, source := range slowStreams {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			script, err := json.Marshal(source)
			if err != nil {
				t.Fatal(err)
			}
			body := fmt.Sprintf(`{"language":%q,"title":"slow","script_content":%s}`, language, script)
			if r := i.send(t, http.MethodPost, "/api/v1/functions", body); r.status != http.StatusCreated {
				t.Fatalf("%d: %s", r.status, r.body)
			}
			response := i.openStream(t.Context(), t, "/function/"+language+"-slow")
			defer response.Body.Close()
			lines, began := bufio.NewReader(response.Body), time.Now()
			for want := range 5 {
				line, err := lines.ReadString('\n')
				if err != nil || strings.ReplaceAll(line, " ", "") != fmt.Sprintf("data:{\"i\":%d}\n", want) {
					t.Fatalf("%q, %v", line, err)
				}
				if _, err := lines.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); want == 0 && took > 2*time.Second {
					t.Errorf("the first part took %v: it was held back", took)
				}
			}
			if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
				t.Errorf("%q, %v", rest, err)
			}
			if took := time.Since(began); took < 2*time.Second {
				t.Errorf("it took %v only: the test shows nothing", took)
			}
		})
	}
}

// A function whose caller has gone is cancelled.
func TestGoneCallerCancelsStream(t *testing.T) {
	i := shared(t)
	body := `{"language":"nodejs","title":"endless","script_content":"return (async function* () { try { for (;;) { yield 'x'; await new Promise(done => setTimeout(done, 10)) } } finally { console.log('it was cancelled') } })()"}`
	if r := i.send(t, http.MethodPost, "/api/v1/functions", body); r.status != http.StatusCreated {
		t.Fatalf("%d: %s", r.status, r.body)
	}
	t.Cleanup(func() { _, _ = send(http.MethodDelete, i.base+"/api/v1/functions/nodejs-endless", "") })
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	response := i.openStream(ctx, t, "/function/nodejs-endless")
	defer response.Body.Close()
	if _, err := io.ReadFull(response.Body, make([]byte, 30)); err != nil {
		t.Fatal(err)
	}
	leave()
	id := response.Header.Get("X-Request-Id")
	testrig.Eventually(t, "the function's last words", func() bool {
		r, err := send(http.MethodGet, i.operators+"/logs?request_id="+id, "")
		return err == nil && strings.Contains(string(r.body), "it was cancelled")
	})
}

func (i *installation) openStream(ctx context.Context, t *testing.T, path string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.base+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", response.StatusCode, response.Header)
	}
	return response
}
