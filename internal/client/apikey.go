package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"envoke/internal/faas"
)

// APIKey is what is known of a key.
type APIKey struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Namespace  string          `json:"namespace"`
	UserID     string          `json:"user_id"`
	Scopes     []faas.Scope    `json:"scopes"`
	Languages  []faas.Language `json:"languages"` // nil: all
	CreatedAt  time.Time       `json:"created_at"`
	CreatedBy  *string         `json:"created_by"`
	ExpiresAt  *time.Time      `json:"expires_at"`
	LastUsedAt *time.Time      `json:"last_used_at"`
	RevokedAt  *time.Time      `json:"revoked_at"`
}

// NewKey is a key just made, with its secret, which is never shown again.
type NewKey struct {
	APIKey

	Secret string `json:"secret"`
}

// KeyDefinition is what a key is made of.
type KeyDefinition struct {
	Name             string          `json:"name"`
	UserID           string          `json:"user_id"`
	Scopes           []faas.Scope    `json:"scopes"`
	Languages        []faas.Language `json:"languages,omitempty"`
	ExpiresInSeconds int             `json:"expires_in_seconds,omitempty"`
}

// KeyPage is a part of the keys, newest first.
type KeyPage struct {
	Keys    []APIKey `json:"keys"`
	Total   int      `json:"total"`
	Page    int      `json:"page"`
	PerPage int      `json:"per_page"`
}

const keysPath = "/api/v1/keys"

// CreateKey makes an API key.
func (c *Client) CreateKey(ctx context.Context, d KeyDefinition) (NewKey, error) {
	return fetch[NewKey](ctx, c, request{method: http.MethodPost, path: keysPath, body: d})
}

// Keys lists API keys. Zero Page and PerPage are the server's defaults.
func (c *Client) Keys(ctx context.Context, q faas.KeyQuery) (KeyPage, error) {
	path := keysPath + queryOf(faas.FunctionQuery{UserID: q.UserID, Page: q.Page, PerPage: q.PerPage})
	return fetch[KeyPage](ctx, c, request{method: http.MethodGet, path: path})
}

// RevokeKey has an API key accepted no more.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: keysPath + "/" + url.PathEscape(id)}, nil)
}
