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

// runFirst has ext_proc refuse an execute without a name, and a seeded function run
// through Envoy, the host and a worker: all layers are there, or it is an error. The
// path of the second says its language, however names are mapped to languages.
func runFirst(ctx context.Context, base string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := call(ctx, base+"/api/v1/execute", `{}`)
	var refused *refusal
	if !errors.As(err, &refused) || refused.status != http.StatusBadRequest || !strings.Contains(refused.body, string(faas.InExtProc)) {
		return fmt.Errorf("ext_proc does not answer: %w", err)
	}
	var reply struct {
		Result struct{ Result float64 } `json:"result"`
	}
	raw, err := call(ctx, base+"/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2}}`)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return err
	}
	if reply.Result.Result != 3 {
		return fmt.Errorf("1 + 2 is %v", reply.Result.Result)
	}
	return nil
}

// refusal is an answer that is no success.
type refusal struct {
	url, body string
	status    int
}

func (r *refusal) Error() string { return fmt.Sprintf("POST %s: %d: %s", r.url, r.status, r.body) }

// call returns the body of a success; anything else that was answered is a *refusal.
func call(ctx context.Context, url, body string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Close = true
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
	if err == nil && reply.StatusCode/100 != 2 {
		err = &refusal{url: url, body: string(raw), status: reply.StatusCode}
	}
	return raw, err
}
