package overload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Case is a kind of flood.
type Case struct {
	Name, About string
	Neighboured bool // another function has a few calls a second meanwhile

	title, script string
	context       map[string]any
	params        func(ctx context.Context, url, id string) (string, error)
}

const (
	work       = 5   // milliseconds of CPU time
	wait       = 20  // milliseconds
	atOnce     = 8   // calls of a function that may have so many
	trialTurns = 2e5 // of a loop, by which its speed is told
	trials     = 20
)

// Cases are all.
func Cases() []Case {
	const (
		js = "let x = 1; for (let i = 0; i < params.n; i++) x = (x * 31 + i) | 0; return x"
		py = "def handle(params):\n    x = 1\n    for i in range(params['n']):\n        x = (x * 31 + i) & 65535\n    return x"
	)
	none := func(context.Context, string, string) (string, error) { return `{"params":{}}`, nil }
	return []Case{
		{Name: "nodejs-busy", About: "5 ms of CPU time a call: one worker", title: "nodejs-busy", script: js, params: busy},
		{Name: "python-busy", About: "5 ms of CPU time a call, which keeps a worker to itself", title: "python-busy", script: py, params: busy},
		{
			Name: "nodejs-waits", About: "20 ms of waiting, 8 calls at once (max_concurrency)", title: "nodejs-waits", params: none,
			script:  fmt.Sprintf("await new Promise((done) => setTimeout(done, %d)); return 1", wait),
			context: map[string]any{"max_concurrency": atOnce},
		},
		{
			Name: "python-waits", About: "20 ms of waiting, which keeps a worker to itself", title: "python-waits", params: none,
			script: fmt.Sprintf("import time\ndef handle(params):\n    time.sleep(%g)\n    return 1", wait/1000.0),
		},
		{Name: "nodejs-trivial", About: "nothing: Envoy and the machine are what ends", title: "nodejs-trivial", script: "return 1", params: none},
		{
			Name: "mixed", About: "nodejs-busy in flood, beside a function with 20 calls a second", title: "nodejs-busy", script: js, params: busy,
			Neighboured: true,
		},
	}
}

// prepare makes the sessions.
func (c Case) prepare(ctx context.Context, url string) (flooded, neighbour target, err error) {
	address := strings.TrimPrefix(url, "http://")
	id, err := c.initialize(ctx, url)
	if err != nil {
		return flooded, neighbour, err
	}
	body, err := c.params(ctx, url, id)
	if err != nil {
		return flooded, neighbour, err
	}
	flooded = target{address, "/api/v1/execute/" + id, body}
	if !c.Neighboured {
		return flooded, neighbour, nil
	}
	id, err = Case{title: "nodejs-neighbour", script: "return 'here'"}.initialize(ctx, url)
	return flooded, target{address, "/api/v1/execute/" + id, `{"params":{}}`}, err
}

// busy is params that make a call take work milliseconds on this machine, by the fastest of
// some trials.
func busy(ctx context.Context, url, id string) (string, error) {
	least := time.Hour.Seconds()
	for range trials {
		var answer struct {
			Took float64 `json:"execution_time_ms"`
		}
		body := fmt.Sprintf(`{"params":{"n":%d}}`, int(trialTurns))
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v1/execute/"+id, strings.NewReader(body))
		if err != nil {
			return "", fmt.Errorf("make a request: %w", err)
		}
		if err := answerTo(request, &answer); err != nil {
			return "", err
		}
		least = min(least, answer.Took)
	}
	return fmt.Sprintf(`{"params":{"n":%d}}`, int(trialTurns*work/least)), nil
}

func (c Case) initialize(ctx context.Context, url string) (id string, err error) {
	session := c.context
	if session == nil {
		session = map[string]any{}
	}
	raw, err := json.Marshal(map[string]any{"script_content": c.script, "context": session})
	if err != nil {
		return "", fmt.Errorf("encode a script: %w", err)
	}
	var answer struct {
		ID string `json:"request_id"`
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v1/initialize", bytes.NewReader(raw))
	if err != nil {
		return "", fmt.Errorf("make a request: %w", err)
	}
	request.Header.Set("Language-Title", c.title)
	err = answerTo(request, &answer)
	return answer.ID, err
}

// answerTo sends a request and decodes its answer.
func answerTo(request *http.Request, answer any) error {
	client := http.Client{Timeout: callTimeout}
	defer client.CloseIdleConnections()
	reply, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("send a request: %w", err)
	}
	defer func() { _ = reply.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(reply.Body, maxReply))
	if err != nil {
		return fmt.Errorf("read the reply: %w", err)
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d: %.500s", request.URL.Path, reply.StatusCode, text)
	}
	return json.Unmarshal(text, answer)
}
