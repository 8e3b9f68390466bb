package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"envoke/internal/faas"
)

// Change is who has changed what.
type Change struct {
	Number    int64           `json:"number"`
	At        time.Time       `json:"at"`
	Action    faas.Action     `json:"action"`
	Target    string          `json:"target"`
	Namespace string          `json:"namespace"`
	UserOf    string          `json:"user_namespace"`
	UserID    *string         `json:"user_id"`
	Proof     *string         `json:"proof"`
	Address   *string         `json:"address"`
	RequestID *string         `json:"request_id"`
	Details   json.RawMessage `json:"details"`
}

// ChangePage is a part of the changes, newest first.
type ChangePage struct {
	Entries []Change `json:"entries"`
	Total   int      `json:"total"`
	Page    int      `json:"page"`
	PerPage int      `json:"per_page"`
}

// Changes lists who has changed what. Zero fields are the server's defaults.
func (c *Client) Changes(ctx context.Context, q faas.AuditQuery) (ChangePage, error) {
	values := url.Values{}
	set := func(name, value string, given bool) {
		if given {
			values.Set(name, value)
		}
	}
	set("user", q.UserID, q.UserID != "")
	set("action", string(q.Action), q.Action != "")
	set("target", q.Target, q.Target != "")
	set("since", q.Since.UTC().Format(time.RFC3339Nano), !q.Since.IsZero())
	set("until", q.Until.UTC().Format(time.RFC3339Nano), !q.Until.IsZero())
	set("page", strconv.Itoa(q.Page), q.Page != 0)
	set("per_page", strconv.Itoa(q.PerPage), q.PerPage != 0)
	path := "/api/v1/audit"
	if len(values) > 0 {
		path += "?" + values.Encode()
	}
	return fetch[ChangePage](ctx, c, request{method: http.MethodGet, path: path})
}
