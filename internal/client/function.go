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

// Function is an item of a listing. A session's own script has no version.
type Function struct {
	Language      faas.Language     `json:"language"`
	Title         string            `json:"title"`
	LanguageTitle string            `json:"language_title"`
	Description   string            `json:"description"`
	Type          faas.FunctionType `json:"type"`
	UserID        *string           `json:"user_id"`
	Version       *int              `json:"version"`
	Tags          []string          `json:"tags"`
	CreatedAt     time.Time         `json:"created_at"`
	LastUpdatedAt time.Time         `json:"last_updated_at"`
}

// Description is all that is known of a registered function.
type Description struct {
	Function

	Schema         json.RawMessage `json:"schema"`
	Examples       json.RawMessage `json:"examples"`
	CompileOptions json.RawMessage `json:"compile_options"`
	// CacheTTLSeconds is how old a result may be that another call is answered with; nil: none.
	CacheTTLSeconds *int   `json:"cache_ttl_seconds"`
	ScriptContent   string `json:"script_content"`
	// Environment has the names of what its worker finds there; nil: a text, which is not shown.
	Environment map[string]*SecretRef `json:"environment"`
}

// SecretRef names a secret in an environment.
type SecretRef struct {
	Secret string `json:"secret"`
}

// Definition is what a function is registered by.
type Definition struct {
	Language         faas.Language   `json:"language"`
	Title            string          `json:"title"`
	Description      string          `json:"description,omitempty"`
	ScriptContent    string          `json:"script_content"`
	Schema           json.RawMessage `json:"schema,omitempty"`
	Examples         json.RawMessage `json:"examples,omitempty"`
	Tags             []string        `json:"tags,omitempty"`
	CompileOptions   json.RawMessage `json:"compile_options,omitempty"`
	TimeoutMS        int             `json:"timeout_ms,omitempty"`
	MemoryLimitMB    int             `json:"memory_limit_mb,omitempty"`
	CPULimitMS       int             `json:"cpu_limit_ms,omitempty"`
	OutputLimitBytes int             `json:"output_limit_bytes,omitempty"`
	MaxConcurrency   int             `json:"max_concurrency,omitempty"`
	RatePerMinute    int             `json:"rate_per_minute,omitempty"`
	CacheTTLSeconds  int             `json:"cache_ttl_seconds,omitempty"`
	Network          string          `json:"network,omitempty"`
	Environment      json.RawMessage `json:"environment,omitempty"`
	// Dependencies are the files that pin packages, by their names.
	Dependencies map[string]string `json:"dependencies,omitempty"`
}

// Name is the name that the definition registers.
func (d Definition) Name() faas.Name { return faas.Name{Language: d.Language, Title: d.Title} }

// Page is a part of a listing, newest first.
type Page struct {
	Functions []Function `json:"functions"`
	Total     int        `json:"total"`
	Page      int        `json:"page"`
	PerPage   int        `json:"per_page"`
}

// Version is one version of a function.
type Version struct {
	Version   int         `json:"version"`
	Digest    faas.Digest `json:"digest"`
	CreatedAt time.Time   `json:"created_at"`
	CreatedBy *string     `json:"created_by"`
	IsCurrent bool        `json:"is_current"`
	Aliases   []string    `json:"aliases"`
}

// Versions are those of one function, newest first.
type Versions struct {
	Versions []Version `json:"versions"`
}

// Alias is what a name stands for: a version, and the per cent of calls that go
// to others.
type Alias struct {
	Version int            `json:"version"`
	Weights map[string]int `json:"weights,omitempty"` // by version
}

// NamedAlias is an alias of a function with its name.
type NamedAlias struct {
	Alias

	Name string `json:"alias"`
}

const functionsPath = "/api/v1/functions"

func functionPath(name string) string { return functionsPath + "/" + url.PathEscape(name) }

// Functions lists what the query selects. Zero Page and PerPage are the server's
// defaults.
func (c *Client) Functions(ctx context.Context, q faas.FunctionQuery) (Page, error) {
	return fetch[Page](ctx, c, request{method: http.MethodGet, path: functionsPath + queryOf(q)})
}

func queryOf(q faas.FunctionQuery) string {
	values := url.Values{}
	for name, value := range map[string]string{
		"type": string(q.Type), "language": string(q.Language), "user_id": q.UserID, "tag": q.Tag,
	} {
		if value != "" {
			values.Set(name, value)
		}
	}
	for name, value := range map[string]int{"page": q.Page, "per_page": q.PerPage} {
		if value != 0 {
			values.Set(name, strconv.Itoa(value))
		}
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

// Describe reads a function; name may be "<name>@<version>" or "<name>:<alias>".
func (c *Client) Describe(ctx context.Context, name string) (Description, error) {
	return fetch[Description](ctx, c, request{method: http.MethodGet, path: functionPath(name)})
}

// Create registers a function. A name that is taken is a CONFLICT.
func (c *Client) Create(ctx context.Context, d Definition) (Function, error) {
	return fetch[Function](ctx, c, request{method: http.MethodPost, path: functionsPath, body: d})
}

// Update makes a new version of a registered function.
func (c *Client) Update(ctx context.Context, d Definition) (Function, error) {
	return fetch[Function](ctx, c, request{method: http.MethodPut, path: functionPath(d.Name().String()), body: d})
}

// Delete unregisters a function and all its versions.
func (c *Client) Delete(ctx context.Context, name string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: functionPath(name)}, nil)
}

// Versions lists a function's versions.
func (c *Client) Versions(ctx context.Context, name string) (Versions, error) {
	return fetch[Versions](ctx, c, request{method: http.MethodGet, path: functionPath(name) + "/versions"})
}

// Rollback makes a version the current one.
func (c *Client) Rollback(ctx context.Context, name string, version int) (Function, error) {
	return fetch[Function](ctx, c, request{
		method: http.MethodPost, path: functionPath(name) + "/rollback", body: map[string]int{"version": version},
	})
}

// Aliases lists a function's aliases, by name.
func (c *Client) Aliases(ctx context.Context, name string) ([]NamedAlias, error) {
	found, err := fetch[struct {
		Aliases []NamedAlias `json:"aliases"`
	}](ctx, c, request{method: http.MethodGet, path: functionPath(name) + "/aliases"})
	return found.Aliases, err
}

// PutAlias makes or moves an alias of a function.
func (c *Client) PutAlias(ctx context.Context, name, alias string, to Alias) error {
	return c.do(ctx, request{method: http.MethodPut, path: aliasPath(name, alias), body: to}, nil)
}

// DeleteAlias forgets an alias; the versions stay.
func (c *Client) DeleteAlias(ctx context.Context, name, alias string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: aliasPath(name, alias)}, nil)
}

func aliasPath(name, alias string) string {
	return functionPath(name) + "/aliases/" + url.PathEscape(alias)
}
