package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"envoke/internal/routing"
)

// Config is the current version of declared routes, and what has become of it.
type Config struct {
	Version  int                    `json:"version"` // 0: none was ever put
	Document *string                `json:"document"`
	Taken    int                    `json:"taken_version"`
	Status   routing.State          `json:"status"`
	Message  *string                `json:"message"`
	Sources  []routing.SourceStatus `json:"sources"`
}

// ConfigVersion is a version of declared routes.
type ConfigVersion struct {
	Version   int       `json:"version"`
	Digest    string    `json:"digest"`
	Bytes     int       `json:"bytes"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy *string   `json:"created_by"`
	IsCurrent bool      `json:"is_current"`
	Document  string    `json:"document,omitempty"` // lists leave it out
}

// ConfigVersions are those that are kept, newest first.
type ConfigVersions struct {
	Versions []ConfigVersion `json:"versions"`
}

// ConfigPut is what was put, or would be.
type ConfigPut struct {
	Version int              `json:"version"`
	DryRun  bool             `json:"dry_run"`
	Changes []routing.Change `json:"changes"`
}

const configPath = "/api/v1/config"

// Config shows the current version, and what has become of it.
func (c *Client) Config(ctx context.Context) (Config, error) {
	return fetch[Config](ctx, c, request{method: http.MethodGet, path: configPath})
}

// TryConfig tells what a document would change.
func (c *Client) TryConfig(ctx context.Context, document []byte) (ConfigPut, error) {
	return fetch[ConfigPut](ctx, c, request{method: http.MethodPut, path: configPath + "?dry_run=true", raw: document})
}

// PutConfig makes a document the current version, if that is the expected one before.
func (c *Client) PutConfig(ctx context.Context, document []byte, expected int) (ConfigPut, error) {
	path := configPath + "?expected_version=" + url.QueryEscape(strconv.Itoa(expected))
	return fetch[ConfigPut](ctx, c, request{method: http.MethodPut, path: path, raw: document})
}

// ConfigVersions lists versions, newest first.
func (c *Client) ConfigVersions(ctx context.Context) (ConfigVersions, error) {
	return fetch[ConfigVersions](ctx, c, request{method: http.MethodGet, path: configPath + "/versions"})
}

// ConfigVersion shows one version.
func (c *Client) ConfigVersion(ctx context.Context, version int) (ConfigVersion, error) {
	return fetch[ConfigVersion](ctx, c, request{method: http.MethodGet, path: configPath + "/versions/" + strconv.Itoa(version)})
}

// RollbackConfig makes an earlier version the current one.
func (c *Client) RollbackConfig(ctx context.Context, version int) (ConfigPut, error) {
	return fetch[ConfigPut](ctx, c, request{
		method: http.MethodPost, path: configPath + "/rollback", body: map[string]int{"version": version},
	})
}
