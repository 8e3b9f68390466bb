package host

import (
	"encoding/json"
	"net/http"

	"envoke/internal/faas"
)

// health answers 200 when an initialize would be taken: the host knows the key of
// session ids. 503 says what is missing.
func (h *Host) health(w http.ResponseWriter, _ *http.Request) error {
	status, code := "ok", http.StatusOK
	if !h.Bundles.Ready() {
		status, code = "waiting for control", http.StatusServiceUnavailable
	}
	body, err := json.Marshal(struct {
		Status   string        `json:"status"`
		Language faas.Language `json:"language"`
		Version  string        `json:"version"`
		Workers  any           `json:"workers"`
	}{status, h.Language, h.Version, h.Pool.Stats()})
	if err != nil {
		return err
	}
	write(w, code, body)
	return nil
}
