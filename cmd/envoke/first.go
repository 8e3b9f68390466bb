package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"envoke/internal/faas"
)

// first is who makes the first requests, and the API key that it shows, if any.
type first struct {
	client *http.Client
	key    string
}

// runFirst has ext_proc refuse an execute without a name, and a seeded function run
// through Envoy, the host and, as long as it is there, a worker: all layers are there,
// or it is an error. The
// path of the second says its language, however names are mapped to languages.
func runFirst(ctx context.Context, f first, base string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := f.call(ctx, base+"/api/v1/execute", `{}`)
	var refused *refusal
	if !errors.As(err, &refused) || refused.status != http.StatusBadRequest || !strings.Contains(refused.body, string(faas.InExtProc)) {
		return fmt.Errorf("ext_proc does not answer: %w", err)
	}
	err = f.call(ctx, base+"/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`)
	if errors.As(err, &refused) && refused.byHost() {
		return nil // somebody deleted the function, or it does something else by now
	}
	return err
}

// refusal is an answer that is no success.
type refusal struct {
	url, body string
	status    int
}

// byHost tells whether a host or its function answered, rather than Envoy in its stead.
func (r *refusal) byHost() bool {
	var body struct {
		Error struct{ Details struct{ Component string } }
	}
	if r.status >= http.StatusBadGateway || json.Unmarshal([]byte(r.body), &body) != nil {
		return false
	}
	component := body.Error.Details.Component
	return component == string(faas.InRuntime) || component == string(faas.InFunction)
}

func (r *refusal) Error() string { return fmt.Sprintf("POST %s: %d: %s", r.url, r.status, r.body) }

// call tells nothing of a success; anything else that was answered is a *refusal.
func (f first) call(ctx context.Context, url, body string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Close = true
	if f.key != "" {
		request.Header.Set("X-API-Key", f.key)
	}
	reply, err := f.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = reply.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
	if err == nil && reply.StatusCode/100 != 2 {
		err = &refusal{url: url, body: string(raw), status: reply.StatusCode}
	}
	return err
}
