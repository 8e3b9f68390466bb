package client

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"envoke/internal/faas"
)

// ReplyError is a failure that the server answered with.
type ReplyError struct {
	Status    int // of HTTP
	Code      faas.Code
	Message   string
	Details   map[string]any
	RequestID string // of the call, in the server's logs too
}

// Error is for people: what happened first, then where to look it up.
func (e *ReplyError) Error() string {
	where := string(e.Code)
	if component, ok := e.Details["component"].(string); ok {
		where += " from " + component
	}
	return fmt.Sprintf("%s (%s, request id %s)", e.Message, where, e.RequestID)
}

// Text is a detail that is a string, or "".
func (e *ReplyError) Text(detail string) string {
	text, _ := e.Details[detail].(string)
	return text
}

// Number is a detail that is a number, or 0.
func (e *ReplyError) Number(detail string) int {
	number, _ := e.Details[detail].(float64)
	return int(number)
}

// UnreachableError says that nobody answers at the address.
type UnreachableError struct {
	Base string
	Slow bool // somebody does, but not in time
	Err  error
}

func (e *UnreachableError) Error() string {
	if e.Slow {
		return fmt.Sprintf("no answer from %s in time: is it the right address? (--address, ENVOKE_URL)", e.Base)
	}
	text := fmt.Sprintf("no Envoke answers at %s: start one with `envoke serve`, or set --address / ENVOKE_URL", e.Base)
	if errors.Is(e.Err, syscall.ECONNREFUSED) {
		return text
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(e.Err, &untrusted) {
		return fmt.Sprintf("what answers at %s has a certificate that is not believed: %v. For an authority of your own, name its file by --ca-file or ENVOKE_CA_FILE", e.Base, untrusted.Err)
	}
	return fmt.Sprintf("%s (%v)", text, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// ForeignError says that another server answers at the address.
type ForeignError struct {
	Base   string
	Status string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("what answers at %s (%s) is no Envoke: set --address / ENVOKE_URL", e.Base, e.Status)
}

// failure decodes the error JSON that every failure of an Envoke has.
func (c *Client) failure(reply *http.Response, raw []byte) error {
	var body struct {
		Error struct {
			Code    faas.Code      `json:"code"`
			Message string         `json:"message"`
			Details map[string]any `json:"details"`
		} `json:"error"`
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(raw, &body); err != nil || body.Error.Code == "" {
		return &ForeignError{Base: c.base, Status: reply.Status}
	}
	return &ReplyError{
		Status: reply.StatusCode, Code: body.Error.Code, Message: body.Error.Message, Details: body.Error.Details,
		RequestID: body.RequestID,
	}
}
