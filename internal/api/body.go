package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

// smallBody bounds the bodies that hold no code, in bytes.
const smallBody = 64 << 10

// readBody reads a body of at most limit bytes: one JSON object, whose members are
// those of into, a pointer to a struct.
func readBody(r *http.Request, limit int64, into any) error {
	raw, err := readRaw(r, limit)
	if err != nil {
		return err
	}
	return strict.Decode(raw, "", into)
}

// readRaw reads a body of at most limit bytes.
func readRaw(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit { // refused unread
		return nil, tooLarge("the body", limit)
	}
	raw, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge("the body", limit)
	case err != nil:
		return nil, &faas.Error{Code: faas.InvalidRequest, Message: "the body could not be read", Err: err}
	}
	return raw, nil
}

func tooLarge(what string, limit int64) error {
	return &faas.Error{
		Code: faas.PayloadTooLarge, Message: fmt.Sprintf("%s is larger than %d bytes", what, limit),
		Details: map[string]any{"limit_bytes": limit},
	}
}
