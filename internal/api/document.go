package api

import (
	"encoding/json"
	"net/http"

	"envoke/internal/openapi"
)

// document describes all of the public API, the paths of runtime hosts too.
func (a *api) document(*http.Request) (int, any, error) {
	return http.StatusOK, json.RawMessage(openapi.Document()), nil
}
