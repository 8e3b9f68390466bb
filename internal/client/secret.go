package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Secret is all that a server tells of a secret.
type Secret struct {
	Name      string    `json:"name"`
	Owner     *string   `json:"owner"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Secrets are those of the caller, by name.
type Secrets struct {
	Secrets []Secret `json:"secrets"`
}

const secretsPath = "/api/v1/secrets"

// Secrets lists the caller's secrets.
func (c *Client) Secrets(ctx context.Context) (Secrets, error) {
	return fetch[Secrets](ctx, c, request{method: http.MethodGet, path: secretsPath})
}

// PutSecret sets a secret, a new one or one that exists.
func (c *Client) PutSecret(ctx context.Context, name, value string) error {
	return c.do(ctx, request{
		method: http.MethodPut, path: secretsPath + "/" + url.PathEscape(name), body: map[string]string{"value": value},
	}, nil)
}

// DeleteSecret deletes a secret.
func (c *Client) DeleteSecret(ctx context.Context, name string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: secretsPath + "/" + url.PathEscape(name)}, nil)
}
