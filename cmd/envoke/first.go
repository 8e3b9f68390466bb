package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// runFirst runs a seeded function through Envoy, ext_proc, the host and a worker,
// and deletes the session that this made: all layers are there, or it is an error.
func runFirst(ctx context.Context, base string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var reply struct {
		Result    struct{ Result float64 } `json:"result"`
		RequestID string                   `json:"request_id"`
	}
	raw, err := call(ctx, http.MethodPost, base+"/api/v1/execute", `{"params":{"operation":"add","a":1,"b":2}}`)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return err
	}
	if reply.Result.Result != 3 {
		return fmt.Errorf("1 + 2 is %v", reply.Result.Result)
	}
	_, err = call(ctx, http.MethodDelete, base+"/api/v1/sessions/"+reply.RequestID, "")
	return err
}

// call returns the body of a success.
func call(ctx context.Context, method, url, body string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Language-Title", "nodejs-calculator")
	request.Close = true
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
	if err == nil && reply.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, reply.Status, raw)
	}
	return raw, err
}
