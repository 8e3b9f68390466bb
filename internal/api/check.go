package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"envoke/internal/faas"
)

const (
	// checkTimeout is longer than most hosts may take to load or compile code
	// (SCRIPT_TIMEOUT_MS, WASM_COMPILE_TIMEOUT_SECONDS), so that the host answers: not
	// where a build waits for others. It is shorter than Envoy's (xds.WriteTimeout).
	checkTimeout = 65 * time.Second
	// maxCheckReply bounds a host's reply, in bytes: an error with its stack.
	maxCheckReply = 1 << 20
)

// Hosts reach a runtime host of each language that is in use. The host and scheme of
// requests mean nothing: the client's transport knows where to.
type Hosts map[faas.Language]*http.Client

// Check has a host show that the code can run: it is sent what an initialize would
// send, and reads it as such. What the host says against the code
// is the error, its status too; UNAVAILABLE where no host answers.
func (h Hosts) Check(ctx context.Context, requestID string, f faas.Function, environment *faas.Resolved) error {
	name, script := f.Name, f.Script
	client := h[name.Language]
	if client == nil {
		return unchecked(fmt.Sprintf("no %s runtime is configured here", name.Language), nil)
	}
	body, err := json.Marshal(struct {
		ScriptContent  string          `json:"script_content"`
		CompileOptions json.RawMessage `json:"compile_options"`
		Dependencies   json.RawMessage `json:"dependencies,omitempty"`
		// Environment has the values of secrets: the host loads the code with them.
		Environment map[string]string `json:"environment,omitempty"`
	}{script.Source, script.CompileOptions, script.Dependencies, environment.Values()})
	if err != nil {
		return fmt.Errorf("encode check: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://runtime/check", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask a host to check: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Language-Title", name.String())
	request.Header.Set("X-Request-ID", requestID)
	if name.Namespace != "" {
		request.Header.Set(faas.NamespaceHeader, string(name.Namespace))
	}
	if f.Network != faas.NoNetwork {
		request.Header.Set("X-Envoke-Network", string(f.Network))
	}
	reply, err := client.Do(request)
	if errors.Is(err, context.DeadlineExceeded) {
		late := faas.StillBuilding(checkTimeout)
		late.Err = err
		return late
	}
	if err != nil {
		return unchecked(fmt.Sprintf("the %s runtime does not answer, so the code could not be checked; try again", name.Language), err)
	}
	defer func() { _ = reply.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(reply.Body, maxCheckReply))
	if err != nil {
		return unchecked(fmt.Sprintf("the %s runtime ended its answer too soon; try again", name.Language), err)
	}
	return verdict(name.Language, reply.StatusCode, raw)
}

func unchecked(message string, err error) error {
	return &faas.Error{Code: faas.Unavailable, Message: message, Details: map[string]any{"component": faas.InRuntime}, Err: err}
}

// verdict is nil, or the error that the host's reply holds.
func verdict(language faas.Language, status int, body []byte) error {
	if status == http.StatusOK {
		return nil
	}
	var reply struct {
		Error struct {
			Code    faas.Code      `json:"code"`
			Message string         `json:"message"`
			Details map[string]any `json:"details"`
		} `json:"error"`
	}
	err := json.Unmarshal(body, &reply)
	if err == nil && (status < 400 || status > 599 || reply.Error.Code == "" || reply.Error.Message == "") {
		err = errors.New("it is no error of ours")
	}
	if err != nil {
		return unchecked(fmt.Sprintf("the %s runtime gave an answer that makes no sense", language), fmt.Errorf("status %d, body %.200q: %w", status, body, err))
	}
	return &faas.Error{Code: reply.Error.Code, Message: reply.Error.Message, Status: status, Details: reply.Error.Details}
}
