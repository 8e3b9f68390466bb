package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"envoke/internal/faas"
	"envoke/internal/logs"
)

// Logs reads request rows from an operators' port, of which base is the URL, oldest
// first. Who reads on gives the last entry's id as the query's After.
func Logs(ctx context.Context, base string, q faas.RequestLogQuery) ([]logs.Entry, error) {
	c, err := New(base)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	reply, err := c.send(ctx, request{method: http.MethodGet, path: "/logs?" + logs.Query(q)})
	var away *UnreachableError
	if errors.As(err, &away) {
		return nil, &OperatorsError{Base: c.base, Reason: "nobody answers"}
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(reply.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("read the logs of %s: %w", c.base, err)
	}
	switch {
	case reply.StatusCode == http.StatusBadRequest, reply.StatusCode == http.StatusServiceUnavailable:
		return nil, fmt.Errorf("%s: %s", c.base, bytes.TrimSpace(raw))
	case reply.Header.Get("Content-Type") != "application/x-ndjson":
		return nil, &OperatorsError{Base: c.base, Reason: "what answers (" + reply.Status + ") has no logs"}
	}
	return decodeLines(raw)
}

func decodeLines(raw []byte) (entries []logs.Entry, err error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	for {
		var entry logs.Entry
		switch err := decoder.Decode(&entry); {
		case errors.Is(err, io.EOF):
			return entries, nil
		case err != nil:
			return nil, fmt.Errorf("read the logs: %w", err)
		}
		entries = append(entries, entry)
	}
}

// OperatorsError says that there is no operators' port at the address.
type OperatorsError struct{ Base, Reason string }

func (e *OperatorsError) Error() string {
	return fmt.Sprintf("no operators' port of an Envoke at %s: %s; set --operators / ENVOKE_OPERATORS_URL (`envoke serve` prints it)", e.Base, e.Reason)
}
