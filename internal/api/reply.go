package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"envoke/internal/faas"
)

// private is a body that nobody on its way may keep.
type private interface{ private() }

func (a *api) write(w http.ResponseWriter, r *http.Request, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		a.writeError(w, r, fmt.Errorf("encode reply: %w", err))
		return
	}
	if _, ok := body.(private); ok {
		w.Header().Set("Cache-Control", "no-store")
	}
	writeJSON(w, status, bytes.TrimRight(out.Bytes(), "\n"))
}

func (a *api) writeError(w http.ResponseWriter, r *http.Request, err error) {
	e := faas.AsError(err)
	id := r.Header.Get("X-Request-ID")
	a.Failed(faas.NewFailure(id, faas.InControl, e))
	// A caller that left is no fault of ours.
	if e.HTTPStatus() >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		a.Logger.Error("request failed", "request_id", id, "method", r.Method, "path", faas.MaskKeySecrets(r.URL.Path), "error", err)
	}
	if seconds, ok := e.Details["retry_after_seconds"]; ok { // a runtime host's
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
	}
	if e.Code == faas.PayloadTooLarge { // the rest of the body is not wanted
		w.Header().Set("Connection", "close")
	}
	writeJSON(w, e.HTTPStatus(), e.Body(faas.InControl, id))
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // it is JSON and says so; the caller may have left
}
