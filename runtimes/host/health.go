package host

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
)

// workers is pool.Stats as JSON.
type workers struct {
	Version  string `json:"version"` // of the interpreter
	Starting int    `json:"starting"`
	Ready    int    `json:"ready"`
	Loaded   int    `json:"loaded"`
	Calls    int    `json:"calls"`
	Waiting  int    `json:"waiting"`
}

// health answers 200 when an initialize would be taken: the host knows the key of
// session ids. 503 says what is missing.
func (h *Host) health(_ context.Context, c *fasthttp.RequestCtx) error {
	status, code := "ok", http.StatusOK
	if !h.Bundles.Ready() {
		status, code = "waiting for control", http.StatusServiceUnavailable
	}
	body, err := json.Marshal(struct {
		Status   string        `json:"status"`
		Language faas.Language `json:"language"`
		Version  string        `json:"version"`
		Workers  workers       `json:"workers"`
	}{status, h.Language, h.Version, workers(h.Engine.Stats())})
	if err != nil {
		return err
	}
	write(c, code, body)
	return nil
}
